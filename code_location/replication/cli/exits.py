"""What the command's exit codes mean."""

from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    FAILED = 1  # a load failed, two tables differ, or a database or the output can't be reached
    WRONG_USAGE = 2  # wrong configuration or usage; nothing was started
    INTERRUPTED = 130
