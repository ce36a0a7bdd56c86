"""Alerts while the variable of their webhook isn't set: skipped, and not forgotten."""

from dagster._core.scheduler.instigation import TickStatus

from code_location.orchestration.sensors import alerts
from tests.orchestration.daemon import Daemon
from tests.orchestration.harness import DEFINITIONS, TABLES
from tests.orchestration.hook import serving
from tests.orchestration.test_alerts import ALERTS


def test_failures_are_kept_until_it_is_set(lab, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(alerts, "_RECORDS_KEPT", 2)
    monkeypatch.delenv("WEBHOOK", raising=False)
    lab.yaml("defaults: {checks: []}" + TABLES + ALERTS)
    lab.duck("INSERT INTO products VALUES (1, 0), (2, 0)")
    with lab.dagster(DEFINITIONS) as dagster, serving() as hook:
        daemon = Daemon(dagster)
        daemon.start("alerts")
        assert daemon.tick("alerts").said == "watches for failures from now on"
        failed = [dagster.run(["products"], fails=True).id for _ in range(2)]
        skipped = daemon.tick("alerts")
        assert skipped.status is TickStatus.SKIPPED
        assert skipped.said.startswith("WEBHOOK is not set in the code server's environment. ")
        failed.append(dagster.run(["products"], fails=True).id)
        monkeypatch.setenv("WEBHOOK", "")
        assert daemon.tick("alerts").said == skipped.said
        monkeypatch.setenv("WEBHOOK", hook.url)
        # the oldest is one too many
        assert daemon.tick("alerts").said == "posted 2 failed runs"
        assert [text.splitlines()[1] for text in hook.texts] == [f"Run {run}" for run in failed[1:]]


def test_a_variable_of_something_else_fails_the_tick(lab, monkeypatch):
    monkeypatch.setenv("WEBHOOK", "ftp://hooks.example/T0SECRET")
    path = lab.yaml(TABLES + ALERTS)
    with lab.dagster() as dagster:
        daemon = Daemon(dagster)
        daemon.start("alerts")
        daemon.tick("alerts")
        tick = daemon.tick("alerts")
    assert tick.status is TickStatus.FAILURE
    assert f"{path}:13:10: a webhook starts with https://" in tick.error
    assert "SECRET" not in tick.error
