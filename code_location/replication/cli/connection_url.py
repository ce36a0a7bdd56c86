"""A connection as it is given on a command line, and as it may be written into a file: without its secrets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import click

_POSTGRES = re.compile(r"(?P<scheme>postgres(?:ql)?://)(?:(?P<login>[^/?#]*)@)?(?P<rest>.*)", re.DOTALL)
_SECRET_OPTION = re.compile(r"(?P<name>[a-z_]*(?:pass(?:word)?|secret|token))=(?P<value>[^&]*)")
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}")


@dataclass(frozen=True)
class ConnectionEntry:
    """What stands in a file: `variables` are those that hold the secrets left out of `connection`."""

    type: str
    connection: str
    schema: str | None
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConnectionUrl:
    """`template` is the URL as replication.yaml understands it: a `$` that starts no variable is doubled."""

    type: str
    template: str

    @classmethod
    def parse(cls, url: str) -> ConnectionUrl:
        """Tells the system by the URL. Raises a usage error, which doesn't show the URL."""
        template = re.sub(r"\$(?!\{[A-Za-z_])", "$$", url)
        if match := _POSTGRES.fullmatch(url):
            if "@" in match["rest"]:  # else a part of a password could be taken for a host
                raise click.UsageError(
                    "in a URL, write @ in a user name, password or option as %40, / as %2F and ? as %3F"
                )
            return cls("postgres", template)
        if url.startswith("duckdb:///") or (
            "://" not in url and Path(url).suffix in (".duckdb", ".ddb", ".db")
        ):
            return cls("duckdb", template)
        raise click.UsageError(
            "a source or destination is postgresql://user:password@host:port/database or the path of a .duckdb file"
        )

    def entry(self, prefix: str, schema: str | None, folder: Path) -> ConnectionEntry:
        """For a file in `folder`; variables in place of secrets start with `prefix`."""
        if self.type == "duckdb":
            file = self.template.removeprefix("duckdb:///")
            path = file if Path(file).is_absolute() else os.path.relpath(file, folder)
            return ConnectionEntry(self.type, path, schema)
        match = _POSTGRES.fullmatch(self.template)
        assert match
        variables: list[str] = []

        def hidden(secret: str, name: str) -> str:
            if not secret or _VARIABLE.fullmatch(secret):
                return secret
            variables.append(f"{prefix}_{name.upper()}")
            return f"${{{variables[-1]}}}"

        user, colon, password = (match["login"] or "").partition(":")
        login = f"{user}{colon}{hidden(password, 'password')}@" if match["login"] else ""
        address, question, options = match["rest"].partition("?")
        options = _SECRET_OPTION.sub(lambda o: f"{o['name']}={hidden(o['value'], o['name'])}", options)
        connection = match["scheme"] + login + address + question + options
        return ConnectionEntry(self.type, connection, schema, tuple(dict.fromkeys(variables)))
