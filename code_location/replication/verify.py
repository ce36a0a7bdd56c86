"""Figures of a set of rows, taken on both sides and compared before a load commits.

The source's own SQL computes them over the columns as they are stored there, the destination's over the rows
that will be committed, so whatever goes wrong between (read, cast, stage, apply) makes them differ. What is
computed of a column depends on its `Form`, which both systems know how to write down in the same way; their SQL
stands in connectors/*/figures.py. docs/verification.md says what each level sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import pyarrow as pa

from code_location.replication.errors import FigureDifference
from code_location.replication.quantities import counted
from code_location.replication.types import Kind, element_kind, kind_of, source_type


class Form(StrEnum):
    """What the values of a column are compared as, whatever types hold them on the two sides."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMERIC = "numeric"
    FLOAT = "float"
    TEXT = "text"
    BINARY = "binary"
    DATE = "date"
    TIME = "time"
    TIMETZ = "timetz"
    TIMESTAMP = "timestamp"
    INTERVAL = "interval"
    UUID = "uuid"
    BIT = "bit"
    JSON = "json"  # a document: spaces and the order of keys don't count
    LIST = "list"
    NATIVE = "native"  # of any type, when both sides are of one system


# what `aggregate` computes of each form, beside the number of values that aren't null
_FIGURES: dict[Form, tuple[str, ...]] = {
    Form.BOOLEAN: ("true",),
    Form.INTEGER: ("sum",),
    Form.NUMERIC: ("sum",),
    Form.FLOAT: ("sum",),
    Form.TEXT: ("bytes", "first"),
    Form.BINARY: ("bytes", "bits"),
    Form.DATE: ("sum",),
    Form.TIME: ("sum",),
    Form.TIMETZ: ("digest",),
    Form.TIMESTAMP: ("sum",),
    Form.INTERVAL: ("digest",),
    Form.UUID: ("bits",),
    Form.BIT: ("digest",),
    Form.JSON: (),
    Form.LIST: ("elements",),
    Form.NATIVE: ("digest",),
}

_WORDS = {
    "values": "number of values that aren't null",
    "true": "number of true values",
    "sum": "sum of its values",
    "bytes": "length of all its values in bytes",
    "first": "sum of the first characters' code points",
    "bits": "number of bits that are set",
    "elements": "number of elements",
    "digest": "sum of its values' hashes",
}

_BY_KIND: dict[Kind, Form] = {
    Kind.BOOLEAN: Form.BOOLEAN,
    Kind.DECIMAL: Form.NUMERIC,
    Kind.NUMERIC: Form.NUMERIC,
    Kind.FLOAT32: Form.FLOAT,
    Kind.FLOAT64: Form.FLOAT,
    Kind.TEXT: Form.TEXT,
    Kind.BINARY: Form.BINARY,
    Kind.DATE: Form.DATE,
    Kind.TIME: Form.TIME,
    Kind.TIMETZ: Form.TIMETZ,
    Kind.TIMESTAMP: Form.TIMESTAMP,
    Kind.TIMESTAMPTZ: Form.TIMESTAMP,
    Kind.INTERVAL: Form.INTERVAL,
    Kind.UUID: Form.UUID,
    Kind.BIT: Form.BIT,
    Kind.OTHER: Form.TEXT,
} | {
    kind: Form.INTEGER
    for kind in Kind
    if kind.value.lstrip("u") in ("hugeint", "int8", "int16", "int32", "int64")
}

# forms whose figures are cheap and see every change, so that they serve within one system as well
_PLAIN = frozenset(
    {Form.BOOLEAN, Form.INTEGER, Form.FLOAT, Form.BINARY, Form.DATE, Form.TIME, Form.TIMESTAMP}
)


@dataclass(frozen=True)
class Value:
    """A column on one side: `sql` gives its value there, of that system's type `type`.

    `name` is the column's in the destination. On the source's side `sql` is the column itself (or what the
    configuration's cast and mask make of it), and `travels` the form in which it is handed over.
    """

    name: str
    sql: str
    type: str
    nullable: bool = True
    travels: str | None = None

    @property
    def sent(self) -> str:
        """SQL of what is handed over; of a column that has arrived, the column."""
        return self.travels or self.sql


@dataclass(frozen=True)
class Column:
    """What a column is compared as; `item` is the form of a list's elements.

    Of NATIVE values `type` is the source's type, and `as_sent` says that they arrive in the form they are handed
    over in (an enum of another database as a text).
    """

    name: str
    form: Form
    item: Form = Form.NATIVE
    type: str = ""
    as_sent: bool = False

    @property
    def figures(self) -> tuple[str, ...]:
        return ("values", *_FIGURES[self.form])


