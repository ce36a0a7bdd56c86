"""The documents, read as Markdown: headings, tables, code."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Document:
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def section(self, heading: str) -> str:
        """What stands under a heading, up to the next one of its level or above."""
        level = heading.split(" ")[0]
        _, _, rest = ("\n" + self.text).partition(f"\n{heading}\n")
        assert rest, f"{self.path.name} has no heading {heading}"
        return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows whose first cell is code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def document():
    return lambda name: Document(ROOT / name)


@pytest.fixture
def table_rows():
    return rows


@pytest.fixture
def code_in():
    return code
