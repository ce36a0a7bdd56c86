"""Words that several error messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, options: Iterable[str]) -> str:
    """A question to append to a message when an option resembles the word; nothing otherwise."""
    options = list(options)
    near = [option for option in options if option.casefold() == word.casefold()]
    near = near or difflib.get_close_matches(word, options, n=1, cutoff=0.61)
    return f"; did you mean '{near[0]}'?" if near else ""


def by_likeness(word: str, options: Iterable[str]) -> list[str]:
    """The options, those first that resemble the word most."""
    matcher = difflib.SequenceMatcher(b=word.casefold())

    def unlike(option: str) -> float:
        matcher.set_seq1(option.casefold())
        return -matcher.ratio()

    return sorted(options, key=unlike)


def choices(options: Iterable[str]) -> str:
    """'a', 'b' or 'c'."""
    *others, last = (f"'{option}'" for option in options)
    return f"{', '.join(others)} or {last}" if others else last


def unset(missing: KeyError) -> str:
    """What to do about a variable that has no value."""
    name = missing.args[0]
    return f"the environment variable {name} is not set (set it, or write ${{{name}:-default}})"
