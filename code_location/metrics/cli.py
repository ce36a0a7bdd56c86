"""The exporter process: reads its settings, starts collecting and serves until SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

import click

from code_location.deployment import Deployment
from code_location.metrics.dagster_instance import DagsterSource
from code_location.metrics.exporter import Exporter, SourceError
from code_location.metrics.ledger import Destination, LedgerSource
from code_location.metrics.server import make_server
from code_location.replication.config import ReplicationConfig, load_config
from code_location.replication.errors import ConfigError

log = logging.getLogger(__name__)
EXAMPLE_CONFIG = Path(__file__).parents[2] / "examples" / "replication.yaml"
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def destinations(config: ReplicationConfig, deployment: Deployment) -> list[Destination]:
    """The destination schemas that this deployment of a replication.yaml writes to."""

    def connection_string() -> str:
        try:
            return config.resolve("destination")
        except ConfigError as error:  # names the variable that isn't set, not a value
            raise SourceError(str(error)) from None

    # The label is the connection's name in the file: anything taken from the connection string could be a
    # piece of a mistyped password.
    return [
        Destination(
            label="destination",
            schema=deployment.destination_schema(config.connections.destination.schema_or_default),
            resolve=connection_string,
            tables=tuple(table.name for table in config.tables),
        )
    ]


def _http_url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise click.BadParameter("must start with http:// or https://")
    return value


@click.command()
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to serve on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9464,
    envvar="REPLICATION_METRICS_PORT",
    show_default=True,
    show_envvar=True,
    help="Port to serve on; 0 takes any free one and logs it.",
)
@click.option(
    "--graphql-url",
    default="http://localhost:3000/graphql",
    callback=_http_url,
    envvar="DAGSTER_GRAPHQL_URL",
    show_default=True,
    show_envvar=True,
    help="GraphQL endpoint of the Dagster webserver, or of a Dagster+ deployment.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=15.0,
    envvar="REPLICATION_METRICS_INTERVAL",
    show_default=True,
    show_envvar=True,
    help="Seconds between two collections.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=EXAMPLE_CONFIG,
    envvar="REPLICATION_CONFIG",
    show_envvar=True,
    help="The replication.yaml whose destinations are read.  [default: the example's]",
)
def main(host: str, port: int, graphql_url: str, interval: float, config: Path) -> None:
    """Serve Prometheus metrics of the replication ledger and of a Dagster instance.

    A Dagster+ user token is taken from DAGSTER_CLOUD_API_TOKEN. SIGTERM ends the process.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Blocked here and in the threads to come, then waited for: no handler that could run at a bad moment.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    try:
        replication, deployment = load_config(config), Deployment.from_environment()
    except (ConfigError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    ledgers = [LedgerSource(destination) for destination in destinations(replication, deployment)]
    dagster = DagsterSource(graphql_url, os.environ.get("DAGSTER_CLOUD_API_TOKEN"))
    exporter = Exporter([*ledgers, dagster], interval)
    try:
        server = make_server(exporter, host, port)
    except OSError as error:
        raise click.ClickException(f"can't serve on {host}:{port}: {error.strerror}") from None
    exporter.start()
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    log.info("serving /metrics and /healthz on port %d", server.server_port)
    received = signal.sigwait(SIGNALS)
    log.info("stopping on %s", signal.Signals(received).name)
    server.shutdown()
    exporter.stop()
