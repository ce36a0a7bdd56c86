"""A Postgres server of our own: made when needed, always stopped, without Docker and without rights."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

import psycopg
from psycopg import sql

from deploy.local.postgres_binaries import PostgresBinaries, find_postgres
from deploy.local.postgres_binaries import (
    PostgresError as PostgresError,
)  # it belongs to this module's API too
from deploy.local.process import GuardedProcess, ProcessError, free_port

HOST, SUPERUSER = "127.0.0.1", "postgres"
START_TIMEOUT = 120.0  # crash recovery of a big folder takes its time
PORT_ATTEMPTS = 5


class PostgresServer:
    """A running server that we have a superuser's DSN for, wherever it came from."""

    def __init__(self, dsn: str) -> None:
        """`dsn`: a URL, postgresql://user:password@host:port/database. PostgresError for anything else."""
        url = urlsplit(dsn)
        if url.scheme not in ("postgresql", "postgres") or not url.hostname or not url.username:
            raise PostgresError("The DSN must look like postgresql://user:password@host:port/database.")
        self._url = url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.user}@{self.host}:{self.port}>"

    @property
    def host(self) -> str:
        return self._url.hostname or ""

    @property
    def port(self) -> int:
        return self._url.port or 5432

    @property
    def user(self) -> str:
        return unquote(self._url.username or "")

    @property
    def password(self) -> str:
        return unquote(self._url.password or "")

    def dsn(self, database: str = "postgres") -> str:
        """URL of one database; holds the password."""
        return self._url._replace(path="/" + quote(database, safe="")).geturl()

    @contextlib.contextmanager
    def connect(self, database: str = "postgres") -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """An autocommit connection, closed at the end."""
        with contextlib.closing(
            psycopg.connect(self.dsn(database), autocommit=True, connect_timeout=10)
        ) as connection:
            yield connection

    def create_database(self, name: str, *, template: str = "template1", exist_ok: bool = False) -> str:
        """Makes an empty database (a copy of `template`) and returns its DSN."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        with self.connect() as connection:
            try:
                connection.execute(statement)
            except psycopg.errors.DuplicateDatabase:
                if not exist_ok:
                    raise
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Also when sessions are still connected to it, or when it isn't there.

        Raises psycopg.errors.QueryCanceled after a minute: it waits for every COPY of the server that waits for rows.
        """
        with self.connect() as connection:
            connection.execute("SET statement_timeout = '60s'")
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


