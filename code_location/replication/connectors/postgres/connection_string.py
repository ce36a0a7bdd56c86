"""Connection strings: what libpq takes as a URL, with our defaults, and what of it must never be shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

from code_location.replication.errors import ConnectionFailed

# A peer that is gone is noticed within three minutes, whether it owes us an answer, we wait for it to take data
# (a server may stall that long on a busy disk), or nothing is said.
_DEFAULTS = {
    "application_name": "replication",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "180000",
    "connect_timeout": "10",
}

# libpq and urllib disagree about an unescaped "@", "/" or "?" in a password; whoever is wrong shows a part of it
_URL = re.compile(
    r"(?P<address>postgres(?:ql)?://(?:[^:@/?]*(?::(?P<password>[^@/?]*))?@)?[^@?]*)(?:\?(?P<query>[^@]*))?",
    re.DOTALL,
)


def with_defaults(dsn: str, **more: str) -> str:
    """Adds keepalives, timeouts, a name and what else is given, unless a URL sets it. Raises ConnectionFailed."""
    match = _parsed(dsn)
    given = [part for part in (match["query"] or "").split("&") if part]
    names = {part.partition("=")[0] for part in given}
    return f"{match['address']}?" + "&".join(
        [*given, *(f"{name}={value}" for name, value in (_DEFAULTS | more).items() if name not in names)]
    )


def server_options(dsn: str) -> str:
    """The server settings that a URL asks for itself (`options`), as libpq sends them."""
    given = re.findall(r"(?:^|&)options=([^&]*)", _parsed(dsn)["query"] or "")
    return " ".join(unquote(options) for options in given)


def secrets(dsn: str) -> list[str]:
    """Texts that must not show anywhere, the longest first. Raises ConnectionFailed for what is no URL."""
    match = _parsed(dsn)
    candidates = {dsn, match["password"] or "", *re.findall(r"password=([^&]+)", match["query"] or "")}
    candidates |= {unquote(c) for c in candidates}
    # a secret of two letters would turn every message into stars
    return sorted((c for c in candidates if len(c) > 2), key=len, reverse=True)


def _parsed(dsn: str) -> re.Match[str]:
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise ConnectionFailed(
            "the connection string of a postgres connection doesn't start with postgresql://",
            hint="postgresql://user:password@host:port/database",
        )
    if match := _URL.fullmatch(dsn):
        return match
    raise ConnectionFailed(
        "the connection string of a postgres connection is not a valid URL",
        hint="in a user name or password, write @ as %40, / as %2F and ? as %3F",
    )
