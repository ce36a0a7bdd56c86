"""Dagster's own daemon loops, one iteration at a time, by a clock that the test sets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.test_utils import freeze_time
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs

from tests.orchestration.harness import Dagster, Run

LOGGER = logging.getLogger("daemon")


@dataclass(frozen=True)
class Tick:
    """What came of one evaluation."""

    status: TickStatus
    said: str
    error: str
    runs: list[Run]
    cursor: str | None

    @property
    def asked(self) -> list[str]:
        """The assets of its only run, or the runs' assets in all."""
        keys = [
            key
            for run in self.runs
            for key in run.dagster.instance.get_run_by_id(run.id).asset_selection or ()
        ]
        return sorted(key.to_user_string() for key in keys)


@dataclass
class Daemon:
    """Sensors and schedules of a code location. A run is over when the tick that started it is."""

    dagster: Dagster
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    schedule_times: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # wiping an instance leaves ticks and what is switched on
        storage = self.dagster.instance.schedule_storage
        assert storage
        storage.wipe()

    def start(self, *names: str) -> None:
        """Switches sensors and schedules on."""
        instance, repository = self.dagster.instance, self._repository()
        with self.clock():
            for name in names:
                if repository.has_sensor(name):
                    instance.start_sensor(repository.get_sensor(name))
                else:
                    instance.start_schedule(repository.get_schedule(name))

    def cursor(self, name: str) -> str | None:
        """What a sensor remembers."""
        data = self._state(name).instigator_data
        return data.cursor if data else None

    def set_cursor(self, name: str, cursor: str | None) -> None:
        """As an operator does it in the UI."""
        state = self._state(name)
        self.dagster.instance.update_instigator_state(
            state.with_data(state.instigator_data._replace(cursor=cursor))
        )

    def tick(self, name: str, after: timedelta = timedelta(seconds=301)) -> Tick:
        """Evaluates all sensors that are on, `after` a while; gives what came of one."""
        self.now += after
        with self.clock():
            # what fails is in the tick
            list(execute_sensor_iteration(self.dagster._process, LOGGER, None, None))
        return self._last(self._repository().get_sensor(name))

    def schedules(self, name: str, at: str) -> Tick:
        """Evaluates all schedules that are on, at a time."""
        self.now = datetime.fromisoformat(at)
        with self.clock():
            list(launch_scheduled_runs(self.dagster._process, LOGGER, self.now, self.schedule_times))
        return self._last(self._repository().get_schedule(name))

    @contextmanager
    def clock(self) -> Iterator[None]:
        with freeze_time(self.now):
            yield

    def _state(self, name: str) -> Any:
        sensor = self._repository().get_sensor(name)
        return self.dagster.instance.get_instigator_state(sensor.get_remote_origin_id(), sensor.selector_id)

    def _last(self, instigator: Any) -> Tick:
        [tick] = self.dagster.instance.get_ticks(
            instigator.get_remote_origin_id(), instigator.selector_id, limit=1
        )
        return _tick(self.dagster, tick)

    def _repository(self) -> Any:
        context = self.dagster._process.create_request_context()
        [location] = context.code_locations
        [repository] = location.get_repositories().values()
        return repository


def _tick(dagster: Dagster, tick: InstigatorTick) -> Tick:
    error = "".join(part.message for part in (tick.error, tick.error and tick.error.cause) if part)
    return Tick(
        tick.status,
        tick.skip_reason or "",
        error,
        [Run(dagster, run_id) for run_id in tick.run_ids],
        tick.cursor,
    )


def observations(instance: dg.DagsterInstance, key: str) -> list[dg.AssetObservation]:
    """Of an asset, the earliest first."""
    records = instance.fetch_observations(
        dg.AssetKey.from_user_string(key), limit=100, ascending=True
    ).records
    return [record.asset_observation for record in records if record.asset_observation]
