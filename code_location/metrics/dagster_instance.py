"""Figures of a Dagster instance, over the GraphQL API of its webserver (or of Dagster+).

Runs, daemons and code locations are three requests: when one fails, the others are still shown. What can't be
read now isn't shown at all, other than in the ledger's collector: a queue length from an hour ago misleads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import requests

from code_location.metrics.exporter import Family, Reading, SourceError

TIMEOUT_SECONDS = 10
PAGE = 500
# How long after a run's end its row may still come into sight: clocks that differ, events written late.
OVERLAP_SECONDS = 300.0

UP = Family(
    "dagster_graphql_up",
    "gauge",
    "1 if all of the exporter's GraphQL requests were answered without an error, else 0.",
)
RUNS = Family("dagster_runs", "gauge", "Runs in the run storage, by their current status.", ("status",))
COMPLETED = Family(
    "dagster_completed_runs_total",
    "counter",
    "Runs that ended since the exporter started, by how they ended.",
    ("status",),
)
HEARTBEAT = Family(
    "dagster_daemon_last_heartbeat_timestamp_seconds",
    "gauge",
    "Last heartbeat of each daemon the instance needs; 0 if there never was one.",
    ("daemon_type",),
)
LOAD_ERROR = Family(
    "dagster_code_location_load_error",
    "gauge",
    "1 if this code location of the workspace can't be loaded, else 0.",
    ("location",),
)

# Asked of the server, not of the dagster package here: another release may know other statuses, and one
# unknown status would make the whole request invalid.
STATUSES = """query { __type(name: "RunStatus") { enumValues { name } } }"""
COUNT = "{status}: runsOrError(filter: {{statuses: [{status}]}}) {{ ...runs }}"
COUNT_FRAGMENT = """
    fragment runs on RunsOrError { __typename ... on Runs { count } ... on PythonError { className } }
