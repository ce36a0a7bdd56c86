"""Runs that are launched for a partition that isn't one of the table's: the error says how it is spelled."""

import dagster as dg

from tests.orchestration.harness import ASSETS_ALONE, Lab, Run

TABLES = """
tables:
  - name: sales
    primary_key: id
    partition:
      - {by: value, column: region, values: [eu-west, us-east]}
      - {by: day, column: day, start: 2024-03-01, end: 2024-03-06}
  - name: shops
    primary_key: id
    partition: {by: value, column: region, values: [eu-west, us-east]}
"""
SHOP = "its partitions are eu-west, us-east; did you mean 'eu-west'?"


WRONG = [
    ("shops", "eu-wst", SHOP),
    ("sales", "2024-03-01|eu-wst", f"'eu-wst' is none of dimension 'region': {SHOP}"),
    ("sales", "eu-west|2024-03-01", "its parts are in the wrong order: write '2024-03-01|eu-west'"),
]


def test_a_run_says_what_is_wrong_with_its_key(lab: Lab) -> None:
    lab.yaml(TABLES)
    with lab.dagster(ASSETS_ALONE) as dagster:
        runs = [dagster.run([table], partition=key, fails=True) for table, key, _ in WRONG]
    for run, (table, key, hint) in zip(runs, WRONG, strict=True):
        assert cause(run) == f"'{key}' is not a partition of '{table}' ({hint})"


def cause(run: Run) -> str:
    """What a run's only step failed for."""
    [record] = run.records(dg.DagsterEventType.STEP_FAILURE)
    event = record.event_log_entry.dagster_event
    assert event
    assert event.step_failure_data.error
    assert event.step_failure_data.error.cause
    return event.step_failure_data.error.cause.message.partition(": ")[2].strip()
