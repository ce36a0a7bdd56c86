"""A webhook to post to: a real HTTP server in a thread."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = "T0SECRET"


class Hook(HTTPServer):
    """Takes what is posted, or answers what it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.texts: list[str] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET}"


class Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            assert self.headers["Content-Type"] == "application/json"
            self.server.texts.append(json.loads(body)["text"])
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Hook]:
    with Hook() as hook:
        threading.Thread(target=hook.serve_forever, args=(0.01,), daemon=True).start()
        yield hook
        hook.shutdown()
