"""The UI as an operator uses it: a real browser on the real service. Its pictures are kept (--screenshots FOLDER)."""

import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psycopg
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from deploy.local.postgres import PostgresServer
from deploy.local.services import LocalDagster
from tests.orchestration.harness import CONNECTIONS, SOURCE, TABLES

pytestmark = pytest.mark.browser

# it has a closed network here and elsewhere, and is asked for nothing but our own pages
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Dagster's daemon looks after backfills twice a minute
PATIENCE = 120_000


@pytest.fixture(scope="module")
def warehouse(postgres: PostgresServer) -> Iterator[str]:
    name = f"warehouse_{uuid.uuid4().hex}"
    yield postgres.create_database(name, template="template0")
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def dagster(
    postgres: PostgresServer, warehouse: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalDagster]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "replication.yaml").write_text(CONNECTIONS + TABLES)
    with duckdb.connect(str(folder / "source.duckdb")) as connection:
        connection.execute(SOURCE)
    env = {"REPLICATION_CONFIG": str(folder / "replication.yaml"), "DESTINATION": warehouse}
    storage = f"dagster_{uuid.uuid4().hex}"
    home = folder / "home"
    home.mkdir()
    try:
        with LocalDagster(home, postgres, env, exporter=False, database=storage) as dagster:
            yield dagster
    finally:
        postgres.drop_database(storage)


@pytest.fixture(scope="module")
def browser_page(dagster: LocalDagster) -> Iterator[Page]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("no Chromium found: install one (on Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900}, base_url=dagster.ui_url)
        page.set_default_timeout(30_000)
        yield page
        browser.close()


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path, browser_page: Page) -> Iterator[Path]:
    """Where to keep them; one of how a test ended, too."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    browser_page.screenshot(path=folder / f"{request.node.name}.png")


def test_a_backfill_of_a_range(browser_page: Page, warehouse: str, pictures: Path):
    page = browser_page
    page.goto("/assets/activity?view=partitions")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    partitions = dialog.get_by_role("textbox").first
    partitions.fill("[2024-03-02...2024-03-04]")
    partitions.press("Enter")
    expect(dialog.get_by_text("3 partitions")).to_be_visible()
    expect(dialog.get_by_text("Backfills all partitions in a single run")).to_be_visible()
    page.screenshot(path=pictures / "launch_backfill.png")
    dialog.get_by_role("button", name="Launch backfill").click()
    expect(dialog).to_be_hidden()

    page.goto("/runs/?view=backfills")
    expect(page.get_by_text("Success").first).to_be_visible(timeout=PATIENCE)
    page.goto("/assets/activity?view=partitions")
    expect(page.get_by_text("Materialized (3)")).to_be_visible()
    expect(page.get_by_text("Missing (2)")).to_be_visible()
    # one window's own figures
    page.get_by_text("2024-03-03", exact=True).first.click()
    expect(page.get_by_text("dagster/partition_row_count").first).to_be_visible()
    page.screenshot(path=pictures / "partitions.png")

    with psycopg.connect(warehouse) as connection:
        days = connection.execute(
            "SELECT happened_at::date::text, count(*) FROM target.activity GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert days == [("2024-03-02", 24), ("2024-03-03", 24), ("2024-03-04", 24)]


def test_a_failed_check_shows_the_rows(
    browser_page: Page, dagster: LocalDagster, warehouse: str, pictures: Path
):
    page = browser_page
    dagster.materialize(["users"])
    with psycopg.connect(warehouse, autocommit=True) as connection:
        connection.execute("UPDATE target.users SET name = 'somebody else' WHERE id = 42")
    page.goto("/assets/users?view=checks&checkDetail=contents_match_source")
    page.get_by_role("button", name=re.compile(r"Execute$")).click()
    expect(page.get_by_text("Failed").first).to_be_visible(timeout=PATIENCE)
    for cell in ("id=42", "changed", "name=user 42", "name=somebody else"):
        expect(page.get_by_text(cell, exact=True)).to_be_visible()
    page.screenshot(path=pictures / "failed_check.png")
