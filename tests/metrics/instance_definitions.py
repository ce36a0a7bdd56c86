"""The tests' code location: a job that succeeds and one that fails."""

import dagster as dg


@dg.op
def fine() -> None: ...


@dg.op
def broken() -> None:
    raise RuntimeError("meant to fail")


@dg.job
def succeeds() -> None:
    fine()


@dg.job
def fails() -> None:
    broken()


defs = dg.Definitions(jobs=[succeeds, fails])