class PostgresCluster(PostgresServer):
    """A server started from binaries found on this machine (postgres_binaries.py), on 127.0.0.1 only.

    Use it as a context manager; the server is stopped at the end of the block and when our process dies.

    data_dir: folder to keep the cluster in (files, password, log). None: a temporary one, deleted at the end.
    port: None picks a free one, which stays the same for the life of this object.
    settings: more server settings, as for postgresql.conf.
    durable: False leaves out fsync. Faster, and still recovers from a killed server, though not a power cut.
    password: of the superuser `postgres`, for a new cluster. None: made up, or the one kept in data_dir.

    Raises PostgresNotFoundError, PostgresError, or ProcessError with the log's tail when the server fails.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
        password: str | None = None,
    ) -> None:
        self._temporary = data_dir is None
        self._folder = None if data_dir is None else Path(data_dir).expanduser().resolve()
        self._asked_port = port
        self._asked_password = password
        self._settings = {
            "listen_addresses": HOST,
            # TCP only: a socket's path has a length limit that temporary folders exceed on macOS
            "unix_socket_directories": "",
            "shared_buffers": "128MB",
            "max_connections": "200",
            "timezone": "UTC",
            # synchronous_commit stays on: without it a killed server loses what it had acknowledged
            **({} if durable else {"fsync": "off", "full_page_writes": "off"}),
            **(settings or {}),
        }
        self._user = _unprivileged_user()
        self._process: GuardedProcess | None = None
        self._url = SplitResult("postgresql", f"{SUPERUSER}@{HOST}:0", "", "", "")  # until it runs

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._temporary and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def folder(self) -> Path:
        """Holds the cluster's files (`data`), its `password` and its `postgres.log`."""
        if self._folder is None:
            raise PostgresError("The cluster is not started.")
        return self._folder

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        if self._process is None:
            raise PostgresError("The cluster is not started.")
        return self._process.pid

    def start(self) -> None:
        """Makes the cluster if there is none yet, and starts it. Does nothing when it runs."""
        if self._process is not None and self._process.running:
            return
        self._prepare_folder()
        version_file = self.folder / "data" / "PG_VERSION"
        binaries = find_postgres(int(version_file.read_text()) if version_file.exists() else None)
        binaries = self._reachable(binaries)
        if not version_file.exists():
            self._initdb(binaries)
        password = (self.folder / "password").read_text()
        port = self._run(binaries)
        netloc = f"{quote(SUPERUSER)}:{quote(password, safe='')}@{HOST}:{port}"
        self._url = self._url._replace(netloc=netloc)

    def stop(self) -> None:
        """Ends sessions and writes everything to disk (a fast shutdown)."""
        if self._process is not None:
            self._process.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signals the postmaster and returns when the whole server is gone; `start()` brings it back."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)

    def _prepare_folder(self) -> None:
        if self._folder is None:
            # mkdtemp gives 0700, and the server may run as another user
            made = tempfile.mkdtemp(prefix="replication-postgres-", dir=self._temporary_parent())
            self._folder = Path(made)
            self._folder.chmod(0o711)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._accessible(self.folder):
            raise PostgresError(
                f"{self._why_not_root()} reach {self.folder}: choose a folder whose parents everybody "
                "may enter, for example below /var/tmp."
            )

    def _temporary_parent(self) -> Path:
        chosen = Path(tempfile.gettempdir()).resolve()
        return chosen if self._accessible(chosen) else Path("/tmp")

    def _reachable(self, binaries: PostgresBinaries) -> PostgresBinaries:
        if self._accessible(binaries.folder):
            return binaries
        if not binaries.from_wheel:
            raise PostgresError(f"{self._why_not_root()} reach {binaries.folder}.")
        return binaries.copy_to(self.folder / "binaries")

    def _accessible(self, folder: Path) -> bool:
        """To the server's user, who may not be us."""
        if self._user is None:
            return os.access(folder, os.X_OK)
        uid, gid = self._user
        answer = subprocess.run(["test", "-x", folder], user=uid, group=gid, extra_groups=[], cwd="/")
        return answer.returncode == 0

    def _why_not_root(self) -> str:
        name = pwd.getpwuid(self._user[0] if self._user else os.geteuid()).pw_name
        return f"Postgres refuses to run as root, and the user it runs as instead, {name}, can't"

    def _initdb(self, binaries: PostgresBinaries) -> None:
        """Into a folder aside, renamed when complete: an interrupted one must not be taken for a cluster."""
        data, unfinished = self.folder / "data", self.folder / "data.unfinished"
        password = self.folder / "password"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password.touch(mode=0o600)
        password.write_text(self._asked_password or secrets.token_urlsafe(24))
        self._give_to_user(unfinished, password)
        command: list[str | Path] = [binaries.initdb, "--pgdata", unfinished]
        command += ["--username", SUPERUSER, "--pwfile", password, "--auth", "scram-sha-256"]
        command += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        process = self._spawn("initdb", command)
        try:
            if process.wait() != 0:
                raise process.error(f"failed with exit code {process.exit_code}")
        finally:
            process.stop()
        unfinished.rename(data)

    def _give_to_user(self, *paths: Path) -> None:
        if self._user is not None:
            for path in paths:
                os.chown(path, *self._user)

    def _run(self, binaries: PostgresBinaries) -> int:
        """Starts the server and returns its port. A free port may get taken before the server has it."""
        known = self._url.port or self._asked_port
        for attempts_left in reversed(range(1 if known else PORT_ATTEMPTS)):
            port = known or free_port(HOST)
            command: list[str | Path] = [binaries.postgres, "-D", self.folder / "data"]
            for name, value in {**self._settings, "port": str(port)}.items():
                command += ["-c", f"{name}={value}"]
            self._process = self._spawn("Postgres", command)
            try:
                self._process.wait_until(self._ready, START_TIMEOUT)
            except ProcessError:
                self._process.stop()
                if not attempts_left or "Address already in use" not in self._process.log_tail():
                    raise
            else:
                break
        return port

    def _spawn(self, name: str, command: list[str | Path]) -> GuardedProcess:
        return GuardedProcess(
            name,
            command,
            log=self.log,
            env=_clean_environment(),
            cwd=self.folder,
            user=self._user,
            stop_signal=signal.SIGINT,  # to Postgres: end sessions, write everything out
            grace=60,
            remove_if_orphaned=self.folder if self._temporary else None,
        )

    def _ready(self) -> bool:
        """By the file that the postmaster keeps: a connection might reach another server on the same port."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False


def _unprivileged_user() -> tuple[int, int] | None:
    """Postgres doesn't run as root. None: we aren't."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise PostgresError(
        "Postgres refuses to run as root, and there is no user `postgres` or `nobody` to run it as."
    )


def _clean_environment() -> dict[str, str]:
    """Without PGDATA, PGPORT and the like. LC_ALL is set since Postgres on macOS doesn't start without."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PG")}, "LC_ALL": "C"}
