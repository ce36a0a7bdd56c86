"""What to tell a person who gave a key that is none of a table's partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from code_location.replication.config import window_keys
from code_location.replication.config.partition import OnePartition, RangePartition, ValuePartition
from code_location.replication.config.wording import nearest
from code_location.replication.quantities import listed


def explained(
    dimensions: Sequence[OnePartition],
    parts: Sequence[str],
    separator: str,
    fits: Callable[[OnePartition, str], bool],
) -> str:
    """Why `parts`, one for each dimension if there are as many, are no key, and how one is spelled.

    `fits` says of one part whether it is a key of a dimension.
    """
    if len(dimensions) == 1:
        return _explained(dimensions[0], parts[0])
    form = separator.join(f"<{partition.column}>" for partition in dimensions)
    if len(parts) != len(dimensions):
        return f"a key reads {form}"
    turned, order = parts[::-1], ""
    if not any(map(fits, dimensions, parts)) and any(map(fits, dimensions, turned)):
        if all(map(fits, dimensions, turned)):
            return f"its parts are in the wrong order: write '{separator.join(turned)}'"
        parts, order = turned, f"its parts are in the wrong order, a key reads {form}; "
    return order + "; ".join(
        f"'{part}' is none of dimension '{partition.column}': {_explained(partition, part)}"
        for partition, part in zip(dimensions, parts, strict=True)
        if not fits(partition, part)
    )


def _explained(partition: OnePartition, key: str) -> str:
    if isinstance(partition, ValuePartition):
        return f"its partitions are {listed(partition.keys)}{nearest(key, partition.keys)}"
    if isinstance(partition, RangePartition) or window_keys.time_of(partition, key) is None:
        return window_keys.spelling(partition)
    first = window_keys.key_of(partition, window_keys.first(partition))
    last = window_keys.last_end(partition)
    until = f" and before {window_keys.key_of(partition, last)}" if last else ""
    return f"they run from {first}{until}"
