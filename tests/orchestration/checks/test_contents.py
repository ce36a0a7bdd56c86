"""Contents: equal as of what was loaded; the first rows that differ; when they are compared, and when not."""

import json
from datetime import UTC, datetime

import dagster as dg
import pytest

from code_location.replication import LoadFailure, replicate
from tests.orchestration.checks.harness import answers, execute, one, rows, said, shown
from tests.orchestration.harness import CONNECTIONS, TABLES

CHECK = "contents_match_source"
SCHEDULED = TABLES.replace("primary_key: id, schedule", 'primary_key: id, compare: "0 5 * * 0", schedule')


def test_equal(replicated):
    run = execute(replicated, [(key, CHECK) for key in ("users", "products", "activity")])
    assert {key: answer.description for (key, _), answer in answers(run).items()} == {
        "users": "100 rows are equal (updated_at up to 2024-01-05 04:00:00)",
        "products": "20 rows are equal (the whole table)",
        "activity": "72 rows are equal (3 loaded windows)",
    }


def test_a_source_that_moved_on_is_no_difference(lab, replicated):
    lab.duck(
        "INSERT INTO users VALUES (1001, 'new', TIMESTAMP '2025-01-01')",
        "UPDATE users SET name = 'other', updated_at = TIMESTAMP '2025-01-02' WHERE id = 7",
        "DELETE FROM users WHERE id = 8",  # which the table ignores
        "INSERT INTO activity VALUES (9000, TIMESTAMP '2024-03-04 01:00')",
    )
    assert one(replicated, "users", CHECK).passed
    assert one(replicated, "activity", CHECK).passed


def test_the_first_rows_that_differ_as_the_ui_shows_them(lab, replicated):
    lab.pg("UPDATE target.users SET name = 'x' || id WHERE id <= 12")
    lab.pg("DELETE FROM target.users WHERE id = 1")
    answer = one(replicated, "users", CHECK)
    assert said(answer)[:2] == (False, "ERROR")
    assert answer.description.startswith(
        "at least 10 rows differ; 100 rows in the source, 99 in the destination"
    )
    found = shown(replicated, "users")[CHECK]["executionForLatestMaterialization"]
    assert found["status"] == "FAILED"
    [table] = [e["table"] for e in found["evaluation"]["metadataEntries"] if e["label"] == "first_rows"]
    assert [json.loads(record) for record in table["records"]][:2] == [
        {"key": "id=1", "what": "only in the source", "source": "name=user 1, updated_at=2024-01-01 01:00:00", "destination": ""},
        {"key": "id=2", "what": "changed", "source": "name=user 2", "destination": "name=x2"},
    ]  # fmt: skip
    assert len(table["records"]) == 10
    assert [column["name"] for column in table["schema"]["columns"]] == [
        "key",
        "what",
        "source",
        "destination",
    ]


def test_masked_values_are_never_shown(lab):
    lab.yaml(TABLES.replace("mode: merge,", "mode: merge, columns: {mask: {name: hash}},"))
    with lab.dagster() as dagster:
        dagster.run(["users"])
        lab.pg("UPDATE target.users SET name = 'a secret' WHERE id = 5")
        lab.pg("DELETE FROM target.users WHERE id = 6")
        answer = one(dagster, "users", CHECK)
        [masked] = lab.pg("SELECT name FROM target.users WHERE id = 7")
        log = str(dagster.instance.all_logs(answer.target_materialization_data.run_id)) + str(answer)
    changed, missing = rows(answer, "first_rows")
    assert (changed["source"], changed["destination"]) == ("name=(masked)", "name=(masked)")
    assert missing["source"] == "name=(masked), updated_at=2024-01-01 06:00:00"
    assert not [value for value in ("a secret", "user 5", "user 6", masked[0]) if value in log]


