"""What goes wrong while Postgres is written to, in words, by SQLSTATE."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import psycopg

from code_location.replication.connectors.postgres import connection_string
from code_location.replication.errors import ConnectionFailed, KeyViolation, LoadError, ReplicationError

_COPY_PLACE = re.compile(r"^COPY .*, line (?P<row>\d+)(?:, column (?P<column>\w+))?", re.MULTILINE)
_DENIED = re.compile(r"permission denied for (?P<kind>\w+(?: \w+)?) (?P<name>\S+)$")
_KEY = re.compile(r"Key \((?P<columns>.*?)\)=\(")
_GRANTS = {
    "database": "GRANT CREATE ON DATABASE {name} TO {role}",
    "schema": "GRANT USAGE, CREATE ON SCHEMA {name} TO {role}",
    "table": "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {name} TO {role}",
    "sequence": "GRANT USAGE, SELECT ON SEQUENCE {name} TO {role}",
    "function": "GRANT EXECUTE ON FUNCTION {name} TO {role}",
    "type": "GRANT USAGE ON TYPE {name} TO {role}",
    "tablespace": "GRANT CREATE ON TABLESPACE {name} TO {role}",
}
# one of several addresses as psycopg lists them, and what stands before a message
_WRAPPED = re.compile(r"^(- host: .*?, hostaddr: [^ ]+: )?(connection (failed|is bad): )?")
_TRY = re.compile(r"connection to server (?P<place>(?:at|on socket) .+?) failed: (?P<why>.*)")
_LOST = (
    "server closed the connection",
    "connection to server",
    "no connection to the server",
    "connection is lost",
    "connection is closed",
    "could not receive",
    "could not send",
    "Connection reset",
    "connection timed out",
    "Connection timed out",
    "SSL SYSCALL",
    "SSL error",
    "terminating connection",
    "Lost connection",
    "unexpectedly",
)
# of the login or the address: the same again would fail again
_REFUSED = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf",
    "invalid",
    "not permitted to log in",
    "permission denied for database",
    "unrecognized configuration parameter",
    "certificate",
    "does not support SSL",
    "sslmode",
    "SSL error: tlsv1 alert",
    "SSL error: ssl/tls alert",
    "no password supplied",
)
# of TLS: what is said -> what to do
_TLS = {
    "certificate verify failed": "sslrootcert has to name the authority that signed the server's certificate",
    "root certificate file": "sslrootcert has to name a file with the authority that signed the server's certificate",
    "does not match host name": "sslmode=verify-full wants the host name of the connection string in the server's "
    "certificate; sslmode=verify-ca doesn't",
    "no encryption": "this server wants TLS, or isn't open to this address: try ?sslmode=require",
    "does not support SSL": "this server has no TLS: turn it on there, or leave out sslmode",
}


class Errors:
    """Errors of connections to the database at a URL; none of them shows its password.

    `shown` maps names of our own making, such as a stage's, to what people know the thing by; `key` is the primary
    key of the table that is loaded; `counts_rows` says that a COPY gets all rows, so that it tells which one is wrong.
    """

    def __init__(self, dsn: str) -> None:
        """Raises ConnectionFailed for what is no URL."""
        self._secrets = connection_string.secrets(dsn)
        self.shown: Mapping[str, str] = {}
        self.key: Sequence[str] = ()
        self.counts_rows = True

    def connecting(self, error: Exception) -> ConnectionFailed:
        """Why there is no connection."""
        message = self._redacted(plain(str(error)))
        if "hot standby" in message or "read-only" in message:
            return ConnectionFailed(
                f"can't connect to Postgres: {message}",
                hint="a destination is written to: it has to be the primary, not a standby",
                transient=True,  # while one takes over from another
            )
        refused = any(phrase in message for phrase in _REFUSED)
        hint = (
            "check the connection string in replication.yaml"
            if refused
            else "is the server up and reachable?"
        )
        hint = next((advice for said, advice in _TLS.items() if said in message), hint)
        return ConnectionFailed(f"can't connect to Postgres: {message}", hint=hint, transient=not refused)

    def running(self, error: psycopg.Error, sql: str, role: str) -> ReplicationError:
        """Why a statement failed that `role` ran."""
        state = error.sqlstate or ""
        message = self._message(error)
        if (
            (state.startswith("08") and state != "08P01")
            or state in ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
            or (not state and is_lost(str(error)))
        ):
            return ConnectionFailed(f"the connection to Postgres broke: {message}", transient=True)
        if state in ("40001", "40P01", "55P03") or "tuple concurrently" in message:
            return LoadError(f"another transaction was in the way: {message}", transient=True)
        if state in ("23505", "23502", "21000"):
            return self._key_violation(error, message)
        if state == "42501":
            return LoadError(message, hint=_missing_right(message, sql, role))
        if state in ("53100", "53000"):
            return LoadError(
                f"the destination's disk is full: {message}", hint="make room; nothing was changed"
            )
        if state[:2] == "53":
            return LoadError(f"the destination lacks resources: {message}", transient=True)
        if state == "57014" and "timeout" in message:
            return LoadError(
                f"the destination stopped a statement: {message}",
                hint=f"loads need longer: ALTER ROLE {_quoted(role)} SET statement_timeout = 0, or "
                "?options=-c%20statement_timeout%3D0 in the connection string",
            )
        if state == "25006":
            return LoadError(message, hint="a destination is written to: it has to be the primary")
        if state == "22021":
            return LoadError(
                f"{message} (Postgres can't store a zero byte in text)",
                hint="nul: strip or nul: replace, or copy a view that removes chr(0)",
            )
        return LoadError(message)

    def _message(self, error: psycopg.Error) -> str:
        diagnosis = error.diag
        message = diagnosis.message_primary or plain(str(error))
        if diagnosis.message_detail:
            message += f": {diagnosis.message_detail}"
        if place := _COPY_PLACE.search(diagnosis.context or ""):
            message += f", in row {place['row']}" if self.counts_rows else ""
            message += f", column '{place['column']}'" if place["column"] else ""
        for ours, theirs in self.shown.items():
            message = message.replace(ours, theirs)
        return self._redacted(message)

    def _key_violation(self, error: psycopg.Error, message: str) -> LoadError:
        diagnosis = error.diag
        table = diagnosis.table_name or ""
        where = f"table '{self.shown.get(table, table)}': " if table else ""
        hint = "the primary key must be unique and not null in the source"
        if error.sqlstate == "23502":
            row = (
                f", such as row {place['row']}"
                if self.counts_rows and (place := _COPY_PLACE.search(diagnosis.context or ""))
                else ""
            )
            told = f'{where}column "{diagnosis.column_name}" contains null values{row}'
            if diagnosis.column_name in self.key:
                return KeyViolation(told, hint=hint)
            return LoadError(
                told, hint="the destination allows none there; change the source, or DROP NOT NULL"
            )
        detail = self._redacted((diagnosis.message_detail or message).rstrip("."))
        if detail.endswith("already exists"):
            name = diagnosis.constraint_name or "a unique index"
            hint = f"{self.shown.get(name, name)} of the destination allows each key once"
        columns = _KEY.match(detail)
        return KeyViolation(where + detail, hint=hint, columns=_names(columns["columns"]) if columns else ())

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "****")
        return text


def plain(text: str) -> str:
    """A driver's message without its wrapping: one sentence, in which everything is said once.

    libpq tells of each address and each try in a line of its own, whose continuations are indented.
    """
    text = re.sub(r"^[A-Z_]+: (\[libpq\] )?(Failed to connect: |Failed to [^:]+: )?", "", text)
    tries: dict[str, list[str]] = {}  # places by what became of them
    facts: list[str] = []
    for line in _lines(text):
        if match := _TRY.fullmatch(line):
            places = tries.setdefault(match["why"], [])
            places += [match["place"]] if match["place"] not in places else []
        else:
            facts += [line] if line not in facts else []
    reasons: dict[str, list[str]] = {}
    for why, places in tries.items():
        reasons.setdefault(" and ".join(places), []).append(why)
    failed = [f"connection to server {place} failed: {'; '.join(why)}" for place, why in reasons.items()]
    return "; ".join([*failed, *facts])


def _lines(text: str) -> list[str]:
    """What is said, without what introduces it, and without questions: errors give advice of their own."""
    lines: list[str] = []
    indented = False
    for line in text.splitlines():
        told = " ".join(_WRAPPED.sub("", line).split()).rstrip(".")
        if line.startswith("\t") and indented:
            lines[-1] += f" {told}"
        elif told and not told.startswith(("Is the server running", "Multiple connection attempts failed")):
            lines.append(told[0].lower() + told[1:] if line.startswith("\t") else told)
            indented = line.startswith("\t")
    return lines


def is_lost(text: str) -> bool:
    """Whether a message without SQLSTATE is about a connection that broke."""
    return any(phrase in text for phrase in _LOST)


def _names(columns: str) -> list[str]:
    """The columns of an index as Postgres lists them; an expression stays what it is."""
    return [part.strip().strip('"').replace('""', '"') for part in columns.split(",")]


def _missing_right(message: str, sql: str, role: str) -> str:
    """The statement that somebody with the right to do so has to run."""
    who = _quoted(role)
    if match := re.match(r'CREATE SCHEMA (?:IF NOT EXISTS )?(?P<name>"(?:[^"]|"")+")', sql):
        return (
            f"somebody who may has to run: CREATE SCHEMA {match['name']} AUTHORIZATION {who}; "
            f"or {_grant(message, who)}"
        )
    if match := re.match(r"must be owner of (?P<kind>\w+) (?P<name>.+)$", message):
        return f"grant the destination role this right: ALTER {match['kind'].upper()} {_quoted(match['name'])} OWNER TO {who}"
    if "row-level security" in message:
        return f"policies would hide rows from the destination role: ALTER ROLE {who} BYPASSRLS"
    return f"grant the destination role this right: {_grant(message, who)}"


def _grant(message: str, who: str) -> str:
    if match := re.search(r"create temporary tables in database (?P<name>.+)$", message):
        return f"GRANT TEMPORARY ON DATABASE {_quoted(match['name'])} TO {who}"
    match = _DENIED.search(message)
    if match and (grant := _GRANTS.get(match["kind"])):
        return grant.format(name=_quoted(match["name"]), role=who)
    return f"by GRANT ... TO {who}"


def _quoted(name: str) -> str:
    return '"' + name.strip('"').replace('"', '""') + '"'
