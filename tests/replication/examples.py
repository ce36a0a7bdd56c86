"""How many examples a property is tried with: the same few every day, many others with --hypothesis-profile=thorough."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, settings

_MORE = 40


def examples(usual: int, **others: Any) -> settings:
    """Settings for a property whose examples cost loads. Shrinking costs as many, so it is left to `thorough`."""
    thorough = settings.get_current_profile_name() == "thorough"
    return settings(
        max_examples=usual * _MORE if thorough else usual,
        derandomize=not thorough,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if thorough else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        **others,
    )
