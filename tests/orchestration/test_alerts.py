"""Failed runs are posted to a webhook: which, with what text, how often; its URL shows nowhere."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.scheduler.instigation import TickStatus
from dagster_shared.serdes import serialize_value

from code_location import Deployment, DeploymentKind, ReplicationProject, build_replication_defs
from code_location.orchestration.sensors.webhook import Undelivered, post
from code_location.replication import ConfigError
from tests.orchestration.daemon import Daemon
from tests.orchestration.harness import DEFINITIONS, TABLES
from tests.orchestration.hook import SECRET, Hook, serving

ALERTS = 'alerts: {webhook: "${WEBHOOK}"}'

# another failing job in the location, and one of a person's own on our assets
OTHERS = (
    DEFINITIONS
    + """
@dg.op
def breaks():
    raise ValueError("somebody else's")

@dg.job
def others():
    breaks()

mine = dg.define_asset_job("mine", dg.AssetSelection.assets("products"))
defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[others, mine]))
"""
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def hook(monkeypatch) -> Iterator[Hook]:
    with serving() as hook:
        monkeypatch.setenv("WEBHOOK", hook.url)
        monkeypatch.setenv("DAGSTER_WEB_URL", "https://dagster.example/")
        yield hook


@pytest.mark.servers
def test_failed_runs_are_posted_once_each(lab, hook):
    lab.yaml(TABLES + ALERTS)
    lab.duck("INSERT INTO products VALUES (1, 0), (2, 0)", "ALTER TABLE activity DROP happened_at")
    with lab.dagster(OTHERS) as dagster:
        daemon = Daemon(dagster)
        daemon.start("alerts")
        before = dagster.run(["products"], fails=True)
        assert daemon.tick("alerts").said == "watches for failures from now on"

        # by hand, beside a table that is well; by a job of somebody's own; by a backfill
        by_hand = dagster.run(["products", "users"], fails=True)
        own = dagster.run([], job="mine", fails=True)
        dagster.run([], job="others", fails=True)
        day = dagster.run(["activity"], partition="2024-03-01", fails=True)
        lab.instance.add_run_tags(day.id, {"dagster/backfill": "abcdef"})
        # Dagster is about to run it again
        retried = dagster.run(["products"], fails=True)
        lab.instance.add_run_tags(retried.id, {"dagster/will_retry": "true"})

        hook.answers = [200, 500]
        tick = daemon.tick("alerts")
        assert tick.status is TickStatus.SKIPPED
        assert tick.said == (
            f"the webhook doesn't take the failure of run {own.id}: it answers 500; the next tick tries again"
        )
        [text] = hook.texts
        assert text.splitlines()[0] == "*Replication failed in local*: products, users"
        assert text.splitlines()[-1] == f"https://dagster.example/runs/{by_hand.id}"
        assert "products: " in text
        assert "users: " not in text
        assert "Traceback" not in text
        assert daemon.tick("alerts").said == "posted 2 failed runs"
        heads = [text.splitlines()[:2] for text in hook.texts]
        assert heads[1:] == [
            ["*Replication failed in local*: job mine", f"Run {own.id}"],
            [
                "*Replication failed in local*: activity, partition 2024-03-01, backfill abcdef",
                f"Run {day.id}",
            ],
        ]
        assert daemon.tick("alerts").said == "no new failure"

        # what can't be delivered to at all is the operator's to mend, and is not forgotten
        hook.answers = [404]
        failed = dagster.run(["products"], fails=True)
        tick = daemon.tick("alerts")
        assert tick.status is TickStatus.FAILURE
        assert f"{lab.folder / 'replication.yaml'}:13:10: the webhook doesn't take the failure" in tick.error
        assert SECRET not in tick.error
        assert daemon.tick("alerts").said == "posted 1 failed run"
        assert [text.splitlines()[1] for text in hook.texts[3:]] == [f"Run {failed.id}"]
    assert before.id not in "".join(hook.texts)


def test_a_url_in_the_file_itself_shows_nowhere_either(site):
    site.yaml(TABLES + f'alerts: {{webhook: "https://hooks.example/{SECRET}"}}')
    project = site.project
    snapshot = serialize_value(RepositorySnap.from_def(site.defs.get_repository_def(), defer_snapshots=False))
    assert '"alerts"' in snapshot
    assert SECRET not in snapshot + repr(project.config) + repr(vars(project))
    assert project.config.webhook() == f"https://hooks.example/{SECRET}"


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        (f"ftp://hooks.example/{SECRET}", "a webhook starts with https:// or http://, and a host"),
        (f"hooks.example/{SECRET}", "a webhook starts with https:// or http://, and a host"),
        (f"https://hooks.example/{SECRET}/${{X", "'${' must be followed by a variable's name and '}'"),
    ],
)
def test_what_is_no_webhook_is_refused_when_the_file_is_loaded(site, webhook, said):
    path = site.yaml(TABLES + f'alerts: {{webhook: "{webhook}"}}')
    with pytest.raises(ConfigError) as caught:
        _ = site.project.config
    assert str(caught.value).startswith(f"{path}:13:10: {said}")
    assert SECRET not in str(caught.value)


def test_without_a_webhook_there_is_no_sensor(site):
    assert "alerts" not in [sensor.name for sensor in site.defs.sensors or ()]


@pytest.mark.parametrize("kind", list(DeploymentKind))
def test_it_is_silent_but_in_production(site, kind):
    site.yaml(TABLES + ALERTS)
    project = ReplicationProject(site.folder / "replication.yaml", Deployment(kind, "pr_1"))
    defs = build_replication_defs(project)
    status = defs.get_repository_def().get_sensor_def("alerts").default_status
    assert (status is dg.DefaultSensorStatus.RUNNING) == (kind is DeploymentKind.PRODUCTION)


@pytest.mark.parametrize(
    ("answer", "transient", "said"),
    [(500, True, "500"), (429, True, "429"), (404, False, "404"), (302, False, "302")],
)
def test_answers(hook, answer, transient, said):
    hook.answers = [answer]
    with pytest.raises(Undelivered, match=said) as caught:
        post(hook.url, "text")
    assert caught.value.transient is transient
    assert hook.texts == []


@pytest.mark.parametrize(
    ("url", "transient"),
    [
        ("http://127.0.0.1:1/T0SECRET", True),
        ("http://no.such.host.invalid/T0SECRET", True),
        ("http://127.0.0.1:port/T0SECRET", False),
        ("http://127.0.0.1/T0 SECRET", False),
        ("http://[T0SECRET/", False),
    ],
)
def test_a_url_that_can_not_be_used_is_not_shown(url, transient):
    with pytest.raises(Undelivered) as caught:
        post(url, "text")
    assert caught.value.transient is transient
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__