@dataclass(frozen=True)
class Figures:
    """What was computed of a set of rows: their number, and for each column (by its name in the destination)
    named figures as exact text; None where there is no value to compute it of. `checksum` sees all of every row,
    but not their order."""

    rows: int
    columns: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    checksum: str | None = None


@dataclass(frozen=True)
class Verification:
    """What both sides have to compute. `columns` is empty when rows are only counted."""

    columns: tuple[Column, ...] = ()
    checksum: bool = False

    def read(self, figures: Sequence[str | None]) -> Figures:
        """What a side has computed: the row that `connectors.canonical.Canonical.figures` asks for."""
        rest = iter(figures)
        rows = int(next(rest) or 0)
        checksum = exact(next(rest) or "0") if self.checksum else None
        columns = {
            column.name: {
                name: None if (text := next(rest)) is None else exact(text) for name in column.figures
            }
            for column in self.columns
        }
        return Figures(rows, columns, checksum)


def verification(level: str, schema: pa.Schema, destination: str) -> Verification:
    """What is compared at a level of `verify` when these columns travel to a system of type `destination`."""
    if level == "count":
        return Verification()
    return Verification(tuple(_column(f, destination) for f in schema), checksum=level == "checksum")


def _column(field: pa.Field, destination: str) -> Column:
    system, type_name = source_type(field)
    kind = kind_of(field)
    if system == destination:
        form = _BY_KIND.get(kind)
        if form in _PLAIN:
            return Column(field.name, form)
        # bytes that travel become the very value again: inet, a range ...
        as_sent = kind in (Kind.TEXT, Kind.JSON) and not pa.types.is_binary(field.type)
        return Column(field.name, Form.NATIVE, type=type_name, as_sent=as_sent)
    if pa.types.is_list(field.type):
        item = _BY_KIND.get(element_kind(field), Form.TEXT if system == "postgres" else Form.JSON)
        return Column(field.name, Form.LIST, item)
    if _is_json(field.type) or kind not in _BY_KIND:
        # what Postgres writes arrives to the letter; what jsonb takes in, it writes in its own way
        return Column(field.name, Form.TEXT if system == "postgres" else Form.JSON)
    return Column(field.name, _BY_KIND[kind])


def _is_json(arrow: pa.DataType) -> bool:
    return isinstance(arrow, pa.BaseExtensionType) and arrow.extension_name == "arrow.json"


def exact(text: str) -> str:
    """A figure in its shortest exact form. What a system can't add up itself comes as terms, such as "12e19 34"."""
    terms = text.split(" ")
    if len(terms) == 1 and text.lstrip("-").isdecimal():
        return text
    try:
        numbers = [Decimal(term) for term in terms]
    except ArithmeticError:
        return text
    if not all(number.is_finite() for number in numbers):
        return text
    total = sum((Fraction(number) for number in numbers), Fraction())
    if total.denominator == 1:
        return str(total.numerator)
    places = max(-int(number.as_tuple().exponent) for number in numbers)
    digits = str(abs(total.numerator * (10**places // total.denominator))).rjust(places + 1, "0")
    return f"{'-' if total < 0 else ''}{digits[:-places]}.{digits[-places:]}".rstrip("0")


WHAT_TO_DO = (
    "nothing was changed; if it happens again, cast the column to text under `columns: {cast: ...}` or exclude it, "
    "and report its type and values"
)


def differences(source: Figures, destination: Figures) -> list[FigureDifference]:
    """What differs, the first figure of each column that does; empty when the rows agree."""
    if source.rows != destination.rows:
        words = (
            f"the source has {counted(source.rows, 'row')} to copy, and {destination.rows} would be committed"
        )
        return [FigureDifference("", "rows", str(source.rows), str(destination.rows), words)]
    found = []
    for column, expected in source.columns.items():
        arrived = destination.columns[column]
        if different := [name for name in expected if expected[name] != arrived[name]]:
            first = different[0]
            ours, theirs = _shown(expected[first]), _shown(arrived[first])
            words = f"column '{column}': the {_WORDS[first]} is {ours} in the source, and {theirs} would be committed"
            found.append(FigureDifference(column, _WORDS[first], ours, theirs, words))
    if not found and source.checksum != destination.checksum:
        ours, theirs = _shown(source.checksum), _shown(destination.checksum)
        words = (
            f"the rows' checksum is {ours} in the source and {theirs} in what would be committed, though the "
            "figures of every column agree: values were altered or sit in other rows"
        )
        found.append(FigureDifference("", "checksum of all rows", ours, theirs, words))
    return found


def _shown(figure: str | None) -> str:
    return "none" if figure is None else figure
