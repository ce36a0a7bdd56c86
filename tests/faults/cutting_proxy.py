"""Stands between a client and a server and cuts the connection after some bytes."""

import contextlib
import socket
import threading

from tests.faults.proxy import Proxy, shut


class CuttingProxy(Proxy):
    """Listens on a port of its own. The first connection that sends, or is sent, `after` bytes is cut off abruptly,
    and so are `cuts` - 1 more after it; later ones pass through.

    dsn: of the server behind.
    """

    def __init__(self, dsn: str, *, after: int, cuts: int = 1) -> None:
        super().__init__(dsn)
        self._after = after
        self._left = cuts
        self._lock = threading.Lock()

    @property
    def cuts_left(self) -> int:
        return self._left

    def serve(self, client: socket.socket, server: socket.socket) -> None:
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
        shut(target, socket.SHUT_WR)

    def _take_cut(self) -> bool:
        with self._lock:
            if self._left:
                self._left -= 1
                return True
            return False
