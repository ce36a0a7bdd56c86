"""What Dagster does for each table of a step doesn't grow with the number of tables."""

import pytest
from dagster._core.execution.context.system import StepExecutionContext

from tests.orchestration.harness import TABLES


@pytest.mark.parametrize("tables", [["users"], ["users", "products"]])
def test_a_steps_assets_are_worked_out_a_fixed_number_of_times(lab, monkeypatch, tables):
    asked = []
    worked_out = StepExecutionContext.get_output_asset_keys
    monkeypatch.setattr(
        StepExecutionContext, "get_output_asset_keys", lambda step: asked.append(step) or worked_out(step)
    )
    lab.yaml("defaults: {checks: [load_verified]}" + TABLES)
    with lab.dagster() as dagster:
        run = dagster.run(tables)
    assert sorted(run.materialized) == [(table, None) for table in sorted(tables)]
    assert all(run.checks[table].passed for table in tables)
    # before the step, and by us
    assert len(asked) == 2
