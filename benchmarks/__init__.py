"""How fast and how small: ours against the floor and against what users would otherwise take."""
