"""Stands between a client and a server and cuts the connection after some bytes."""

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class CuttingProxy:
    """Listens on a port of its own. The first connection that sends, or is sent, `after` bytes is cut off abruptly,
    and so are `cuts` - 1 more after it; later ones pass through.

    dsn: of the server behind.
    """

    def __init__(self, dsn: str, *, after: int, cuts: int = 1) -> None:
        self._url = urlsplit(dsn)
        self._after = after
        self._left = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()

    @property
    def cuts_left(self) -> int:
        return self._left

    @property
    def dsn(self) -> str:
        port = self._listener.getsockname()[1]
        credentials = self._url.netloc.rpartition("@")[0]
        return self._url._replace(netloc=f"{credentials}@127.0.0.1:{port}", query="sslmode=disable").geturl()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._url.hostname, self._url.port))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                if passed >= self._after and self._take_cut():
                    # no farewell: the ends learn it by a reset
                    for end in (source, target):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                        end.shutdown(socket.SHUT_RDWR)
                    return
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _take_cut(self) -> bool:
        with self._lock:
            if self._left:
                self._left -= 1
                return True
            return False
