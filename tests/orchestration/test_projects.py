"""Several replication.yaml files in one code location: which are found, what they are called, how they stay apart."""

import os
from pathlib import Path

import dagster as dg
import pytest

from code_location import Deployment
from code_location.orchestration.projects import build_location_defs, find_projects
from code_location.replication import ConfigError

LOCAL = Deployment.from_environment({})
FILE = """\
connections:
  source: {{type: duckdb, connection: source.duckdb}}
  destination: {{type: postgres, connection: "{destination}"}}
tables:
  - {{name: {table}, primary_key: id{more}}}
"""


def file(
    path: Path, table: str = "users", more: str = "", destination: str = "postgresql://u:${PW}@one/db"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FILE.format(table=table, more=more, destination=destination))
    return path


def found(named: object) -> dict[str, str]:
    """Names and files of the projects, from the folder on that all are in."""
    projects = find_projects(str(named), LOCAL)
    return {project.name: project.path.name for project in projects}


def location(folder: Path) -> dg.Definitions:
    return build_location_defs(find_projects(folder, LOCAL))


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        location(folder)
    return [str(problem).replace(f"{folder}{os.sep}", "") for problem in failure.value.problems]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With files that are ours, and some that only look like it."""
    file(tmp_path / "crm.yaml")
    file(tmp_path / "erp.replication.yaml")
    file(tmp_path / "web-shop" / "replication.yml")
    file(tmp_path / "web-shop" / "eu" / "orders.yaml")
    (tmp_path / "replication.yaml").write_text("nonsense")
    (tmp_path / "crm.catalog.json").write_text('{"tables": {}}')
    (tmp_path / "compose.yaml").write_text("services:\n  tables: {image: x}\n")
    file(tmp_path / ".hidden.yaml")
    # a mounted ConfigMap: each file is there twice
    file(tmp_path / "..data" / "crm.yaml")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "linked").symlink_to(tmp_path / "web-shop", target_is_directory=True)
    return tmp_path


def test_a_file_is_a_project_without_a_name(folder):
    assert found(folder / "crm.yaml") == {"": "crm.yaml"}
    # which it is not says the error of loading it
    assert found(folder / "not_there.yaml") == {"": "not_there.yaml"}


def test_what_a_folder_has(folder):
    assert found(folder) == {
        "crm": "crm.yaml",
        "erp": "erp.replication.yaml",
        "replication": "replication.yaml",
        "web_shop": "replication.yml",
        "web_shop_eu_orders": "orders.yaml",
    }


def test_what_a_glob_has(folder):
    assert found(folder / "*" / "replication.y*ml") == {"web_shop": "replication.yml"}
    assert found(folder / "web-shop" / "**" / "*.y*ml") == {
        "eu_orders": "orders.yaml",
        "replication": "replication.yml",
    }
    assert found(folder / "crm*") == {"crm": "crm.yaml"}


def test_a_folder_with_one_file_names_it(tmp_path):
    """A second one must not rename what the first has: schedules would be switched off, history lost."""
    file(tmp_path / "crm.yaml")
    assert found(tmp_path) == {"crm": "crm.yaml"}


def test_nothing_there(tmp_path):
    (tmp_path / "compose.yaml").write_text("services: {}")
    for named in (tmp_path, tmp_path / "*.yaml.bak"):
        with pytest.raises(ConfigError, match="there is no replication file here"):
            find_projects(named, LOCAL)


def test_two_of_one_name(tmp_path):
    file(tmp_path / "a-b.yaml"), file(tmp_path / "A_b.yaml")
    with pytest.raises(
        ConfigError, match=r"a-b\.yaml:1:1: 'a_b' would be the name of this project and of .*A_b\.yaml"
    ):
        find_projects(tmp_path, LOCAL)


def test_their_definitions_lie_side_by_side(tmp_path):
    more = ", sensor: true, schedule: '0 2 * * *'"
    file(tmp_path / "crm.yaml", "users", more), file(tmp_path / "erp.yaml", "orders", more)
    defs = location(tmp_path)
    repository = defs.get_repository_def()
    keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert keys == {"users", "orders", "source/crm/users", "source/erp/orders"}
    things = [job.name for job in repository.get_all_jobs() if not job.name.startswith("__")]
    things += [thing.name for thing in [*repository.schedule_defs, *repository.sensor_defs]]
    of_each = [
        {name.removeprefix(prefix) for name in things if name.startswith(prefix)}
        for prefix in ("crm_", "erp_")
    ]
    assert of_each[0] == of_each[1] >= {"replicate_all", "source_changes"}
    assert len(things) == 2 * len(of_each[0])


def test_two_files_may_not_make_one_asset(tmp_path):
    file(tmp_path / "crm.yaml", "users")
    file(tmp_path / "erp.yaml", "people", ", meta: {asset_key: users}")
    assert problems(tmp_path) == [
        "erp.yaml:5:6: table 'people' would be the asset users, as table 'users' is in crm.yaml:5: give one another "
        "'asset_key' in its 'meta'"
    ]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("postgresql://a:${A}@host/db", "postgresql://b:${B}@HOST:5432/db?sslmode=require", True),
        ("${WAREHOUSE}", "${WAREHOUSE}", True),
        ("postgresql://host/db", "postgresql://host/other", False),
        ("postgresql://host/db", "postgresql://host:5433/db", False),
        ("${ONE}", "${OTHER}", False),
    ],
)
def test_two_files_may_not_write_to_one_table(tmp_path, first, second, same):
    file(tmp_path / "crm.yaml", "users", destination=first)
    file(tmp_path / "erp.yaml", "people", ", target: {name: users}", destination=second)
    if not same:
        location(tmp_path)
        return
    assert problems(tmp_path) == [
        "erp.yaml:5:6: table 'people' would be written to public.users, as table 'users' is in crm.yaml:5: give one "
        "another 'target'"
    ]


def test_duckdb_files_are_compared_by_where_they_are(tmp_path):
    def write(folder: str, table: str, connection: str) -> None:
        path = file(tmp_path / folder / "replication.yaml", table, destination=connection)
        path.write_text(path.read_text().replace("type: postgres", "type: duckdb"))

    write("one", "users", "../warehouse.duckdb")
    write("other", "Users", "../warehouse.duckdb")
    [problem] = problems(tmp_path)
    assert (
        "table 'Users' would be written to main.Users, as table 'users' is in one/replication.yaml:5"
        in problem
    )
    write("other", "Users", "warehouse.duckdb")
    location(tmp_path)


def test_all_broken_files_are_told_at_once(tmp_path):
    file(tmp_path / "good.yaml", "fine")
    file(tmp_path / "crm.yaml", "users", ", mode: murge")
    file(tmp_path / "erp.yaml", "orders", ", primary_ky: id")
    (tmp_path / "web.yaml").write_text("connections: [\ntables:\n")
    broken = problems(tmp_path)
    assert [problem.split(":")[0] for problem in broken] == ["crm.yaml", "erp.yaml", "web.yaml"]
    assert "crm.yaml:5:36: 'mode' must be" in broken[0]
    assert "erp.yaml:5:37: unknown option 'primary_ky'; did you mean 'primary_key'?" in broken[1]
    assert "web.yaml:3:1: not valid YAML" in broken[2]


DEFINITIONS = """
import dagster as dg
from code_location.orchestration.projects import build_location_defs, find_projects

defs = dg.Definitions.merge(
    build_location_defs(find_projects({path!r}.replace("replication.yaml", "conf"))),
    dg.Definitions(executor=dg.in_process_executor),
)
"""


def test_one_run_copies_tables_of_two_projects(lab):
    for name, tables in (("crm", "users"), ("shop", "products")):
        path = file(lab.folder / "conf" / f"{name}.yaml", tables, destination="${DESTINATION}")
        path.write_text(path.read_text().replace("source.duckdb", "../source.duckdb"))
    with lab.dagster(DEFINITIONS) as dagster:
        run = dagster.run(["users", "products"])
    assert sorted(run.materialized) == [("products", None), ("users", None)]
    assert lab.pg("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM products)") == [(100, 20)]
