"""Against a real webserver, daemon and run storage."""

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from dagster_graphql.schema import create_schema
from graphql import NoDeprecatedCustomRule, parse, specified_rules, validate

from code_location.metrics import dagster_instance
from code_location.metrics.dagster_instance import DagsterSource, counts_query
from code_location.metrics.exporter import Reading, SourceError
from deploy.local.process import free_port
from tests.metrics.conftest import RunningDagster, values
from tests.metrics.instance_definitions import fails, succeeds

STATUSES = {status.value for status in dg.DagsterRunStatus}


def read(source: DagsterSource) -> tuple[list[Reading], str]:
    """What was read, and what the source complained of."""
    readings: list[Reading] = []
    try:
        for reading in source.read():
            readings.append(reading)
    except SourceError as error:
        return readings, str(error)
    return readings, ""


def test_counts_runs_by_status_and_fills_the_rest_with_zeros(dagster: RunningDagster) -> None:
    before = values(read(DagsterSource(dagster.url))[0], "dagster_runs")
    dagster.run(succeeds)
    dagster.run(fails)
    after = values(read(DagsterSource(dagster.url))[0], "dagster_runs")

    assert {status for (status,) in after} == STATUSES
    changes = {status: count - before[status] for status, count in after.items() if count != before[status]}
    assert changes == {("SUCCESS",): 1, ("FAILURE",): 1}


def test_completed_runs_are_counted_once_and_never_fall(dagster: RunningDagster) -> None:
    dagster.run(succeeds)
    source = DagsterSource(dagster.url)
    name = "dagster_completed_runs_total"
    zeros = {("SUCCESS",): 0, ("FAILURE",): 0, ("CANCELED",): 0}
    assert values(read(source)[0], name) == zeros, "runs that ended before the start aren't counted"

    run_id = dagster.run(succeeds)
    dagster.run(fails)
    expected = zeros | {("SUCCESS",): 1, ("FAILURE",): 1}
    assert values(read(source)[0], name) == expected
    dagster.instance.add_run_tags(run_id, {"touched": "again"})
    assert values(read(source)[0], name) == expected
    dagster.instance.delete_run(run_id)
    assert values(read(source)[0], name) == expected


def test_completed_runs_are_read_over_all_pages(
    dagster: RunningDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_instance, "PAGE", 2)
    source = DagsterSource(dagster.url)
    for _ in range(5):
        dagster.run(succeeds)
    assert values(read(source)[0], "dagster_completed_runs_total")["SUCCESS",] == 5


def test_completed_runs_are_forgotten_but_not_counted_again(
    dagster: RunningDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_instance, "OVERLAP_SECONDS", 0.0)
    source = DagsterSource(dagster.url)
    run_id = dagster.run(succeeds)
    read(source)
    assert not source._completed._counted
    dagster.instance.add_run_tags(run_id, {"touched": "again"})
    assert values(read(source)[0], "dagster_completed_runs_total")["SUCCESS",] == 1


def test_heartbeats_of_the_daemons_the_instance_needs(dagster: RunningDagster) -> None:
    beat = 1_700_000_000.25
    for daemon in ("SCHEDULER", "MONITORING"):  # run monitoring is off here, so nothing needs its daemon
        dagster.instance.add_daemon_heartbeat(DaemonHeartbeat(beat, daemon, "an id"))
    readings, complaint = read(DagsterSource(dagster.url))
    assert not complaint
    beats = values(readings, "dagster_daemon_last_heartbeat_timestamp_seconds")
    assert beats.pop(("SCHEDULER",)) == pytest.approx(beat, abs=0.01)
    assert beats.pop(("SENSOR",)) == 0
    assert ("MONITORING",) not in beats


def test_a_code_location_that_cannot_be_loaded_is_told_apart(dagster: RunningDagster) -> None:
    readings, _ = read(DagsterSource(dagster.url))
    assert values(readings, "dagster_code_location_load_error") == {("good",): 0, ("bad",): 1}


@pytest.mark.parametrize(
    "query",
    [
        dagster_instance.STATUSES,
        counts_query(sorted(STATUSES)),
        dagster_instance.ENDED,
        dagster_instance.DAEMONS,
        dagster_instance.WORKSPACE,
    ],
)
def test_queries_are_valid_and_use_nothing_deprecated(query: str) -> None:
    schema = create_schema().graphql_schema
    assert validate(schema, parse(query), [*specified_rules, NoDeprecatedCustomRule]) == []


def test_one_failing_request_leaves_the_others(
    dagster: RunningDagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_instance, "DAEMONS", "query { instance { soothsayers } }")
    readings, complaint = read(DagsterSource(dagster.url))
    assert complaint == "GraphQL: Cannot query field 'soothsayers' on type 'Instance'."
    assert values(readings, "dagster_runs")
    assert values(readings, "dagster_code_location_load_error")


def test_the_token_is_sent_as_dagster_plus_wants_it(dagster: RunningDagster) -> None:
    session = DagsterSource(dagster.url, "a-token")._session
    assert session.headers["Dagster-Cloud-Api-Token"] == "a-token"
    assert "Dagster-Cloud-Api-Token" not in DagsterSource(dagster.url)._session.headers


def test_what_is_not_there_or_not_dagster_is_told_plainly(dagster: RunningDagster) -> None:
    assert read(DagsterSource(f"http://user:secret@127.0.0.1:{free_port()}/graphql")) == (
        [],
        "GraphQL: can't connect (ConnectionError)",
    )
    readings, complaint = read(DagsterSource(dagster.url.replace("/graphql", "/server_info")))
    assert not readings
    assert complaint == "GraphQL: HTTP 405 without a GraphQL answer; is the URL right?"
