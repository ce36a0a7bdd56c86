"""YAML that remembers where each value stood, so that errors can name line and column."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from code_location.replication.errors import ConfigError, Problem

Location = tuple[str | int, ...]

if yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _FastLoader(Composer, CParser, SafeConstructor, Resolver):
        """libyaml's parser, five times as fast; the rest as ever, as its composer crashes on what is nested deeply."""

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)


@dataclass
class LocatedYaml:
    """A parsed document.

    `data` is plain Python; `marks` maps the path of every key and list item, such as
    ("tables", 0, "name"), to its (line, column), counted from 1. `problems` are those that leave the rest
    readable: a key that stands twice, a date that doesn't exist.
    """

    path: str
    data: Any
    marks: dict[Location, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, location: Location, message: str) -> Problem:
        """Places a message at a location, or at its nearest ancestor that stands in the file."""
        while location and location not in self.marks:
            location = location[:-1]
        line, column = self.marks.get(location, (1, 1))
        return Problem(self.path, line, column, message)


def parse(path: Path, text: str) -> LocatedYaml:
    """Parses one YAML document with safe tags only.

    Raises ConfigError for broken syntax or a tag that isn't plain data.
    """
    document = LocatedYaml(str(path), None)
    try:
        loader, root = _composed(text)
        if root is not None:
            document.data = _construct(loader, root, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = error.problem or error.context or "not valid YAML"
        raise ConfigError([Problem(str(path), line, column, f"not valid YAML: {what}")]) from None
    except yaml.reader.ReaderError as error:  # raised before anything is parsed, with an offset only
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        what = f"not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        raise ConfigError([Problem(str(path), line, column, what)]) from None
    except RecursionError:  # also from an anchor that holds itself
        raise ConfigError([Problem(str(path), 1, 1, "not valid YAML: nested too deeply")]) from None
    return document


def _composed(text: str) -> tuple[SafeConstructor, yaml.Node | None]:
    """The document's nodes, and what makes values of them."""
    if yaml.__with_libyaml__:
        try:
            fast = _FastLoader(text)
            return fast, fast.get_single_node()
        except yaml.YAMLError:
            pass  # in words that don't depend on whether libyaml is there
    loader = yaml.SafeLoader(text)
    return loader, loader.get_single_node()


def _construct(loader: SafeConstructor, node: yaml.Node, location: Location, document: LocatedYaml) -> Any:
    mark = node.start_mark
    document.marks.setdefault(location, (mark.line + 1, mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        mapping: dict[Any, Any] = {}
        # `<<: *anchor` puts the merged keys first; a key of the mapping's own may override those
        own = {id(key) for key, _ in node.value if key.start_mark.index >= mark.index}
        seen: dict[Any, bool] = {}
        for key_node, value_node in node.value:
            plain = isinstance(key_node, yaml.ScalarNode)
            key = _scalar(loader, key_node, location, document) if plain else "a list or mapping"
            place = (*location, key if isinstance(key, str | int) else str(key))
            is_own = id(key_node) in own
            document.marks[place] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if seen.get(key) and is_own:
                document.problems.append(document.problem(place, f"the key '{key}' stands here twice"))
            seen[key] = is_own
            mapping[key] = _construct(loader, value_node, place, document)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, item, (*location, i), document) for i, item in enumerate(node.value)]
    return _scalar(loader, node, location, document)


def _scalar(loader: SafeConstructor, node: yaml.Node, location: Location, document: LocatedYaml) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML passes on whatever it runs into, such as the date 2024-02-30
        document.problems.append(document.problem(location, f"'{node.value}' can't be read: {error}"))
        return None