"""
ENDED = """query($statuses: [RunStatus!], $since: Float, $cursor: String, $limit: Int) {
  runsOrError(filter: {statuses: $statuses, updatedAfter: $since}, cursor: $cursor, limit: $limit) {
    __typename
    ... on Runs { results { runId status endTime } }
    ... on PythonError { className }
  }
}"""
DAEMONS = """query {
  instance { daemonHealth { allDaemonStatuses { daemonType required lastHeartbeatTime } } }
}"""
WORKSPACE = """query {
  workspaceOrError {
    __typename
    ... on Workspace { locationEntries { name locationOrLoadError { __typename } } }
    ... on PythonError { className }
  }
}"""
ENDINGS = ("SUCCESS", "FAILURE", "CANCELED")


def counts_query(statuses: list[str]) -> str:
    """One request that counts the runs of each status."""
    counts = "\n".join(COUNT.format(status=status) for status in statuses)
    return f"query {{ {counts} }} {COUNT_FRAGMENT}"


class DagsterSource:
    """A Dagster instance as a source (see `exporter.Source`).

    Args: `url` of the GraphQL endpoint; `token` of Dagster+, sent as `Dagster-Cloud-Api-Token`.
    """

    name = "dagster"
    up = (UP, ())
    families = (RUNS, COMPLETED, HEARTBEAT, LOAD_ERROR)

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._session = requests.Session()
        if token:
            self._session.headers["Dagster-Cloud-Api-Token"] = token
        self._completed = _CompletedRuns(started_at=time.time())

    def read(self) -> Iterator[Reading]:
        """Yields what can be read; raises SourceError at the end if anything couldn't."""
        problems = []
        for part in (self._runs, self._completed_runs, self._daemons, self._code_locations):
            try:
                yield from part()
            except SourceError as error:
                problems.append(str(error))
        if problems:
            raise SourceError("; ".join(dict.fromkeys(problems)))

    def _runs(self) -> Iterator[Reading]:
        statuses = [value["name"] for value in self._ask(STATUSES)["__type"]["enumValues"]]
        for status, answer in self._ask(counts_query(statuses)).items():
            yield RUNS.at(status, value=_checked(answer, "Runs")["count"])

    def _completed_runs(self) -> Iterator[Reading]:
        asked_at, ended, cursor = time.time(), [], None
        while True:
            variables = {"statuses": ENDINGS, "since": self._completed.since, "cursor": cursor, "limit": PAGE}
            page = _checked(self._ask(ENDED, variables)["runsOrError"], "Runs")["results"]
            ended += page
            if len(page) < PAGE:
                break
            cursor = page[-1]["runId"]
        self._completed.add(ended, asked_at)
        for status, count in self._completed.counts.items():
            yield COMPLETED.at(status, value=count)

    def _daemons(self) -> Iterator[Reading]:
        for daemon in self._ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]:
            if daemon["required"]:  # others may have beaten long ago, under other settings
                yield HEARTBEAT.at(daemon["daemonType"], value=daemon["lastHeartbeatTime"] or 0.0)

    def _code_locations(self) -> Iterator[Reading]:
        for entry in _checked(self._ask(WORKSPACE)["workspaceOrError"], "Workspace")["locationEntries"]:
            loaded = entry["locationOrLoadError"] or {}  # null while it is still loading
            yield LOAD_ERROR.at(entry["name"], value=float(loaded.get("__typename") == "PythonError"))

    def _ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The `data` of an answer. Raises SourceError; its message holds neither the URL nor a header."""
        try:
            answer = self._session.post(
                self._url,
                json={"query": query, "variables": variables or {}},
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,  # would hand the token to whoever it leads to
            )
            body = answer.json()
        except requests.Timeout:
            raise SourceError(f"GraphQL: no answer within {TIMEOUT_SECONDS} s") from None
        except requests.exceptions.JSONDecodeError:
            body = None
        except requests.RequestException as error:
            raise SourceError(f"GraphQL: can't connect ({type(error).__name__})") from None
        if not isinstance(body, dict) or not (body.get("data") or body.get("errors")):
            raise SourceError(
                f"GraphQL: HTTP {answer.status_code} without a GraphQL answer; is the URL right?"
            )
        if body.get("errors"):
            raise SourceError(f"GraphQL: {_told(body['errors'][0])}")
        data: dict[str, Any] = body["data"]
        return data


def _told(error: dict[str, Any]) -> str:
    """What may be logged of a GraphQL error."""
    if path := error.get("path"):  # a resolver's exception: its text can hold anything
        return f"{path[0]} failed, see the webserver's log"
    return str(error.get("message"))[:200]  # about our query


class _CompletedRuns:
    """Counts each run that ended since `started_at` once.

    A count of the run storage's rows falls when runs are deleted, and Prometheus takes a falling counter for
    a restart. So every reading asks for the runs updated since `since`, which stays OVERLAP_SECONDS behind
    the last reading; the ids counted in that stretch are kept. A run that ended earlier and was only updated
    since is known by its end.
    """

    def __init__(self, started_at: float) -> None:
        self.counts = dict.fromkeys(ENDINGS, 0)
        self.since = started_at
        self._counted: dict[str, float] = {}

    def add(self, runs: list[dict[str, Any]], asked_at: float) -> None:
        for run in runs:
            run_id, ended_at = run["runId"], run["endTime"]
            if ended_at is not None and ended_at >= self.since and run_id not in self._counted:
                self._counted[run_id] = ended_at
                self.counts[run["status"]] += 1
        self.since = max(self.since, asked_at - OVERLAP_SECONDS)
        self._counted = {run_id: end for run_id, end in self._counted.items() if end >= self.since}


def _checked(answer: dict[str, Any], expected: str) -> dict[str, Any]:
    """The answer if it is of the expected type. Raises SourceError if it is one of the API's error types."""
    if answer["__typename"] != expected:
        kind = answer.get("className") or answer["__typename"]
        raise SourceError(f"GraphQL: {kind} instead of {expected}, see the webserver's log")
    return answer
