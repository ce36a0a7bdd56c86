"""The frame: what is rendered, when it is read, and what happens when a source fails."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from code_location.metrics import exporter as module
from code_location.metrics.exporter import Exporter, Family, Reading, SourceError

UP = Family("things_up", "gauge", "Up.", ("where",))
THINGS = Family("things_total", "counter", "Things.", ("where",))


class Things:
    """A source whose reading the test gives."""

    families = (THINGS,)

    def __init__(self, where: str, read: Callable[[], float]) -> None:
        self.name, self.where, self._read = f"things:{where}", where, read
        self.up = (UP, (where,))

    def read(self) -> Iterator[Reading]:
        yield THINGS.at(self.where, value=1)
        yield THINGS.at(f"{self.where}, more", value=self._read())


@pytest.fixture
def start() -> Iterator[Callable[..., CollectorRegistry]]:
    """Starts an exporter over sources and gives its registry."""
    started: list[Exporter] = []

    def start(*sources: Things, interval: float = 0.02) -> CollectorRegistry:
        exporter = Exporter(sources, interval)
        registry = CollectorRegistry()
        registry.register(exporter)
        exporter.start()
        started.append(exporter)
        return registry

    yield start
    for exporter in started:
        exporter.stop()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def up(registry: CollectorRegistry, where: str) -> float | None:
    return registry.get_sample_value("things_up", {"where": where})


def fail(error: Exception) -> float:
    raise error


def test_registering_reads_nothing_and_a_scrape_reads_nothing() -> None:
    calls: list[int] = []
    registry = CollectorRegistry()
    registry.register(Exporter([Things("here", lambda: calls.append(1) or 0.0)], 1))
    generate_latest(registry)
    assert not calls


def test_one_family_holds_the_values_of_all_its_sources(start: Callable[..., CollectorRegistry]) -> None:
    registry = start(Things("a", lambda: 2.0), Things("b", lambda: 3.0))
    eventually(lambda: up(registry, "a") == up(registry, "b") == 1)
    text = generate_latest(registry).decode()
    assert text.count("# TYPE things_total counter") == 1
    assert {line for line in text.splitlines() if line.startswith("things_total")} == {
        'things_total{where="a"} 1.0',
        'things_total{where="a, more"} 2.0',
        'things_total{where="b"} 1.0',
        'things_total{where="b, more"} 3.0',
    }


def test_a_source_that_hangs_delays_neither_a_scrape_nor_another_source(
    start: Callable[..., CollectorRegistry],
) -> None:
    release = threading.Event()
    registry = start(Things("hangs", lambda: float(release.wait())), Things("turns", time.time))
    eventually(lambda: up(registry, "turns") == 1)
    before = registry.get_sample_value("things_total", {"where": "turns, more"})
    eventually(lambda: registry.get_sample_value("things_total", {"where": "turns, more"}) != before)
    assert up(registry, "hangs") is None
    release.set()


def test_a_failure_is_told_once_keeps_what_came_before_it_and_passes(
    start: Callable[..., CollectorRegistry], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, module.__name__)
    problem: list[Exception] = [SourceError("no figures today")]
    readings: list[int] = []

    def read() -> float:
        readings.append(1)
        return fail(problem[0]) if problem else 7.0

    registry = start(Things("here", read))
    eventually(lambda: len(readings) > 3)
    assert up(registry, "here") == 0
    assert registry.get_sample_value("things_total", {"where": "here"}) == 1
    assert registry.get_sample_value("things_total", {"where": "here, more"}) is None
    success = "replication_exporter_last_success_timestamp_seconds"
    assert registry.get_sample_value(success, {"collector": "things:here"}) is None
    assert caplog.messages == ["things:here: no figures today"]

    problem.clear()
    eventually(lambda: up(registry, "here") == 1)
    assert abs((registry.get_sample_value(success, {"collector": "things:here"}) or 0) - time.time()) < 5
    assert caplog.messages == ["things:here: no figures today", "things:here: readable again"]


def test_a_bug_ends_no_thread_and_its_text_is_not_logged(
    start: Callable[..., CollectorRegistry], caplog: pytest.LogCaptureFixture
) -> None:
    password = "hunter" + "2"
    registry = start(Things("here", lambda: fail(ValueError(f"postgresql://user:{password}@host"))))
    eventually(lambda: up(registry, "here") == 0)
    assert "unexpected ValueError" in caplog.text
    assert "in read" in caplog.text
    assert "hunter2" not in caplog.text


def test_stuck_names_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALLED_AFTER_SECONDS", 0.05)
    release = threading.Event()
    exporter = Exporter([Things("hangs", lambda: float(release.wait())), Things("turns", lambda: 1.0)], 0.01)
    assert exporter.stuck() == ["things:hangs", "things:turns"], "nothing is collected before the start"
    exporter.start()
    eventually(lambda: exporter.stuck() == ["things:hangs"])
    release.set()
    eventually(lambda: not exporter.stuck())
    exporter.stop()


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="share a name"):
        Exporter([Things("here", lambda: 1.0), Things("here", lambda: 1.0)], 1)
