"""A table's entry in replication.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from code_location.replication.config.option_types import (
    DURATION_SCHEMA,
    Duration,
    Lag,
    Options,
    Share,
    Text,
    Texts,
    Timezone,
)
from code_location.replication.config.partition import (
    OnePartition,
    Partition,
    TimePartition,
    dimension_name,
)
from code_location.replication.config.sample import sample_condition

Mask = Annotated[
    Literal["null", "redact", "hash"],
    # what YAML makes of an unquoted null
    BeforeValidator(lambda value: "null" if value is None else value),
    WithJsonSchema({"enum": ["null", "redact", "hash", None]}),
]


Check = Literal[
    "load_verified",
    "row_count_matches_source",
    "volume_as_usual",
    "primary_key_unique",
    "schema_unchanged",
    "column_schema_change",
    "contents_match_source",
]


class DefaultTarget(Options):
    """The part of a target that makes sense for all tables."""

    schema_name: Text | None = Field(default=None, alias="schema")
    """The schema, instead of the destination's own."""


class Target(DefaultTarget):
    """Where a table is written, if not under its own name into the destination's schema."""

    name: Text | None = None
    """The table's name in the destination."""


class Columns(Options):
    """Which columns are copied, under which names and types. All by their names in the source."""

    include: Texts = ()
    """Copy only these."""
    exclude: Texts = ()
    """Copy all but these."""
    rename: Mapping[str, Text] = Field(default_factory=dict)
    """Other names in the destination."""
    cast: Mapping[str, Text] = Field(default_factory=dict)
    """Types, in the source's SQL, that columns are cast to as they are read."""
    mask: Mapping[str, Mask] = Field(default_factory=dict)
    """Hide values: null, redact (the same text for all) or hash."""


def _or_duration(schema: dict[str, Any]) -> None:
    mapping = dict(schema)
    schema.clear()
    schema["anyOf"] = [DURATION_SCHEMA, mapping]


class Freshness(Options):
    """How old a table's last load may be; a duration alone stands for `within`."""

    model_config = ConfigDict(json_schema_extra=_or_duration)

    within: Duration
    """Longer ago, and the table counts as stale."""
    warn: Duration | None = None
    """A warning from this age on; shorter than within."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | Freshness):
            raise PydanticCustomError("freshness", "a duration or a mapping")
        return {"within": value} if isinstance(value, str) else value


class DefaultMeta(Options):
    """The part of `meta` that makes sense for all tables."""

    group: Annotated[str, Field(pattern=r"^\w+$")] | None = None
    """The asset's group."""
    owners: Texts = ()
    """E-mail addresses, or team:<name>."""
    tags: Mapping[str, str] = Field(default_factory=dict)
    """Tags of the asset."""
    kinds: Texts = ()
    """Kinds of the asset, beside its system."""
    deps: Texts = ()
    """Keys of further assets that this one depends on; parts separated by /."""
    metadata: Mapping[str, bool | int | float | str] = Field(default_factory=dict)
    """Metadata of the asset."""


class Meta(DefaultMeta):
    """What the table's asset says about itself in Dagster."""

    description: Text | None = None
    """What the table holds."""
    asset_key: Texts = ()
    """The asset's key, in one part or several."""
    source_asset: Text | None = None
    """The key of the asset that the table in the source is, where another project or code makes it."""


