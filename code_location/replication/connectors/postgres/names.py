"""Identifiers in Postgres: 63 bytes, whatever lies beyond is cut off without a word."""

from __future__ import annotations

import hashlib

LIMIT = 63
_HASH = 8


def shortened(name: str) -> str:
    """A name that fits: itself, or its beginning and a hash of the whole, the same at every call."""
    if len(name.encode()) <= LIMIT:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH]
    beginning = name.encode()[: LIMIT - _HASH - 1].decode(errors="ignore")
    return f"{beginning}_{digest}"
