"""Columns: which there are, of which type, and which column of the source each comes from."""

from typing import Any

from code_location.replication.config.catalog import catalog_of, catalog_path, write_catalog
from code_location.replication.connectors import source_of
from tests.orchestration.harness import ASSETS_ALONE, Dagster, Lab

SHAPED = """
tables:
  - name: users
    primary_key: id
    mode: history
    columns:
      exclude: secret
      rename: {name: full_name}
      cast: {born: VARCHAR}
      mask: {mail: hash}
    meta: {source_asset: crm/people}
"""
PEOPLE = """
CREATE OR REPLACE TABLE users AS SELECT 1::INTEGER AS id, 'Ada' AS name, DATE '1815-12-10' AS born,
    'ada@example.com' AS mail, 'x' AS secret
"""
SHOWN = """query Shown($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    metadataEntries { __typename label ...Columns ...Lineage }
    assetMaterializations(limit: 1) { metadataEntries { __typename label ...Columns ...Lineage } }
} } }
fragment Columns on MetadataEntry { ... on TableSchemaMetadataEntry { schema { columns {
    name type description constraints { nullable unique } } } } }
fragment Lineage on MetadataEntry { ... on TableColumnLineageMetadataEntry { lineage {
    columnName columnDeps { assetKey { path } columnName } } } }"""
LINEAGE = {name: (("crm", "people"), source) for name, source in
    {"id": "id", "full_name": "name", "born": "born", "mail": "mail"}.items()}  # fmt: skip


def columns(entries: list[dict[str, Any]]) -> dict[str, str]:
    [schema] = [e["schema"] for e in entries if e["label"] == "dagster/column_schema"]
    return {column["name"]: column["type"] for column in schema["columns"]}


def lineage(entries: list[dict[str, Any]]) -> dict[str, tuple[tuple[str, ...], str]]:
    [shown] = [e["lineage"] for e in entries if e["label"] == "dagster/column_lineage"]
    return {
        column["columnName"]: (tuple(dep["assetKey"]["path"]), dep["columnName"])
        for column in shown
        for dep in column["columnDeps"]
    }


def test_renames_casts_and_masks(lab: Lab):
    """After a load, as the UI gets it: types of the destination, with the columns that replication adds."""
    lab.duck(PEOPLE)
    lab.yaml(SHAPED)
    with lab.dagster(ASSETS_ALONE) as dagster:
        assert not [e for e in shown(dagster)["metadataEntries"] if "column" in e["label"]]
        dagster.run(["users"])
        [materialization] = shown(dagster)["assetMaterializations"]
    entries = materialization["metadataEntries"]
    assert columns(entries) == {
        "id": "integer",
        "full_name": "text",
        "born": "text",
        "mail": "text",
        "_valid_from": "timestamp with time zone",
        "_valid_to": "timestamp with time zone",
        "_is_current": "boolean",
    }
    assert lineage(entries) == LINEAGE


def test_what_a_catalog_knows_before_any_load(lab: Lab):
    lab.duck(PEOPLE, "ALTER TABLE users ALTER id SET NOT NULL")
    path = lab.yaml(SHAPED)
    with source_of(lab.project.config).session() as snapshot:
        write_catalog(catalog_path(path), catalog_of(snapshot.tables()))
    with lab.dagster(ASSETS_ALONE) as dagster:
        entries = shown(dagster)["metadataEntries"]
    # the source's types: the destination's are known when rows have been there
    assert columns(entries) == {"id": "INTEGER", "full_name": "VARCHAR", "born": "VARCHAR", "mail": "VARCHAR"}
    assert lineage(entries) == LINEAGE


def test_the_source_shows_its_own_columns(lab: Lab):
    lab.duck(PEOPLE, "ALTER TABLE users ADD PRIMARY KEY (id)")
    path = lab.yaml("tables:\n  - {name: users, primary_key: id, columns: {exclude: secret}}\n")
    with source_of(lab.project.config).session() as snapshot:
        write_catalog(catalog_path(path), catalog_of(snapshot.tables()))
    [spec] = [s for s in lab.defs.resolve_all_asset_specs() if s.key.path == ["source", "users"]]
    schema = spec.metadata["dagster/column_schema"]
    assert [(c.name, c.type, c.constraints.nullable, c.constraints.unique) for c in schema.columns] == [
        ("id", "INTEGER", False, True),
        ("name", "VARCHAR", True, False),
        ("born", "DATE", True, False),
        ("mail", "VARCHAR", True, False),
        ("secret", "VARCHAR", True, False),
    ]


def shown(dagster: Dagster) -> dict[str, Any]:
    answer = dagster.graphql(SHOWN, {"key": {"path": ["users"]}})
    return dict(answer["assetNodeOrError"])
