"""dlt with Arrow batches, by way of parquet (its ADBC loader) or csv: SOURCE DSN parquet|csv"""

import sys
import tempfile
from collections.abc import Iterator

import dlt
import duckdb
import pyarrow as pa
from measure import timed


def main(source: str, dsn: str, file_format: str) -> None:
    @dlt.resource(name="flights", write_disposition="replace", primary_key="id")
    def flights() -> Iterator[pa.Table]:
        with duckdb.connect(source, read_only=True) as connection:
            for batch in connection.sql("FROM flights").to_arrow_reader(100_000):
                yield pa.Table.from_batches([batch])

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "benchmark",
            pipelines_dir=folder,
            dataset_name="dlt",
            destination=dlt.destinations.postgres(credentials=dsn),
        )

        def work() -> None:
            pipeline.run(flights(), loader_file_format=file_format).raise_on_failed_jobs()

        timed(work)


main(*sys.argv[1:])
