"""How far behind its watermark a cursor is read again."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, InvalidOperation

from code_location.replication.config import Table
from code_location.replication.errors import PlanError


def earlier(table: Table, watermark: str) -> str:
    """The watermark less the table's lag, in the same notation, never later than exact."""
    lag = table.lag
    try:
        if isinstance(lag, timedelta):
            if len(watermark) == len("2024-01-01"):
                moment = datetime.combine(date.fromisoformat(watermark), datetime.min.time())
                return (moment - lag).date().isoformat()
            return (datetime.fromisoformat(watermark) - lag).isoformat(" ")
        assert lag is not None
        less = Decimal(watermark) - Decimal(str(lag))
        whole = Decimal(watermark) == Decimal(watermark).to_integral_value()
        return str(less.to_integral_value(ROUND_FLOOR) if whole else less)
    except (ValueError, InvalidOperation, OverflowError):
        raise PlanError(
            f"lag {lag} of table '{table.name}' can't be subtracted from {watermark}, the last value of cursor "
            f"'{table.cursor}'",
            hint="a lag is a length of time for dates and timestamps, and a number for numbers",
        ) from None
