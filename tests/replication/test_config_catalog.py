"""The catalog of the source: wildcards expand from it, and columns are checked against it."""

from pathlib import Path

import pytest

from code_location.replication import ConfigError, load_config
from code_location.replication.config.catalog import (
    Catalog,
    CatalogColumn,
    CatalogTable,
    catalog_of,
    catalog_path,
    read_catalog,
    write_catalog,
)
from code_location.replication.connectors.base import SourceColumn, SourceTable
from tests.replication.config_files import CONNECTIONS, mistakes, write


def columns(*names: str) -> tuple[CatalogColumn, ...]:
    return tuple(CatalogColumn(name=name, type="INTEGER") for name in names)


CATALOG = Catalog(
    tables={
        "crm_users": CatalogTable(columns=columns("id", "email", "updated_at"), primary_key=("id",)),
        "crm_orders": CatalogTable(
            columns=columns("order_id", "line", "at"), primary_key=("order_id", "line")
        ),
        "crm_log": CatalogTable(columns=columns("id", "text")),
        "other": CatalogTable(columns=columns("id", "Größe", 'quo"te')),
        "_replication_loads": CatalogTable(columns=columns("load_id")),
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_catalog(tmp_path / "replication.catalog.json", CATALOG)
    return tmp_path


def tables(*entries: str, defaults: str = "{}") -> str:
    return (
        CONNECTIONS + f"defaults: {defaults}\ntables:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)
    )


def test_written_and_read_again(folder: Path) -> None:
    path = catalog_path(folder / "replication.yaml")
    assert path == folder / "replication.catalog.json"
    assert read_catalog(path) == CATALOG
    assert [file.name for file in folder.iterdir()] == [path.name]
    write_catalog(path, Catalog(tables={}))
    assert read_catalog(path) == Catalog(tables={})
    assert read_catalog(folder / "none.json") is None


def test_made_of_what_a_source_tells() -> None:
    source = [
        SourceTable("b", (SourceColumn("id", "INTEGER", False), SourceColumn("at", "DATE", True)), ("id",)),
        SourceTable("a", ()),
    ]
    catalog = catalog_of(source)
    assert list(catalog.tables) == ["a", "b"]
    assert catalog.tables["b"].columns[0] == CatalogColumn(name="id", type="INTEGER", nullable=False)
    assert catalog.tables["b"].primary_key == ("id",)


def test_wildcards(folder: Path) -> None:
    text = tables(
        "name: crm_users, mode: merge, primary_key: [email]",
        "name: 'crm_?????*', mode: merge",
        "name: '*', columns: {exclude: [text]}",
    )
    config = load_config(write(folder, text), {})
    assert [(t.name, t.mode, t.primary_key, t.columns.exclude) for t in config.tables] == [
        ("crm_users", "merge", ("email",), ()),
        ("crm_orders", "merge", ("order_id", "line"), ()),
        ("crm_log", "full_refresh", (), ("text",)),
        ("other", "full_refresh", (), ()),
    ]
    assert [config.line_of(table) for table in config.tables] == [6, 7, 8, 8]
    assert str(config.problem(("tables", 2, "name"), "x")) == f"{folder}/replication.yaml:8:6: x"


def test_a_wildcard_is_matched_literally_otherwise(tmp_path: Path) -> None:
    names = ("a.b", "axb", "a[b]", "a+b", "A.B", "a.b\n")
    catalog = Catalog(tables={name: CatalogTable(columns=columns("id")) for name in names})
    write_catalog(tmp_path / "replication.catalog.json", catalog)
    for pattern, matched in (("a.?", ["a.b"]), ("a[b*", ["a[b]"]), ("?.?", ["a.b", "A.B"]), ("a+*", ["a+b"])):
        config = load_config(write(tmp_path, tables(f"name: '{pattern}'")), {})
        assert [table.name for table in config.tables] == matched


def test_what_defaults_say_of_columns_holds_where_there_are_such(folder: Path) -> None:
    text = tables(
        "name: crm_users", "name: crm_log, columns: {exclude: [id]}",
        defaults="{columns: {exclude: [text], mask: {email: hash}}}",
    )  # fmt: skip
    users, log = load_config(write(folder, text), {}).tables
    assert (users.columns.exclude, users.columns.mask) == ((), {"email": "hash"})
    assert (log.columns.exclude, log.columns.mask) == (("id",), {})


BAD = {
    "no match": (
        tables("name: 'erp_*'"),
        ["6:6: no table of the catalog matches 'erp_*'; for new tables run `replicate catalog` again"],
    ),
    "no such table": (
        tables("name: crm_user"),
        [
            "6:6: no table 'crm_user' in the catalog; did you mean 'crm_users'?; if it is new, run `replicate catalog` again"
        ],
    ),
    "columns": (
        tables(
            "name: crm_users, mode: merge, primary_key: [id, e_mail], cursor: updated",
            "name: crm_orders, partition: {by: day, column: date, start: 2024-01-01}",
            "name: crm_log, columns: {include: [ID], rename: {txt: t}, cast: {x: TEXT}}",
        ),
        [
            "6:54: 'e_mail' is not a column of table 'crm_users'; did you mean 'email'?",
            "6:63: 'updated' is not a column of table 'crm_users'; did you mean 'updated_at'?",
            "7:45: 'date' is not a column of table 'crm_orders'; did you mean 'at'?",
            "8:41: 'ID' is not a column of table 'crm_log'; did you mean 'id'?",
            "8:55: column 'txt' is not copied: 'include' doesn't list it",
            "8:55: 'txt' is not a column of table 'crm_log'; did you mean 'text'?",
            "8:71: column 'x' is not copied: 'include' doesn't list it",
            "8:71: 'x' is not a column of table 'crm_log'",
        ],
    ),
    "from a wildcard": (
        tables("name: '*', cursor: updated_at"),
        [
            "6:17: 'updated_at' is not a column of table 'crm_orders'",
            "6:17: 'updated_at' is not a column of table 'crm_log'",
            "6:17: 'updated_at' is not a column of table 'other'",
        ],
    ),
    "a wildcard's column that no table has": (
        tables("name: 'crm_*', columns: {mask: {e_mail: hash}}"),
        ["6:38: none of the tables of 'crm_*' has a column 'e_mail'; did you mean 'email'?"],
    ),
    "from defaults": (
        tables("name: crm_users", "name: other", defaults="{cursor: updated_at}"),
        ["7:5: 'updated_at' is not a column of table 'other' ('cursor' comes from defaults in line 4)"],
    ),
    "nothing left": (
        tables("name: crm_log, columns: {exclude: [id, text]}"),
        ["6:21: no column of table 'crm_log' is left to copy"],
    ),
    "renamed to another": (
        tables("name: crm_users, columns: {rename: {id: email}}"),
        ["6:42: columns 'email' and 'id' would both be called 'email'"],
    ),
    "merge without a key to be found": (
        tables("name: 'crm_*', mode: merge"),
        ["6:21: mode 'merge' needs a primary_key to find a row again (table 'crm_log')"],
    ),
    "one name for all": (
        tables("name: 'crm_*', target: {name: all}"),
        ["6:30: a wildcard's tables can't all have one name: leave out 'name'"],
    ),
    "unknown option of a wildcard": (
        tables("name: 'crm_*', mod: merge"),
        ["6:21: unknown option 'mod'; did you mean 'mode'?"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_the_catalog_says_against_a_file(folder: Path, case: str) -> None:
    text, expected = BAD[case]
    assert mistakes(folder, text) == expected


def test_a_wildcard_without_a_catalog(tmp_path: Path) -> None:
    text = tables("name: 'crm_*', mode: murge", "name: users")
    assert mistakes(tmp_path, text) == [
        "6:6: a wildcard needs the catalog of the source's tables, which isn't there: write it with `replicate catalog`",
        "6:21: 'mode' must be 'full_refresh', 'append', 'merge' or 'history'; did you mean 'merge'?",
    ]
    # which has to load the file, too
    path = write(tmp_path, text.replace("murge", "merge, primary_key: id"))
    assert [table.name for table in load_config(path, {}, use_catalog=False).tables] == ["users"]


@pytest.mark.parametrize("text", ["", "[]", '{"tables": {"a": {}}}', '{"tables": {}, "b": 1}', "\xff"])
def test_a_catalog_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "replication.catalog.json").write_text(text, encoding="latin-1")
    path = write(tmp_path, tables("name: a"))
    with pytest.raises(
        ConfigError, match=r"replication.catalog.json:1:1: not a catalog of tables.*`replicate catalog`"
    ):
        load_config(path, {})


def test_a_column_that_no_table_has_is_a_mistake_of_the_defaults(folder: Path) -> None:
    text = tables("name: crm_users", "name: other", defaults="{columns: {mask: {emial: hash, email: hash}}}")
    assert mistakes(folder, text) == [
        "4:29: none of the tables has a column 'emial'; did you mean 'email'?",
    ]
