"""libyaml reads as PyYAML does, places included; what is wrong is said in the same words with either."""

from pathlib import Path

import pytest
import yaml

from code_location.replication import ConfigError, located_yaml

PATH = Path("replication.yaml")
GOOD = [
    "a: 1\nb: [x, {y: z}]\n",
    "é: [ü, 'б']\n日本: |\n  two\n  lines\nc: >-\n  folded\n  text\n",
    "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\n? k\n: v\n",
    "a: 2024-03-01\nb: 0x10\nc: 1_000\nd: ~\ne: yes\na: again\n",
    "# a comment\n---\ntables:\n- {name: 'a''b', key: \"\\u00e9\"}  # another\n...\n",
    "",
]
BAD = [
    "a: b: c",
    "a: 'x",
    "\tb: c",
    "a: {b: 1, c: ?d}",
    "a: @x",
    "---\na\n---\nb",
    "a: \x01",
    "a: !!python/none 1",
]


@pytest.mark.parametrize("text", GOOD)
def test_the_same_values_in_the_same_places(text, monkeypatch):
    fast = located_yaml.parse(PATH, text)
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert fast == located_yaml.parse(PATH, text)


@pytest.mark.parametrize("text", BAD)
def test_the_same_words(text, monkeypatch):
    said = []
    for _ in range(2):
        with pytest.raises(ConfigError) as failure:
            located_yaml.parse(PATH, text)
        said.append(str(failure.value))
        monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "\n".join(" " * i + "a:" for i in range(2000))]
)
def test_what_is_nested_too_deeply_ends_no_process(text):
    with pytest.raises(ConfigError, match="nested too deeply"):
        located_yaml.parse(PATH, text)
