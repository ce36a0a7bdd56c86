"""Texts of replication.yaml for tests, and what loading them says."""

from pathlib import Path

import pytest

from code_location.replication import ConfigError, load_config

CONNECTIONS = """\
connections:
  source: {type: duckdb, connection: a.duckdb}
  destination: {type: postgres, connection: postgresql://u:swordfish@h/d}
"""
TABLES = """\
tables:
  - {name: users, primary_key: id}
"""
GUIDE = """\
connections:
  source:      {type: duckdb, connection: example.duckdb}
  destination: {type: postgres, connection: postgresql://postgres:postgres@localhost/postgres}
tables:
  - {name: users,    primary_key: id}
  - {name: products, primary_key: id}
  - {name: activity, primary_key: id}
"""
EVERYTHING = (
    CONNECTIONS
    + """\
consistent: true
defaults:
  primary_key: id
  mode: merge
  verify: checksum
  columns: {exclude: [internal], mask: {email: hash, phone: null}}
  meta: {group: crm, tags: {tier: gold}, owners: team:data}
  freshness: 1d 12h
tables:
  - name: users
    cursor: updated_at
    lag: 90 minutes
    columns: {rename: {mail: email_address}, mask: {phone: redact}}
    where: "region = 'it''s; here'"
    deletes: soft
    schema_changes: freeze
    nul: strip
    chunk_rows: 1000000
    schedule: "*/15 6-20 * jan,jul mon-fri"
    automation: on_cron
    target: {schema: crm, name: people}
    meta: {description: All users, asset_key: [crm, people], deps: [crm/regions], kinds: pii, tags: {pii: "yes"}}
  - name: events
    mode: append
    primary_key: []
    cursor: sequence
    lag: 0.1
    freshness: {within: 2h, warn: 1h}
    sensor: true
"""
)
DAYS = "partition: {by: day, column: at, start: 2024-03-01"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "replication.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def mistakes(folder: Path, text: str | bytes) -> list[str]:
    """Every problem that loading finds, as shown, without the folder."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value).splitlines() == [str(p) for p in caught.value.problems]
    return [str(p).removeprefix(f"{folder}/replication.yaml:") for p in caught.value.problems]


def table(options: str) -> str:
    """A file whose line 5 holds one table, the first option in column 6."""
    return CONNECTIONS + "tables:\n  - {" + options + "}\n"
