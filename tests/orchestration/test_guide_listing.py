"""What a user writes in Dagster's guide "Creating a multi-asset integration" runs here, against real databases.

The file of the guide loads unchanged. In the code the imports are ours, `custom_replication_assets(replication_project=...)`
is `replication_assets(project=...)`, and the resource's method is `replicate`. The guide's own last listing doesn't run: it
hands on a dict where it expects its project, and waits for a status that never comes.
"""

from pathlib import Path

from tests.orchestration.harness import GUIDE, Lab

LISTING = """
import dagster as dg

from code_location import (
    ReplicationProject,
    ReplicationResource,
    ReplicationTranslator,
    replication_assets,
)


class CustomReplicationTranslator(ReplicationTranslator):
    def get_asset_key(self, table_definition) -> dg.AssetKey:
        return dg.AssetKey(["warehouse", str(table_definition.get("name"))])


replication_project_path = {path!r}
replication_project = ReplicationProject(replication_project_path)


@replication_assets(
    project=replication_project,
    name="my_custom_replication_assets",
    group_name="replication",
    translator=CustomReplicationTranslator(),
)
def my_assets(context: dg.AssetExecutionContext, replication_resource: ReplicationResource):
    yield from replication_resource.replicate(context)


defs = dg.Definitions(
    assets=[my_assets],
    resources={{"replication_resource": ReplicationResource()}},
    executor=dg.in_process_executor,
)
"""


def test_the_guides_file_and_code(lab: Lab, dsn: str):
    (lab.folder / "replication.yaml").write_text(GUIDE)
    Path(lab.folder, "source.duckdb").rename(lab.folder / "example.duckdb")
    project = lab.project
    assert [table.mode for table in project.tables()] == ["full_refresh"] * 3
    # its server is ours to name
    text = GUIDE.replace("postgresql://postgres:postgres@localhost/postgres", dsn)
    (lab.folder / "replication.yaml").write_text(text)
    with lab.dagster(LISTING) as dagster:
        run = dagster.run(["warehouse/users", "warehouse/products", "warehouse/activity"])
        assert sorted(run.materialized) == [
            ("warehouse/activity", None),
            ("warehouse/products", None),
            ("warehouse/users", None),
        ]
        nodes = dagster.graphql("{ assetNodes { assetKey { path } groupName opNames } }")["assetNodes"]
    ours = {"/".join(n["assetKey"]["path"]): (n["groupName"], n["opNames"]) for n in nodes}
    assert ours["warehouse/users"] == ("replication", ["my_custom_replication_assets"])
    assert {name: lab.pg(f"SELECT count(*) FROM public.{name}")[0][0] for name in ("users", "products", "activity")} == {
        "users": 100,
        "products": 20,
        "activity": 120,
    }  # fmt: skip
