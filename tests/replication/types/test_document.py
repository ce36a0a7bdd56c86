"""docs/types.md says what the rules and the engines say."""

from __future__ import annotations

import os
from pathlib import Path

from tests.replication.types.document import markdown
from tests.replication.types.duckdb_cases import not_before_2
from tests.replication.types.passage import Duck, Postgres

PAGE = Path(__file__).parents[3] / "docs" / "types.md"


@not_before_2("there are fewer types")
def test_the_page_is_what_the_rules_say(duck: Duck, pg: Postgres) -> None:
    """Run with WRITE_DOCS=1 in the environment to write it anew."""
    page = markdown(duck, pg)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page
