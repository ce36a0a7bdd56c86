"""Stands between clients and a server, on a port of its own."""

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from typing import Self
from urllib.parse import urlsplit


class Proxy(ABC):
    """Takes connections from `dsn` on, and hands each to `serve` with one to the server behind, until it is left.

    server: the DSN of the server behind.
    """

    def __init__(self, server: str) -> None:
        self._url = urlsplit(server)
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def dsn(self) -> str:
        port = self._listener.getsockname()[1]
        credentials = self._url.netloc.rpartition("@")[0]
        return self._url._replace(netloc=f"{credentials}@127.0.0.1:{port}", query="sslmode=disable").geturl()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        shut(self._listener, socket.SHUT_RDWR)  # or the accept that waits would take one more
        self._listener.close()

    @abstractmethod
    def serve(self, client: socket.socket, server: socket.socket) -> None:
        """Starts to pass on what the two say."""

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._url.hostname, self._url.port))
                for end in (client, server):  # a message forwarded alone would wait 40 ms for the one before
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.serve(client, server)


def shut(connection: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # the other side was first
        connection.shutdown(how)
