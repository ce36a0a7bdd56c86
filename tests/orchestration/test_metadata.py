"""What an asset and its materializations say: all that docs/assets.md lists, and no secret."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg

from code_location.replication.config.catalog import catalog_of, catalog_path, write_catalog
from code_location.replication.connectors import source_of
from tests.orchestration.harness import ASSETS_ALONE, CONNECTIONS, TABLES, Lab

DOCUMENT = (Path(__file__).parents[2] / "docs" / "assets.md").read_text()


def documented() -> tuple[set[str], set[str]]:
    """The keys that definitions and materializations have, by the document."""
    section = re.split(r"\n## ", DOCUMENT.partition("\n## What an asset says\n")[2])[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if "`" in line]
    cells = [row for row in rows if len(row) == 3]
    return tuple(  # type: ignore[return-value]
        {name for row in cells if row[column] for name in re.findall(r"`([^`]+)`", row[0])}
        for column in (1, 2)
    )


def test_the_documented_keys(lab: Lab):
    path = lab.yaml(TABLES, CONNECTIONS.replace("${DESTINATION}", lab.dsn))
    with source_of(lab.project.config).session() as snapshot:
        write_catalog(catalog_path(path), catalog_of(snapshot.tables()))
    definitions = {key for spec in lab.defs.resolve_all_asset_specs() if spec.deps for key in spec.metadata}
    with lab.dagster(ASSETS_ALONE) as dagster:
        run = dagster.run(["users"]), dagster.run(["activity"], partition="2024-03-01")
        materializations = {key for each in run for m in each.materializations for key in m.metadata}
    assert (definitions, materializations) == documented()


def test_no_secret(lab: Lab):
    """Neither before a load, when variables aren't read, nor after, when they were."""
    parts = urlsplit(lab.dsn)
    assert parts.password
    host = parts.netloc.rpartition("@")[2]
    [before] = [s for s in lab.defs.resolve_all_asset_specs() if s.key == dg.AssetKey("users")]
    assert "dagster/uri" not in before.metadata
    assert parts.password not in repr(before)
    with lab.dagster(ASSETS_ALONE) as dagster:
        run = dagster.run(["users"])
        assert run.metadata("users")["dagster/uri"] == f"postgresql://{host}{parts.path}/target/users"
        assert parts.password not in repr(run.materializations)
        assert parts.password not in run.log
