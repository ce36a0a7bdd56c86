"""HTTP: `/metrics` for Prometheus, `/healthz` for whoever restarts the process."""

from __future__ import annotations

from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler

from code_location.metrics.exporter import Exporter


def make_server(exporter: Exporter, host: str, port: int) -> ThreadingHTTPServer:
    """A bound server (port 0: any free one) over a registry of its own, not yet serving.

    `/healthz` is 200 as long as every collection is turning, and 503 with the names of those that aren't. A
    destination or a Dagster that is down doesn't make it 503: restarting the exporter wouldn't mend them.
    Raises OSError when the address can't be bound.
    """
    metrics = CollectorRegistry()
    metrics.register(exporter)

    class Handler(MetricsHandler):
        registry = metrics
        timeout = 10  # a client that sends nothing gives its thread back

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/metrics":
                super().do_GET()
            elif path == "/healthz":
                stuck = exporter.stuck()
                self._answer(503 if stuck else 200, f"stuck: {', '.join(stuck)}" if stuck else "ok")
            else:
                self._answer(404, "/metrics and /healthz are served here")

        def _answer(self, status: int, text: str) -> None:
            body = f"{text}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer((host, port), Handler)
