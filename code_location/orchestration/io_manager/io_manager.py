"""The IO manager: assets written in Python load replicated tables as frames, and store frames beside them.

It stands on the engine and not on Dagster's DbIOManager, whose protocol deletes and inserts through a connection that
it is handed, formats values into SQL and knows of one range of keys: here rows are replaced in one transaction with
the locks, types and COPY of a load, and read by the very windows that they were loaded by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from dagster import Failure, InputContext, IOManager, OutputContext, TableColumn, TableSchema

from code_location.orchestration.io_manager.frames import DtypeBackend, Frames, Library
from code_location.orchestration.io_manager.tables import (
    StoredTable,
    table_to_load,
    table_to_store,
    windows_to_load,
    windows_to_store,
)
from code_location.orchestration.project import ReplicationProject
from code_location.replication.errors import PlanError, ReplicationError
from code_location.replication.fetch import fetch
from code_location.replication.quantities import counted
from code_location.replication.store import Stored, store
from code_location.replication.windows import Window, joined


class ReplicationIOManager(IOManager):
    """Loads and stores frames in the destination of a project, whose replication.yaml has the connection.

        defs = Definitions.merge(
            build_replication_defs(project),
            Definitions(assets=[daily_revenue], resources={"io_manager": ReplicationIOManager(project)}),
        )

    Loading goes by the parameter's annotation: pyarrow.Table, pyarrow.RecordBatchReader (rows as a stream),
    pandas.DataFrame, polars.DataFrame or polars.LazyFrame. A partitioned asset gives the partitions that the run
    asks for. Metadata of the input, `AssetIn(metadata={...})`, may have

    - `columns`: only these, in this order;
    - `where`: only rows that meet this condition, in the destination's SQL;
    - `dtype_backend`: for this input.

    What an asset returns, in any of these types or anything else that offers an Arrow stream, becomes a table,
    or the run's partitions of one, in one transaction. Metadata of the asset may have

    - `table`, by default the key's last part, and `schema`, by default the part before it, or the destination's;
    - `partition_expr`: the column that tells partitions apart, or one for each dimension;
    - `column_types`: columns of text that hold `json` or `uuid`.

    Args:
        project: Whose destination.
        default_frame: What an input without annotation is: `arrow`, `pandas` or `polars`.
        dtype_backend: Types of pandas columns. `numpy_nullable`: pandas' own that know nulls, and Arrow's for what
            pandas has none for, such as decimals and dates; `pyarrow`: Arrow's for all.

    Raises PlanError for arguments that aren't offered. Whatever goes wrong in a run is a dagster.Failure that names
    asset and table; nothing is changed then.
    """

    def __init__(
        self,
        project: ReplicationProject,
        *,
        default_frame: Library = "arrow",
        dtype_backend: DtypeBackend = "numpy_nullable",
    ) -> None:
        self._project = project
        self._frames = Frames(default_frame, dtype_backend)

    def load_input(self, context: InputContext) -> Any:
        """The rows of the input's asset. Raises dagster.Failure."""
        metadata = dict(context.definition_metadata or {})
        stored: StoredTable | None = None
        try:
            if not context.has_asset_key:
                raise PlanError("it comes from an op, and only assets are tables")
            of_asset = context.upstream_output.definition_metadata if context.upstream_output else {}
            stored = table_to_load(self._project, context.asset_key, of_asset)
            windows = (
                windows_to_load(stored, context.asset_partition_keys, context.asset_partitions_def, of_asset)
                if context.has_asset_partitions
                else None
            )
            with fetch(
                stored.project.config,
                stored.schema,
                stored.name,
                windows=windows,
                columns=_columns(metadata),
                where=metadata.get("where"),
            ) as reader:
                wanted = context.dagster_type.typing_type
                frame = self._frames.made(reader, wanted, metadata.get("dtype_backend"))
        except ReplicationError as error:
            asset = f"asset {context.asset_key.to_user_string()}" if context.has_asset_key else "it"
            table = f" (table {stored})" if stored else ""
            _fail(f"input '{context.name}': {asset}{table} can't be loaded: {error}", error)
        context.log.info(f"input '{context.name}': table {stored}{_extent(windows)}")
        return frame

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Stores what an asset has returned. Raises dagster.Failure."""
        metadata = context.definition_metadata or {}
        target: StoredTable | None = None
        try:
            if not context.has_asset_key:
                raise PlanError(
                    f"output '{context.name}' is no asset, and only assets become tables",
                    hint="give it another IO manager with io_manager_key, or annotate the op `-> None`",
                )
            if obj is None:
                raise PlanError(
                    "it has returned None",
                    hint="return a frame; with `-> None` or a MaterializeResult nothing is stored",
                )
            target = table_to_store(self._project, context.asset_key, metadata)
            windows = (
                windows_to_store(
                    self._project, context.asset_partition_keys, context.asset_partitions_def, metadata
                )
                if context.has_asset_partitions
                else None
            )
            stored = store(
                target.project.config,
                target.schema,
                target.name,
                self._frames.rows(obj),
                windows=windows,
                column_types=metadata.get("column_types"),
            )
        except ReplicationError as error:
            asset = f"asset {context.asset_key.to_user_string()}" if context.has_asset_key else "an op"
            table = f" (table {target})" if target else ""
            _fail(f"{asset}{table} can't be stored: {error}", error)
        context.log.info(
            f"table {target}{_extent(windows and joined(windows))}: {counted(stored.rows, 'row')} stored, "
            f"{stored.deleted:,} replaced in {stored.seconds:.2f} s ({stored.strategy}: {stored.reason})"
        )
        context.add_output_metadata(_metadata(target, stored))
        for partition, rows in stored.rows_by_window.items() if len(stored.rows_by_window) > 1 else ():
            context.step_context.add_asset_metadata(
                {"dagster/partition_row_count": rows}, context.asset_key, partition
            )


def _fail(description: str, error: ReplicationError) -> NoReturn:
    raise Failure(description, allow_retries=error.transient) from error


def _columns(metadata: Mapping[str, Any]) -> Sequence[str]:
    columns = metadata.get("columns") or ()
    columns = getattr(columns, "value", columns)
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
        raise PlanError(
            f"metadata 'columns' is {columns!r}", hint='it has to be a list of names: ["id", "name"]'
        )
    return tuple(columns)


def _extent(windows: Sequence[Window] | None) -> str:
    return "" if windows is None else f" [{', '.join(window.key for window in windows) or 'no partition'}]"


def _metadata(target: StoredTable, stored: Stored) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/table_name": str(target),
        "dagster/column_schema": TableSchema([TableColumn(n, t) for n, t in stored.columns.items()]),
        "replication/strategy": stored.strategy,
        "replication/seconds": stored.seconds,
    }
    if not stored.rows_by_window:
        metadata["dagster/row_count"] = stored.rows
    elif len(stored.rows_by_window) == 1:
        metadata["dagster/partition_row_count"] = stored.rows
    return metadata
