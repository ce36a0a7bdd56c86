"""What the demo and the end-to-end tests ask of a running Dagster, over its GraphQL API."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

ERROR = "__typename ... on Error { message }"
CAUSES = "message className stack causes { message className stack }"

LOCATIONS = (
    """query Locations { workspaceOrError { __typename ... on Error { message } ... on Workspace {
    locationEntries { name loadStatus locationOrLoadError { __typename
        ... on RepositoryLocation { repositories { name } }
        ... on PythonError { %s } } } } } }"""
    % CAUSES
)
LAUNCH_RUN = (
    """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
    %s ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } } } }"""
    % ERROR
)
LAUNCH_BACKFILL = (
    """mutation Launch($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) { %s ... on LaunchBackfillSuccess { backfillId } } }"""
    % ERROR
)
RUN = "query Run($id: ID!) { runOrError(runId: $id) { %s ... on Run { status } } }" % ERROR
RUN_LOGS = """query Logs($id: ID!, $cursor: String) { logsForRun(runId: $id, afterCursor: $cursor) {
    %s ... on EventConnection { cursor hasMore events {
        __typename ... on MessageEvent { message stepKey } ... on ErrorEvent { error { %s } } } } } }""" % (
    ERROR,
    CAUSES,
)
BACKFILL = """query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) {
    %s ... on PartitionBackfill { status error { %s } runs { runId status } } } }""" % (ERROR, CAUSES)

RUN_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
BACKFILL_ENDED = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
FAILURES = {"ExecutionStepFailureEvent", "RunFailureEvent", "HookErroredEvent"}
POLL_SECONDS = 0.25


class GraphQLError(RuntimeError):
    """Dagster can't be reached, refuses the query, or answers with an error."""


class RunFailedError(RuntimeError):
    """A run ended other than well; the message holds what its steps said."""

    def __init__(self, run_id: str, status: str, messages: Sequence[str]) -> None:
        super().__init__("\n".join([f"Run {run_id} ended with {status}.", *messages]))
        self.run_id, self.status, self.messages = run_id, status, list(messages)


class BackfillFailedError(RuntimeError):
    """A backfill ended other than well; the message holds what its failed runs said."""

    def __init__(self, backfill_id: str, status: str, messages: Sequence[str]) -> None:
        super().__init__("\n".join([f"Backfill {backfill_id} ended with {status}.", *messages]))
        self.backfill_id, self.status, self.messages = backfill_id, status, list(messages)


