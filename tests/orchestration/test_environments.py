"""What is different in a branch deployment: where rows go, how many there are, and what may never happen."""

from decimal import Decimal

import dagster as dg
import duckdb
import psycopg
import pytest

from code_location import Deployment, DeploymentKind, ReplicationProject
from code_location.orchestration.environments import BranchReplicationResource, default_resource
from code_location.orchestration.pipes.wire import Job
from code_location.orchestration.resource import ReplicationResource
from code_location.replication import ConfigError
from code_location.replication.config.sample import sample_condition

LOCAL, PRODUCTION = Deployment(DeploymentKind.LOCAL), Deployment(DeploymentKind.PRODUCTION)
BRANCH = Deployment(DeploymentKind.BRANCH, "pr_7")
BRANCH_VARIABLES = {"DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT": "1", "DAGSTER_CLOUD_PULL_REQUEST_ID": "7"}
SAMPLED = """
defaults: {sample: 30%}
tables:
  - {name: users, primary_key: id, mode: merge, cursor: updated_at, deletes: hard, verify: checksum, where: id > 10}
  - {name: products, sample: 100%}
  - name: activity
    primary_key: id
    partition: {by: day, column: happened_at, start: 2024-03-01, end: 2024-03-06}
"""


def test_which_resource_a_deployment_has():
    assert type(default_resource(LOCAL)) is type(default_resource(PRODUCTION)) is ReplicationResource
    assert type(default_resource(BRANCH)) is BranchReplicationResource
    # Dagster lets two projects of a location share a resource only if it is one object
    assert default_resource(BRANCH) is default_resource(Deployment(DeploymentKind.BRANCH, "pr_7"))
    assert default_resource(BRANCH).concurrency < default_resource(PRODUCTION).concurrency


def test_only_branches_read_samples(site):
    path = site.yaml(SAMPLED)
    whole = {
        deployment.kind: ReplicationProject(path, deployment).config for deployment in (LOCAL, PRODUCTION)
    }
    for config in whole.values():
        assert [table.where for table in config.tables] == ["id > 10", None, None]
    project = ReplicationProject(path, BRANCH)
    sampled = [table.where for table in project.config.tables]
    condition = sample_condition(["id"], project.config.table("users").sample)
    assert sampled == [f"(id > 10) AND {condition}", None, condition]
    # a process of its own reads the same rows
    job = Job(str(path), BRANCH, {}, "origin", "run", 1, 1)
    assert [table.where for table in Job.from_json(job.as_json()).config().tables] == sampled


@pytest.fixture
def in_branch(monkeypatch):
    for name, value in BRANCH_VARIABLES.items():
        monkeypatch.setenv(name, value)


# as code_location/definitions.py, with all checks
DEFINITIONS = """
from decimal import Decimal

import dagster as dg
from code_location import ReplicationProject, build_replication_defs

defs = dg.Definitions.merge(
    build_replication_defs(ReplicationProject({path!r})), dg.Definitions(executor=dg.in_process_executor)
)
"""


def test_a_branch_copies_a_sample_and_finds_it_right(lab, in_branch):
    """The same rows in every load and for every check; the watermark and deleted rows are the sample's own."""
    lab.yaml(SAMPLED)

    def there() -> set[int]:
        return {key for (key,) in lab.pg("SELECT id FROM target__pr_7.users")}

    def sample() -> set[int]:
        condition = sample_condition(
            ["id"], ReplicationProject(lab.folder / "replication.yaml", LOCAL).config.table("users").sample
        )
        return {key for (key,) in lab.duck(f"SELECT id FROM users WHERE id > 10 AND {condition}")}

    with lab.dagster(DEFINITIONS) as dagster:
        first = dagster.run(["users", "products"])
        assert there() == sample()
        assert 10 < len(there()) < 50
        assert lab.pg("SELECT count(*) FROM target__pr_7.products") == [(20,)]
        lab.duck(
            f"DELETE FROM users WHERE id IN ({min(there())}, {max(there())})",
            "INSERT INTO users SELECT i, 'new', TIMESTAMP '2025-01-01' FROM range(200, 300) t(i)",
        )
        second = dagster.run(["users"])
        assert there() == sample()
        assert {key for key in there() if key >= 200}
        days = dagster.run(["activity"], between=("2024-03-01", "2024-03-05"))
        assert len(days.materialized) == 5
        assert 15 < lab.pg("SELECT count(*) FROM target__pr_7.activity")[0][0] < 60
    for run in (first, second, days):
        failed = [
            (record.event_log_entry.dagster_event.asset_check_evaluation_data)
            for record in run.records(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
            if not record.event_log_entry.dagster_event.asset_check_evaluation_data.passed
        ]
        assert not failed
    assert lab.pg("SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'target'") == [(0,)]


def test_both_systems_pick_the_same_keys(dsn):
    values = [(i, text) for i, text in enumerate(["", "a|b", "é", "日本", "'", *map(str, range(500))])]
    condition = sample_condition(["id", 'na"me'], Decimal(20))
    picked = []
    with duckdb.connect() as duck:
        duck.execute('CREATE TABLE t (id BIGINT, "na""me" VARCHAR)')
        duck.executemany("INSERT INTO t VALUES (?, ?)", values)
        picked.append({key for (key,) in duck.execute(f"SELECT id FROM t WHERE {condition}").fetchall()})
    with psycopg.connect(dsn) as connection:
        connection.execute('CREATE TABLE t (id bigint, "na""me" text)')
        connection.cursor().executemany("INSERT INTO t VALUES (%s, %s)", values)
        picked.append(
            {key for (key,) in connection.execute(f"SELECT id FROM t WHERE {condition}").fetchall()}
        )
    assert picked[0] == picked[1]
    assert 60 < len(picked[0]) < 150


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ("{name: users, sample: 1%}", r"9:19: 'sample' picks rows by primary key: add 'primary_key'"),
        ("{name: users, primary_key: id, sample: 0.5}", "'sample' must be a share such as 1% or 0.5%"),
        ("{name: users, primary_key: id, sample: 0%}", "'sample' must be a share"),
        ("{name: users, primary_key: id, sample: 101%}", "'sample' must be a share"),
    ],
)
def test_samples_that_make_no_sense(site, tables, message):
    path = site.yaml(f"tables:\n  - {tables}\n")
    with pytest.raises(ConfigError, match=message.replace("9:19", r"\d+:\d+")):
        _ = ReplicationProject(path, LOCAL).config


def test_a_branch_never_writes_where_production_does(lab, in_branch):
    """Not even when a project was told that it is in production."""
    mistaken = DEFINITIONS.replace(
        "ReplicationProject({path!r})",
        "ReplicationProject({path!r}, Deployment(DeploymentKind.PRODUCTION)), resource=default_resource(Deployment.from_environment())",
    ).replace(
        "from code_location import",
        "from code_location.orchestration.environments import default_resource\n"
        "from code_location import Deployment, DeploymentKind,",
    )
    with lab.dagster(mistaken) as dagster:
        run = dagster.run(["users"], fails=True)
    assert (
        "a branch deployment may not write table 'users' to schema target, which is production's"
        in run.errors
    )
    assert lab.pg("SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'target'") == [(0,)]
