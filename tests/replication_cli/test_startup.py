"""Commands that need no database load no driver, so that they start at once."""

import subprocess
import sys

import pytest

HEAVY = {"adbc_driver_postgresql", "dagster", "duckdb", "numpy", "pgpq", "psycopg", "pyarrow", "rich"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["validate"], ["schema"]], ids=lambda arguments: arguments[0]
)
def test_nothing_heavy_is_loaded(project, arguments):
    script = (
        "import sys\n"
        "from code_location.replication.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "finally:\n"
        "    print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=project.folder, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 0
    assert ended.stdout
    loaded = set(ended.stderr.split())
    assert "click" in loaded
    assert not HEAVY & loaded


def test_the_version(project):
    from importlib.metadata import version

    ended = project.run_here("--version")
    assert (ended.code, ended.stdout) == (0, f"replicate, version {version('replication-code-location')}\n")
