"""Looks at both sides, under the lock, and plans a load for what it finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import cast

import pyarrow as pa

from code_location.replication import chunks
from code_location.replication.config import Table
from code_location.replication.connectors.apply import Dialect
from code_location.replication.connectors.base import Destination, DestinationSession, SourceSession
from code_location.replication.ledger import LedgerEntry, Standing
from code_location.replication.own_columns import MARK, own_columns
from code_location.replication.plan import Found, LoadRequest, Plan, make_plan, read_filter
from code_location.replication.types import Landing


def found_by(session: DestinationSession, standing: Standing, request: LoadRequest) -> Found:
    """What there is in the destination."""
    now = session.now()
    # history goes forward, even if a clock was set back
    if standing.latest and standing.latest >= now:
        now = standing.latest + timedelta(microseconds=1)
    target = session.look(request.table, hanging=request.replaces_all)
    widening = cast("Dialect", session).widening
    return Found(target, standing.watermark, standing.loaded, now, widening=widening)


def landings_of(
    destination: Destination, table: Table, schema: pa.Schema
) -> tuple[tuple[Landing, ...], tuple[Landing, ...]]:
    """How columns of the source, and those that we add, are stored. Raises PlanError."""
    # together, as a destination may take two names for one
    landings = destination.land(pa.schema([*schema, *own_columns(table)]))
    return landings[: len(schema)], landings[len(schema) :]


def plan_with(
    destination: Destination,
    snapshot: SourceSession,
    request: LoadRequest,
    found: Found,
    last_chunk: LedgerEntry | None,
) -> tuple[Plan, pa.Schema]:
    """The plan for what was found, and the columns to read, as they travel.

    `last_chunk` is the last that was committed of a first load that is under way. Raises PlanError when source
    and destination don't go together.
    """
    table = request.table
    found = replace(found, chunk=chunks.next_chunk(request, found, last_chunk, snapshot))
    read = read_filter(request, found)
    schema = snapshot.describe(table, read, destination.type)
    landings, own = landings_of(destination, table, schema)
    mark = destination.land(MARK)
    plan = make_plan(request, found, read, schema, landings, own, destination.fit, mark)
    if plan.widen:
        found.widening(plan)  # refuses before anything is read
    kept = {landing.name for landing in plan.landings}
    fields = zip(schema, plan.names.values(), strict=True)
    return plan, pa.schema([field for field, name in fields if name in kept], schema.metadata)
