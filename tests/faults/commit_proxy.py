"""Stands between client and server, and cuts the connection at the COMMIT of a load.

Postgres' protocol (version 3): after the startup packet every message of the client is a type byte,
a length that includes itself, and a body; a simple query has the type `Q`, and `P`, `B`, `E`, `S` (Parse, Bind,
Execute, Sync) make an extended one.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from tests.faults.proxy import Proxy, shut


class CommitProxy(Proxy):
    """Listens on a port of its own. At the first COMMIT after a ledger row was written it calls `at_commit`.

    dsn: of the server behind.
    forward: whether that COMMIT still reaches the server.
    at_commit: called when COMMIT has been forwarded, or withheld; after it the connection is cut, and no
        answer has got through.
    """

    def __init__(self, dsn: str, *, forward: bool, at_commit: Callable[[], None] = lambda: None) -> None:
        super().__init__(dsn)
        self._forward = forward
        self._at_commit = at_commit
        self.cut = threading.Event()  # set once the connection was cut; later ones pass through

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        mute = threading.Event()
        threading.Thread(target=self._answers, args=(server, client, mute), daemon=True).start()
        threading.Thread(target=self._queries, args=(client, server, mute), daemon=True).start()

    def _answers(self, server: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not mute.is_set():
                    client.sendall(data)
        shut(client, socket.SHUT_RDWR)

    def _queries(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError, struct.error), client.makefile("rb") as stream:
            (length,) = struct.unpack("!I", stream.read(4))
            server.sendall(struct.pack("!I", length) + stream.read(length - 4))
            recorded = committing = False
            while head := stream.read(5):
                (length,) = struct.unpack("!I", head[1:])
                body = stream.read(length - 4)
                kind = head[:1]
                recorded = recorded or (
                    kind in b"PQ" and b"INSERT INTO" in body and b"_replication_loads" in body
                )
                # as a simple query, or parsed without a name
                if recorded and kind in b"PQ" and body.lstrip(b"\0").upper().startswith(b"COMMIT"):
                    committing = not self.cut.is_set()
                if committing:
                    mute.set()
                if self._forward or not committing:
                    server.sendall(head + body)
                if committing and kind in b"QS":  # S, for Sync, ends what was parsed
                    self._at_commit()
                    self.cut.set()
                    break
        # the server reads what was forwarded, then the end
        shut(server, socket.SHUT_WR)
        shut(client, socket.SHUT_RDWR)
