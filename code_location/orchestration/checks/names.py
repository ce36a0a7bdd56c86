"""What the checks are called, in Dagster as in the YAML, and which of them a table has."""

from __future__ import annotations

from dagster import AssetKey

from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.translator import ReplicationTranslator, specs_by_table
from code_location.replication import Table
from code_location.replication.config.table import Check

LOAD_VERIFIED: Check = "load_verified"
ROW_COUNT: Check = "row_count_matches_source"
VOLUME: Check = "volume_as_usual"
PRIMARY_KEY: Check = "primary_key_unique"
SCHEMA: Check = "schema_unchanged"
SCHEMA_CHANGE: Check = "column_schema_change"  # Dagster's own, and its name
CONTENTS: Check = "contents_match_source"

# Dagster takes as long to load a check as a table, for each job that it is in (2,000 tables: 12 s instead of 3), and some
# events for each answer: of more tables none has any by default
MANY_TABLES = 500
# rows that a failed check names
MOST_ROWS = 10


def has_check(project: ReplicationProject, table: Table, name: Check) -> bool:
    """Whether a table's asset has a check: if its `checks` say so. If they say nothing, it has all, or none in a big
    project; and without a primary key never the key's.
    """
    if name == PRIMARY_KEY and not table.primary_key:
        return False
    if table.checks is None:
        return len(project.config.tables) <= MANY_TABLES or (name == CONTENTS and table.compare is not None)
    return name in table.checks


def tables_by_asset(
    project: ReplicationProject, translator: ReplicationTranslator, name: Check
) -> dict[AssetKey, Table]:
    """The tables that have a check, by the assets' keys."""
    tables = [table for table in project.tables() if has_check(project, table, name)]
    specs = specs_by_table(project, translator, tables)
    return {specs[table.name].key: table for table in tables}
