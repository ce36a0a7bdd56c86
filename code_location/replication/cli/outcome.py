"""What a run says when it is over: a row for each table, a cause for each kind of failure, what stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from code_location.replication.cli.output import say, show_rows, words
from code_location.replication.config import ReplicationConfig
from code_location.replication.connectors import destination_of
from code_location.replication.errors import ReplicationError
from code_location.replication.ledger import Ledger, LedgerEntry
from code_location.replication.quantities import counted, listed
from code_location.replication.runner import LoadFailure
from code_location.replication.transfer import LoadRequest, LoadResult

_NUMBERS = ("loads", "read", "inserted", "updated", "deleted", "seconds")


def show_results(results: Sequence[LoadResult]) -> None:
    """One row a table: its loads added up, the windows of a backfill among them."""
    tables: dict[str, list[LoadResult]] = defaultdict(list)
    for result in results:
        tables[result.request.table.name].append(result)
    show_rows((_row(name, loads) for name, loads in sorted(tables.items())), numbers=_NUMBERS)


def _row(name: str, loads: Sequence[LoadResult]) -> dict[str, str]:
    def added(figure: Callable[[LedgerEntry], int]) -> str:
        return f"{sum(figure(load.entry) for load in loads):,}"

    reasons = sorted({load.reason for load in loads})
    return {
        "table": name,
        "loads": f"{len(loads):,}",
        "read": added(lambda e: e.rows_read),
        "inserted": added(lambda e: e.rows_inserted),
        "updated": added(lambda e: e.rows_updated),
        "deleted": added(lambda e: e.rows_deleted),
        "seconds": f"{sum(load.entry.seconds for load in loads):.1f}",
        "strategy": ", ".join(sorted({load.entry.strategy for load in loads})),
        "reason": reasons[0] if len(reasons) == 1 else f"{reasons[0]}, and {len(reasons) - 1} more",
    }


def say_failures(failures: Sequence[LoadFailure], place: Callable[[LoadFailure], str | None]) -> None:
    """Each cause once, with the names of all that it hit, and where the options stand that are at fault."""
    causes: dict[str, list[LoadFailure]] = defaultdict(list)
    for failure in failures:
        causes[words(failure.error).removeprefix(f"{failure.request.name}: ")].append(failure)
    for cause, hit in causes.items():
        many = f"{counted(len(hit), 'load')} failed: " if len(hit) > 1 else ""
        places = listed([*dict.fromkeys(at for failure in hit if (at := place(failure)))])
        where = f"\n  {places}" if places else ""
        say(f"{many}{listed([failure.request.name for failure in hit])}: {cause}{where}")


@dataclass
class Standing:
    """What became of the loads of a run that was cut off, by their names."""

    committed: list[str]
    partly: list[str] = field(default_factory=list)  # some chunks of a first load
    not_committed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def say(self) -> None:
        for title, names in (
            ("committed", self.committed),
            ("committed in part, the next run goes on there", self.partly),
            ("not committed, nothing of it changed", self.not_committed),
            ("not known, see `replicate status`", self.unknown),
        ):
            if names:
                say(f"{title}: {listed(names)}")


def standing(
    config: ReplicationConfig, run_id: str, results: Sequence[LoadResult], open_ends: Sequence[LoadRequest]
) -> Standing:
    """Asks the ledger about those whose end wasn't seen: they may have committed."""
    what = Standing([result.request.name for result in results])
    if not open_ends:
        return what
    try:
        destination = destination_of(config)
        with destination.session(read_only=True) as session:
            ledger = Ledger(session)
            known = ledger.exists()
            for request in open_ends:
                if known and ledger.find(request.load_id):
                    what.committed.append(request.name)
                elif known and _has_chunks(ledger, request, run_id):
                    what.partly.append(request.name)
                else:
                    what.not_committed.append(request.name)
    except ReplicationError as error:
        say(words(error))
        told = {*what.committed, *what.partly, *what.not_committed}
        what.unknown += [request.name for request in open_ends if request.name not in told]
    return what


def _has_chunks(ledger: Ledger, request: LoadRequest, run_id: str) -> bool:
    is_cut = request.table.chunk_rows and not request.window
    return bool(is_cut) and any(chunk.run_id == run_id for chunk in ledger.chunks(request.table.name))