class TableOptions(Options):
    """What both a table and `defaults` may say."""

    primary_key: Texts = ()
    """The columns that identify a row."""
    mode: Literal["full_refresh", "append", "merge", "history"] = "full_refresh"
    """How a load changes the destination."""
    cursor: Text | None = None
    """A column that grows whenever a row is added or changed."""
    lag: Lag | None = None
    """How far before the last load a load reads again, for rows that arrive late: a duration, or a number for a cursor of numbers."""
    partition: Partition | None = None
    """The windows in which the table can be loaded."""
    columns: Columns = Columns()
    """Which columns are copied, and how."""
    where: Text | None = None
    """A condition in the source's SQL: only rows that meet it are copied."""
    sample: Share | None = None
    """In branch deployments only this share of the rows is copied, picked by primary key."""
    deletes: Literal["ignore", "soft", "hard"] = "ignore"
    """What happens to rows that are gone from the source."""
    schema_changes: Literal["evolve", "freeze", "discard"] = "evolve"
    """What happens when columns are added or change."""
    verify: Literal["count", "aggregate", "checksum"] = "aggregate"
    """What is compared before the commit."""
    nul: Literal["error", "strip", "replace"] = "error"
    """What happens to NUL characters in text, which Postgres can't hold."""
    chunk_rows: Annotated[int, Field(ge=1)] | None = None
    """A first load commits about this many rows at a time, in ranges of the primary key."""
    execution: Literal["in_process", "subprocess", "docker"] = "in_process"
    """Where Dagster's runs copy: in their own process, in one of its own on the same machine, or in a container."""
    schedule: Text | None = None
    """Five-field cron expression."""
    timezone: Timezone | None = None
    """Whose clock `schedule` is read off; the partition's by default, else UTC."""
    checks: tuple[Check, ...] | None = None
    """Which checks the table's asset has; all by default."""
    compare: Text | None = None
    """Five-field cron expression at which the contents of both sides are compared."""
    sensor: bool = False
    """Load when the source changed."""
    freshness: Freshness | None = None
    """How old the last load may be."""
    automation: Literal["eager", "on_missing", "on_cron"] | None = None
    """When Dagster loads the table by itself."""


class Defaults(TableOptions):
    """What holds for every table that doesn't say otherwise."""

    target: DefaultTarget | None = None
    """Where all tables are written."""
    meta: DefaultMeta = DefaultMeta()
    """What all tables' assets say about themselves."""


class Table(TableOptions):
    """One table to copy. Made by `load_config`, which also checks what its options mean together.

    `primary_key`, `cursor`, the partition's column and those in `columns` are names of the source.
    """

    name: Text
    """The table's name in the source; * and ? stand for many, from the catalog."""
    target: Target | None = None
    """Where the table is written."""
    meta: Meta = Meta()
    """What the table's asset says about itself."""

    @property
    def target_name(self) -> str:
        """The table's name in the destination."""
        return (self.target and self.target.name) or self.name

    def target_schema(self, default: str) -> str:
        """The table's schema in the destination, whose own schema is `default`."""
        return (self.target and self.target.schema_name) or default

    def destination_name(self, source_column: str) -> str:
        """What a column of the source is called in the destination."""
        return self.columns.rename.get(source_column, source_column)

    @property
    def sampled(self) -> Table:
        """With `sample` as a part of `where`."""
        if self.sample is None or self.sample == 100:
            return self
        condition = sample_condition(self.primary_key, self.sample)
        return self.model_copy(
            update={"where": f"({self.where}) AND {condition}" if self.where else condition}
        )

    @property
    def dimensions(self) -> tuple[OnePartition, ...]:
        """The partition, both of two in the order in which keys name them (of Dagster's names), or nothing."""
        match self.partition:
            case None:
                return ()
            case tuple() as two:
                return tuple(sorted(two, key=dimension_name))
            case one:
                return (one,)

    @property
    def schedule_timezone(self) -> str:
        """Whose clock `schedule` is read off."""
        zones = (one.timezone for one in self.dimensions if isinstance(one, TimePartition))
        return self.timezone or next(zones, "UTC")

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The primary key by the destination's column names."""
        return tuple(self.destination_name(column) for column in self.primary_key)

    @property
    def needed_columns(self) -> dict[str, str]:
        """The columns that a load can't do without, each with what it is for."""
        roles = dict.fromkeys(self.primary_key, "primary key")
        if self.cursor:
            roles.setdefault(self.cursor, "cursor")
        for dimension in self.dimensions:
            roles.setdefault(dimension.column, "partition column")
        return roles
