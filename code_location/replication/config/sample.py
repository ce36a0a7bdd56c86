"""A share of a table's rows, always the same ones, as a condition on the source."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal


def sample_condition(primary_key: Sequence[str], percent: Decimal) -> str:
    """SQL that about this share of all primary keys meet, in any of the systems.

    A key is in the sample or not whatever else is in the table, so whoever counts, reads or compares rows finds the
    same ones, new ones come in as they do in the whole, and tables with equal keys have samples that join.
    """
    key = ", ".join('CAST("{}" AS VARCHAR)'.format(column.replace('"', '""')) for column in primary_key)
    below = int(percent / 100 * 16**8)
    # digits sort before letters in every collation, so hexadecimal numbers of one length compare as texts
    return f"substr(md5(concat_ws('|', {key})), 1, 8) < '{below:08x}'"
