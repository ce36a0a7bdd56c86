"""The exporter's frame: sources are read in the background, a scrape renders what was read last.

A `Source` is one place figures come from (one destination's ledger, one Dagster instance). Each has a thread
of its own, so that one that hangs delays none of the others and never a scrape.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

STALLED_AFTER_SECONDS = 300.0


@dataclass(frozen=True)
class Family:
    """A metric as it is declared: its name in the exposition, type, help text and label names."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()

    def at(self, *labels: str, value: float) -> Reading:
        """One value of this metric; `labels` are the label values in the declared order."""
        return Reading(self, labels, value)

    def empty(self) -> CounterMetricFamily | GaugeMetricFamily:
        """prometheus_client's form of this metric, without samples."""
        form = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return form(self.name, self.help, labels=self.labels)


class Reading(NamedTuple):
    family: Family
    labels: tuple[str, ...]
    value: float


class SourceError(Exception):
    """A source can't be read. The message is logged: it says what to do and carries no secret."""


class Source(Protocol):
    """One place that figures come from."""

    @property
    def name(self) -> str:
        """Unique among the sources; the `collector` label of the exporter's own metrics."""

    @property
    def up(self) -> tuple[Family, tuple[str, ...]]:
        """The gauge, with its label values, that is 1 while `read` succeeds and 0 while it doesn't."""

    @property
    def families(self) -> Sequence[Family]:
        """Every family `read` can yield."""

    def read(self) -> Iterator[Reading]:
        """Yields the current values. Raises SourceError; what was yielded before it is still exported."""


COLLECTION_SECONDS = Family(
    "replication_exporter_collection_duration_seconds",
    "gauge",
    "How long the exporter's last collection took, successful or not.",
    ("collector",),
)
LAST_SUCCESS = Family(
    "replication_exporter_last_success_timestamp_seconds",
    "gauge",
    "When a collection last succeeded.",
    ("collector",),
)


class _Loop(threading.Thread):
    """Reads one source every `interval` seconds until `stop` is set."""

    def __init__(self, source: Source, interval: float, stop: threading.Event) -> None:
        super().__init__(name=source.name, daemon=True)  # daemon: a hanging read mustn't hold up the exit
        self.readings: tuple[Reading, ...] = ()  # replaced as a whole: a scrape needs no lock
        self.busy_since: float | None = None
        self._source, self._interval, self._stop_event = source, interval, stop
        self._succeeded_at: float | None = None
        self._complaint: str | None = None

    def run(self) -> None:
        while not self._stop_event.is_set():
            self.busy_since = begin = time.monotonic()
            self._collect(begin)
            self.busy_since = None
            self._stop_event.wait(max(0.0, self._interval - (time.monotonic() - begin)))

    def _collect(self, begin: float) -> None:
        source, readings, complaint = self._source, list[Reading](), None
        try:
            for reading in source.read():
                readings.append(reading)  # one by one: what came before an error counts
        except SourceError as error:
            complaint = str(error)
        except Exception as error:  # a bug in one source mustn't end its thread; the message may hold data
            where = "".join(traceback.format_tb(error.__traceback__))
            complaint = f"unexpected {type(error).__name__}\n{where}"
        else:
            self._succeeded_at = time.time()
        up, labels = source.up
        readings.append(up.at(*labels, value=float(complaint is None)))
        readings.append(COLLECTION_SECONDS.at(source.name, value=time.monotonic() - begin))
        if self._succeeded_at is not None:
            readings.append(LAST_SUCCESS.at(source.name, value=self._succeeded_at))
        self.readings = tuple(readings)
        self._report(complaint)

    def _report(self, complaint: str | None) -> None:
        """Logs changes only: an outage is one line, not one every interval."""
        if complaint == self._complaint:
            return
        if complaint is None:
            log.info("%s: readable again", self._source.name)
        else:
            log.warning("%s: %s", self._source.name, complaint)
        self._complaint = complaint


class Exporter(Collector):
    """prometheus_client's collector over all sources.

    Args: `sources` with names of their own; `interval` in seconds between two readings of one source.
    Raises ValueError when two sources share a name, since their series would collide.
    """

    def __init__(self, sources: Sequence[Source], interval: float) -> None:
        names = [source.name for source in sources]
        if len(set(names)) != len(names):
            raise ValueError(f"sources share a name: {sorted(names)}")
        self._stop = threading.Event()
        self._loops = [_Loop(source, interval, self._stop) for source in sources]
        declared = chain.from_iterable((*source.families, source.up[0]) for source in sources)
        self.families = tuple(dict.fromkeys((*declared, COLLECTION_SECONDS, LAST_SUCCESS)))

    def start(self) -> None:
        for loop in self._loops:
            loop.start()

    def stop(self, timeout: float = 0.5) -> None:
        """Asks all threads to end and waits at most `timeout` seconds for them."""
        self._stop.set()
        deadline = time.monotonic() + timeout
        for loop in self._loops:
            loop.join(max(0.0, deadline - time.monotonic()))

    def stuck(self) -> list[str]:
        """Names of the sources whose collection has died or hangs; empty when all is well."""
        limit = time.monotonic() - STALLED_AFTER_SECONDS
        return [
            loop.name
            for loop in self._loops
            if not loop.is_alive() or ((busy := loop.busy_since) is not None and busy < limit)
        ]

    def describe(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Names without values: without it prometheus_client would collect while registering."""
        return [family.empty() for family in self.families]

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """The last readings of all sources, each family once."""
        rendered = {family: family.empty() for family in self.families}
        for loop in self._loops:
            for reading in loop.readings:
                rendered[reading.family].add_metric(reading.labels, reading.value)
        return rendered.values()
