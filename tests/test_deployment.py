"""Where the code runs decides the destination's schema and whether automation starts by itself."""

import pytest

from code_location import Deployment, DeploymentKind
from code_location.replication import load_config

LOCAL, BRANCH, PRODUCTION = DeploymentKind.LOCAL, DeploymentKind.BRANCH, DeploymentKind.PRODUCTION
CLOUD = "DAGSTER_CLOUD_"
IS_BRANCH = {CLOUD + "IS_BRANCH_DEPLOYMENT": "1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Deployment(LOCAL)),
        ({"REPLICATION_DEPLOYMENT": "local"}, Deployment(LOCAL)),
        ({"REPLICATION_DEPLOYMENT": "production"}, Deployment(PRODUCTION)),
        ({CLOUD + "DEPLOYMENT_NAME": "prod"}, Deployment(PRODUCTION)),
        ({CLOUD + "DEPLOYMENT_NAME": "prod", CLOUD + "IS_BRANCH_DEPLOYMENT": "0"}, Deployment(PRODUCTION)),
        # what Dagster+ sets for a pull request
        (
            {
                **IS_BRANCH,
                CLOUD + "DEPLOYMENT_NAME": "4f1c",
                CLOUD + "GIT_BRANCH": "feature/x",
                CLOUD + "PULL_REQUEST_ID": "17",
            },
            Deployment(BRANCH, "pr_17"),
        ),
        (
            {**IS_BRANCH, CLOUD + "DEPLOYMENT_NAME": "4f1c", CLOUD + "GIT_BRANCH": "feature/x"},
            Deployment(BRANCH, "feature/x"),
        ),
        (
            {**IS_BRANCH, CLOUD + "DEPLOYMENT_NAME": "4f1c", CLOUD + "PULL_REQUEST_ID": ""},
            Deployment(BRANCH, "4f1c"),
        ),
        (IS_BRANCH, Deployment(BRANCH, "branch")),
        # a branch is a branch, whatever else is said
        ({**IS_BRANCH, "REPLICATION_DEPLOYMENT": "production"}, Deployment(BRANCH, "branch")),
    ],
)
def test_from_environment(environment, expected):
    assert Deployment.from_environment(environment) == expected


@pytest.mark.parametrize("kind", ["prod", "branch", "Production", ""])
def test_an_unknown_kind(kind):
    with pytest.raises(
        ValueError, match=f"REPLICATION_DEPLOYMENT is '{kind}'; it must be 'local' or 'production'"
    ):
        Deployment.from_environment({"REPLICATION_DEPLOYMENT": kind})


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv(CLOUD + "IS_BRANCH_DEPLOYMENT", "1")
    monkeypatch.setenv(CLOUD + "PULL_REQUEST_ID", "5")
    assert Deployment.from_environment() == Deployment(BRANCH, "pr_5")


def test_only_branches_get_a_schema_of_their_own():
    assert Deployment(LOCAL).destination_schema("raw") == "raw"
    assert Deployment(PRODUCTION).destination_schema("raw") == "raw"
    assert Deployment(BRANCH, "pr_17").destination_schema("raw") == "raw__pr_17"
    assert Deployment(BRANCH, "main").destination_schema("public") == "public__main"


BRANCHES = [
    *("pr_1", "pr_17", "pr-17", "PR_17", "pr 17", "pr__17", "_pr_17", "pr_17_"),
    *("feature/x", "feature-x", "feature_x", "Feature/X", "feature/x/"),
    *("", "-", "/", "ünï", "日本語", "日本", "émoji-🎉", "'; DROP SCHEMA public; --"),
    *("a" * 54, "a" * 55, "a" * 56, "a" * 62, "a" * 63, "a" * 200, "a" * 201, "é" * 100),
]


@pytest.mark.parametrize("base", ["raw", "public", "b" * 63, "b" * 60 + "ü", "ü" * 31])
def test_names_are_short_plain_and_no_two_branches_share_one(base):
    names = {branch: Deployment(BRANCH, branch).destination_schema(base) for branch in BRANCHES}
    assert len(set(names.values())) == len(BRANCHES)
    for name in names.values():
        assert len(name.encode()) <= 63
        assert name != base
        assert set(name.removeprefix(base)) <= set("abcdefghijklmnopqrstuvwxyz0123456789_" + base)
    # the same answer in every process: a branch finds its schema again
    assert names == {branch: Deployment(BRANCH, branch).destination_schema(base) for branch in BRANCHES}


def test_two_bases_of_one_branch_stay_apart():
    schemas = [
        Deployment(BRANCH, "feature/x").destination_schema(base) for base in ("b" * 63, "b" * 62, "c" * 63)
    ]
    assert len(set(schemas)) == 3


def test_automation_runs_in_production_only():
    assert Deployment(PRODUCTION).automation_runs
    assert not Deployment(LOCAL).automation_runs
    assert not Deployment(BRANCH, "pr_17").automation_runs


def test_what_a_deployment_makes_of_a_file(tmp_path):
    path = tmp_path / "replication.yaml"
    path.write_text("""
connections:
  source: {type: duckdb, connection: source.duckdb}
  destination: {type: postgres, connection: "${DESTINATION}", schema: raw}
tables:
  - {name: users, primary_key: id, sample: 1%, target: {schema: crm}}
""")
    config = load_config(path)
    for deployment in (Deployment(LOCAL), Deployment(PRODUCTION)):
        assert deployment.configured(config) == config
    branch = Deployment(BRANCH, "pr_17").configured(config)
    assert branch.connections.destination.schema_name == "raw__pr_17"
    assert branch.tables[0].target.schema_name == "crm__pr_17"
    assert "md5" in branch.tables[0].where
    assert config.tables[0].where is None
