"""The data version that Dagster holds for a step's latest, when the step materializes an asset several times."""

from tests.orchestration.harness import Lab
from tests.orchestration.test_ranges import DAYS


def test_several_windows_are_not_taken_for_somebody_elses(lab: Lab):
    """Dagster warns in a step that answers a check when another run has materialized the asset meanwhile."""
    with lab.dagster() as dagster:
        run = dagster.run(["activity"], between=(DAYS[0], DAYS[2]))
    versions = [materialization.tags["dagster/data_version"] for materialization in run.materializations]
    assert len(set(versions)) == 3
    assert "Data version mismatch" not in run.log
    answer = run.checks["activity"]
    assert answer.passed
    # the check is of the last of them
    last = lab.instance.get_latest_materialization_event(answer.asset_key)
    assert last.run_id == run.id
    assert answer.target_materialization_data.timestamp == last.timestamp