class DagsterClient:
    """Talks to one webserver, about one code location.

    `while_waiting` is called between two looks at a run or backfill, and may raise to end the wait.
    Asset keys are written as in the UI: `raw/users`.
    """

    def __init__(
        self, graphql_url: str, location_name: str, while_waiting: Callable[[], None] = lambda: None
    ) -> None:
        self.graphql_url = graphql_url
        self.location_name = location_name
        self._while_waiting = while_waiting
        # never through the proxy that the environment may name for the outside world
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Returns the answer's data. Raises GraphQLError; an error type *inside* the data is for the caller."""
        body = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
        request = urllib.request.Request(self.graphql_url, body, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=60) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            text = error.read()  # Dagster answers some errors with 500, and tells in the body which
            if not text.startswith(b"{"):
                raise GraphQLError(f"{self.graphql_url} answers {error.code} {error.reason}.") from None
        except (OSError, http.client.HTTPException) as error:
            raise GraphQLError(f"{self.graphql_url} can't be asked: {error}") from error
        answer = json.loads(text)
        if errors := answer.get("errors"):
            raise GraphQLError("; ".join(error["message"] for error in errors))
        data: dict[str, Any] = answer["data"]
        return data

    def locations(self) -> list[dict[str, Any]]:
        """Every code location as name, loadStatus and locationOrLoadError."""
        answer = self._ask(LOCATIONS, {}, "Workspace")
        entries: list[dict[str, Any]] = answer["locationEntries"]
        return entries

    def launch_assets(
        self, asset_keys: Sequence[str], tags: Mapping[str, str] | None = None, partition: str | None = None
    ) -> str:
        """Starts one run that materializes the assets (and runs their checks); returns its id."""
        all_tags = {**(tags or {}), **({"dagster/partition": partition} if partition else {})}
        params = {
            "selector": {
                "repositoryLocationName": self.location_name,
                "repositoryName": self._repository(),
                "jobName": "__ASSET_JOB",
                "assetSelection": _keys(asset_keys),
            },
            "executionMetadata": {"tags": _tags(all_tags)},
        }
        run_id: str = self._ask(LAUNCH_RUN, {"params": params}, "LaunchRunSuccess")["run"]["runId"]
        return run_id

    def launch_backfill(
        self, asset_keys: Sequence[str], partition_names: Sequence[str], tags: Mapping[str, str] | None = None
    ) -> str:
        """Starts a backfill of the assets over the partitions; returns its id."""
        params = {
            "assetSelection": _keys(asset_keys),
            "partitionNames": list(partition_names),
            "tags": _tags(tags or {}),
        }
        backfill_id: str = self._ask(LAUNCH_BACKFILL, {"params": params}, "LaunchBackfillSuccess")[
            "backfillId"
        ]
        return backfill_id

    def wait_for_run(self, run_id: str, timeout: float = 300) -> None:
        """Returns when the run has succeeded. Raises RunFailedError, TimeoutError or GraphQLError."""
        for status in self._poll(f"Run {run_id}", timeout, lambda: self._run_status(run_id)):
            if status == "SUCCESS":
                return
            if status in RUN_ENDED:
                raise RunFailedError(run_id, status, self.run_errors(run_id))

    def wait_for_backfill(self, backfill_id: str, timeout: float = 600) -> list[str]:
        """Returns the ids of its runs when all have succeeded.

        Raises BackfillFailedError, TimeoutError or GraphQLError.
        """
        backfill: dict[str, Any] = {}

        def status() -> str:
            backfill.update(self._ask(BACKFILL, {"id": backfill_id}, "PartitionBackfill"))
            return str(backfill["status"])

        for now in self._poll(f"Backfill {backfill_id}", timeout, status):
            if now in BACKFILL_ENDED:
                break
        if now != "COMPLETED_SUCCESS":
            messages = _error_lines(backfill["error"])
            for run in backfill["runs"]:
                if run["status"] != "SUCCESS":
                    messages.append(f"Run {run['runId']} ended with {run['status']}.")
                    messages += self.run_errors(run["runId"])
            raise BackfillFailedError(backfill_id, now, messages)
        return [run["runId"] for run in backfill["runs"]]

    def materialize(
        self,
        asset_keys: Sequence[str],
        tags: Mapping[str, str] | None = None,
        partition: str | None = None,
        timeout: float = 300,
    ) -> str:
        """Launches a run, waits for it and returns its id."""
        run_id = self.launch_assets(asset_keys, tags, partition)
        self.wait_for_run(run_id, timeout)
        return run_id

    def run_errors(self, run_id: str) -> list[str]:
        """What the run's failure events say, causes included."""
        messages: list[str] = []
        cursor, more = None, True
        while more:
            page = self._ask(RUN_LOGS, {"id": run_id, "cursor": cursor}, "EventConnection")
            for event in page["events"]:
                if event["__typename"] in FAILURES:
                    title = f"{event['stepKey'] or 'run'}: {event['message'].strip()}"
                    # the run's own event repeats what its steps said
                    messages += [
                        line for line in [title, *_error_lines(event["error"])] if line not in messages
                    ]
            cursor, more = page["cursor"], page["hasMore"]
        return messages

    def _run_status(self, run_id: str) -> str:
        return str(self._ask(RUN, {"id": run_id}, "Run")["status"])

    def _poll(self, what: str, timeout: float, status: Callable[[], str]) -> Iterator[str]:
        deadline = time.monotonic() + timeout
        while True:
            now = status()
            yield now
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} is still {now} after {timeout:g} s")
            self._while_waiting()
            time.sleep(POLL_SECONDS)

    def _repository(self) -> str:
        for entry in self.locations():
            found = entry["locationOrLoadError"]
            if entry["name"] == self.location_name and found and found["__typename"] == "RepositoryLocation":
                name: str = found["repositories"][0]["name"]
                return name
        raise GraphQLError(f"The code location {self.location_name} is not loaded.")

    def _ask(self, query: str, variables: Mapping[str, Any], wanted: str) -> dict[str, Any]:
        """The only top-level field of the answer, which must be of the type `wanted`."""
        [result] = self.graphql(query, variables).values()
        if result["__typename"] != wanted:
            said = result.get("message") or "; ".join(error["message"] for error in result.get("errors", []))
            raise GraphQLError(f"{result['__typename']}: {said}" if said else result["__typename"])
        answer: dict[str, Any] = result
        return answer


def load_error(location: Mapping[str, Any]) -> str | None:
    """Why a code location (an entry of `locations()`) could not be loaded; None if it could or isn't yet."""
    found = location["locationOrLoadError"]
    if not found or found["__typename"] != "PythonError":
        return None
    return "\n".join(_error_lines(found, frames=4))


def _error_lines(error: Mapping[str, Any] | None, frames: int = 0) -> list[str]:
    """Message and causes, each with the last `frames` entries of its stack."""
    lines = []
    for link in [error, *error["causes"]] if error else []:
        stack = (
            [line.rstrip() for entry in link["stack"][-frames:] for line in entry.splitlines()]
            if frames
            else []
        )
        lines += ["  " + line for line in [*link["message"].strip().splitlines(), *stack]]
    return lines


def _keys(asset_keys: Sequence[str]) -> list[dict[str, list[str]]]:
    return [{"path": key.split("/")} for key in asset_keys]


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
