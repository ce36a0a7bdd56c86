"""The shape of SQL that users write into replication.yaml. What it means only the source can tell."""

from __future__ import annotations

_PAIRS = {")": "(", "]": "["}


def wrong_with_sql(text: str) -> str | None:
    """Why a text can't stand as one expression inside a statement of ours; None when it may.

    It must keep to itself: quotes and brackets closed, no comment that would swallow what follows, and no
    second statement.
    """
    open_brackets: list[str] = []
    i = 0
    while i < len(text):
        character = text[i]
        if character in "'\"":
            end = text.find(character, i + 1)
            if end < 0:
                return f"the quote {character} is not closed"
            i = end + 1
            continue
        if text.startswith(("--", "/*"), i):
            return f"a comment ({text[i : i + 2]}) can't stand in it"
        if character == ";":
            return "a ';' can't stand in it: it is one expression, not a statement"
        if character in "([":
            open_brackets.append(character)
        elif character in ")]" and (not open_brackets or open_brackets.pop() != _PAIRS[character]):
            return f"'{character}' closes nothing"
        i += 1
    return f"'{open_brackets[-1]}' is not closed" if open_brackets else None
