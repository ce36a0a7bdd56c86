"""`python -m code_location.metrics`"""

from code_location.metrics.cli import main

main()