def test_between_the_systems_the_other_way(lab):
    """Postgres is read, DuckDB written."""
    lab.pg("CREATE TABLE stock (id int PRIMARY KEY, name text)")
    lab.pg("INSERT INTO stock SELECT i, 'item ' || i FROM generate_series(1, 50) i")
    lab.yaml(
        "tables: [{name: stock, primary_key: id}]\n",
        'connections:\n  source: {type: postgres, connection: "${DESTINATION}"}\n'
        "  destination: {type: duckdb, connection: there.duckdb}\n",
    )
    assert not [e for e in replicate(lab.project.config) if isinstance(e, LoadFailure)]
    with lab.dagster() as dagster:
        names = [name for name in shown(dagster, "stock") if name != "column_schema_change"]
        first = answers(execute(dagster, [("stock", name) for name in names]))
        assert [name for (_, name), answer in first.items() if not answer.passed] == []
        lab.pg("UPDATE stock SET name = 'else' WHERE id = 9")
        assert rows(one(dagster, "stock", CHECK), "first_rows") == [
            {"key": "id=9", "what": "changed", "source": "name=else", "destination": "name=item 9"}
        ]


def test_materializing_everything_compares_nothing(lab):
    """The UI selects all checks of what it materializes; the step leaves them out, unless it is told not to."""
    names = [("products", CHECK), ("products", "row_count_matches_source")]
    with lab.dagster() as dagster:
        check = shown(dagster, "products")[CHECK]
        assert (check["jobNames"][0], check["canExecuteIndividually"]) == ("__ASSET_JOB", "CAN_EXECUTE")
        run = execute(dagster, names, assets=["products"])
        assert set(answers(run)) == {names[1]}
        assert "1 table that this run has loaded are not compared again" in run.log
        assert shown(dagster, "products")[CHECK]["executionForLatestMaterialization"]["status"] == "SKIPPED"
        config = {"ops": {"compare_contents": {"config": {"after_loads": True}}}}
        run = execute(dagster, names, assets=["products"], config=config)
        assert answers(run)[names[0]].passed


def test_compare_runs_them_by_schedule(lab, replicated):
    lab.yaml(SCHEDULED)
    repository = lab.defs.get_repository_def()
    schedule = repository.get_schedule_def("compare_at_0_5_x_x_0")
    assert (schedule.job_name, schedule.execution_timezone) == ("compare", "UTC")
    with dg.build_schedule_context(
        instance=lab.instance,
        repository_def=repository,
        scheduled_execution_time=datetime(2024, 3, 3, 5, tzinfo=UTC),
    ) as context:
        [request] = schedule.evaluate_tick(context).run_requests
    assert request.asset_check_keys == [dg.AssetCheckKey(dg.AssetKey("products"), CHECK)]
    job = repository.get_job("compare")
    result = job.get_subset(
        asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys)
    ).execute_in_process(instance=lab.instance)
    assert [e.asset_check_key for e in result.get_asset_check_evaluations()] == request.asset_check_keys
    # all of them, by hand
    result = job.execute_in_process(instance=lab.instance)
    assert sorted(e.asset_key.to_user_string() for e in result.get_asset_check_evaluations() if e.passed) == [
        "activity",
        "products",
        "users",
    ]


@pytest.mark.parametrize(
    ("options", "left"), [("checks: []", []), ("checks: [volume_as_usual]", ["volume_as_usual"])]
)
def test_a_table_says_which_checks_it_has(site, options, left):
    site.yaml(f"tables: [{{name: users, primary_key: id, {options}}}]\n", CONNECTIONS)
    assert [key.name for key in site.defs.resolve_asset_graph().asset_check_keys] == left


def test_a_project_of_very_many_tables_has_the_checks_it_names(site, monkeypatch):
    """Dagster would take minutes to load all of them."""
    monkeypatch.setattr("code_location.orchestration.checks.names.MANY_TABLES", 2)
    site.yaml(SCHEDULED.replace("cursor: updated_at", "cursor: updated_at, checks: [load_verified]"))
    keys = site.defs.resolve_asset_graph().asset_check_keys
    assert {key.to_user_string() for key in keys} == {"users:load_verified", f"products:{CHECK}"}
