"""What an operator launches by hand."""

import dagster as dg

from code_location.orchestration.checks.names import CONTENTS
from code_location.replication import LoadRequest, replicate
from tests.orchestration.harness import TABLES, Site

MORE = """\
  - {name: visits, partition: {by: day, column: happened_at, start: 2024-03-01, end: 2024-03-06}}
  - {name: clicks, partition: {by: day, column: happened_at, start: 2024-03-02}}
  - {name: notes, partition: {by: value, column: kind, values: [a, b]}}
"""


def jobs(site: Site) -> dict[str, set[str]]:
    repository = site.defs.get_repository_def()
    return {
        job.name: {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
        for job in repository.get_all_jobs()
    }


def test_there_is_a_job_for_every_kind_of_partitions(site):
    site.yaml(TABLES + MORE)
    found = jobs(site)
    assert {name: tables for name, tables in found.items() if name.startswith("replicate_all")} == {
        "replicate_all": {"users", "products"},
        "replicate_all_by_day": {"activity", "visits"},
        "replicate_all_by_day_2": {"clicks"},
        "replicate_all_by_value": {"notes"},
    }
    assert {"verify", "compare", "clean_up"} <= found.keys()
    described = {job.name: job.description for job in site.defs.get_repository_def().get_all_jobs()}
    assert described["replicate_all_by_day"] == "Replicates 2 tables by day: activity, visits"


def test_all_a_selection_and_the_checks_alone(lab):
    with lab.dagster() as dagster:
        run = dagster.run([], job="replicate_all")
        assert sorted(run.materialized) == [("products", None), ("users", None)]
        run = dagster.run(["products"], job="replicate_all")
        assert run.materialized == [("products", None)]
        run = dagster.run(["activity"], job="replicate_all_by_day", partition="2024-03-02")
        assert run.materialized == [("activity", "2024-03-02")]

        lab.pg("DELETE FROM target.users WHERE id = 1")
        before = lab.loads()
        run = dagster.run([], job="verify")
        assert set(run.checks) == {"users", "products", "activity"}
        assert run.materialized == []
        assert lab.loads() == before
        names = {
            record.event_log_entry.dagster_event.asset_check_evaluation_data.check_name
            for record in run.records(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        }
    assert "row_count_matches_source" in names
    assert CONTENTS not in names


def test_clean_up_prunes_the_ledger(lab):
    def pruned(**config: int) -> str:
        chosen = {"ops": {"prune_ledger": {"config": config}}} if config else {}
        [line] = [
            one for one in dagster.run([], job="clean_up", config=chosen).log.splitlines() if "folded" in one
        ]
        return line

    with lab.dagster() as dagster:
        assert pruned() == "0 rows of the ledger were folded into totals"  # there is none yet
        config = lab.project.config
        for _ in range(4):
            list(replicate(config, [LoadRequest(config.table("products"))]))
        # ninety days and a hundred loads are kept by default
        assert pruned() == "0 rows of the ledger were folded into totals"
        assert pruned(keep_days=0, keep_last=2) == "2 rows of the ledger were folded into totals"
    assert len(lab.loads()) == 2


def test_a_destination_that_is_gone_fails_the_clean_up_in_words(lab, monkeypatch):
    monkeypatch.setenv("DESTINATION", "postgresql://nobody:hunter2@127.0.0.1:1/nowhere")
    with lab.dagster() as dagster:
        errors = dagster.run([], job="clean_up", fails=True).errors
    assert "connections.destination" in errors
    assert "hunter2" not in errors
    assert "Traceback" not in errors
