"""Several replication.yaml files in one code location: how they are found, named, and kept apart.

A file stands for itself. A folder stands for the replication files in it and below it, a glob for what it matches;
each of those gets a name, from its path, which its jobs, schedules and the like start with.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import AssetKey, AssetsDefinition, Definitions

from code_location.deployment import Deployment
from code_location.orchestration.build import build_replication_defs
from code_location.orchestration.project import ReplicationProject
from code_location.orchestration.resource import ReplicationResource
from code_location.orchestration.table_data import PROJECT_KEY, TABLE_KEY
from code_location.replication import ConfigError, Table
from code_location.replication.errors import Problem
from code_location.replication.systems import SYSTEMS

_SUFFIXES = (".yaml", ".yml")
_WILDCARD = re.compile(r"[*?\[]")
# what makes a YAML file one of ours, even when it can't be parsed
_OURS = re.compile(r"^(connections|tables)[ \t]*:", re.MULTILINE)


def find_projects(named: str | Path, deployment: Deployment | None = None) -> list[ReplicationProject]:
    """The projects that a file, a folder or a glob stands for, by path.

    In a folder those are all files called replication.yaml or *.replication.yaml, and other .yaml files with
    `connections` or `tables` at the top; hidden files and folders are passed over. Raises ConfigError when
    there are none, or when two would have the same name.
    """
    deployment = deployment or Deployment.from_environment()
    path = Path(named)
    if path.is_dir():
        base, found = path, list(_in_folder(path))
        hint = "a folder's are called replication.yaml, or have `connections` and `tables` at the top"
    elif _WILDCARD.search(str(named)) and not path.exists():
        base, found = _fixed_part(path), list(_matching(str(named)))
        hint = "a glob's end in .yaml or .yml"
    else:
        return [ReplicationProject(path, deployment)]
    if not found:
        raise ConfigError([Problem(str(named), 1, 1, f"there is no replication file here: {hint}")])
    names: dict[str, Path] = {}
    problems = []
    for file in sorted(found):
        name = _name(file.relative_to(base))
        first = names.setdefault(name.lower(), file)
        if first != file:
            message = f"'{name}' would be the name of this project and of {first}: rename one of the files"
            problems.append(Problem(str(file), 1, 1, message))
    if problems:
        raise ConfigError(problems)
    return [
        ReplicationProject(file, deployment, name=_name(file.relative_to(base))) for file in names.values()
    ]


def build_location_defs(
    projects: Sequence[ReplicationProject], resource: ReplicationResource | None = None
) -> Definitions:
    """The definitions of all projects together.

    Raises ConfigError with the problems of every file that is wrong; or, when each is right by itself, where two
    of them make the same asset or write to the same table.
    """
    problems: list[Problem] = []
    for project in projects:
        try:
            _ = project.config
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    if len(projects) > 1 and (problems := list(_shared_targets(projects))):
        raise ConfigError(problems)
    resource = resource or ReplicationResource()
    parts = []
    for project in projects:
        try:
            parts.append(build_replication_defs(project, resource=resource))
        except ConfigError as error:
            problems += error.problems
    problems += _shared_assets(parts) if len(parts) > 1 else []
    if problems:
        raise ConfigError(problems)
    return Definitions.merge(*parts)


def _in_folder(folder: Path) -> Iterator[Path]:
    # links to folders aren't followed: a mounted ConfigMap has each file twice, once below a hidden one
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(where, name)
            if path.suffix not in _SUFFIXES or name.startswith("."):
                continue
            if path.stem == "replication" or path.stem.endswith(".replication") or _is_ours(path):
                yield path


def _is_ours(path: Path) -> bool:
    try:
        return bool(_OURS.search(path.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return False


def _matching(pattern: str) -> Iterator[Path]:
    for name in glob.glob(pattern, recursive=True):
        path = Path(name)
        if path.suffix in _SUFFIXES and path.is_file():
            yield path


def _fixed_part(pattern: Path) -> Path:
    """The folder of a glob that all of its matches are in."""
    parts = []
    for part in pattern.parts[:-1]:
        if _WILDCARD.search(part):
            break
        parts.append(part)
    return Path(*parts)


def _name(path: Path) -> str:
    """`crm.yaml` and `crm/replication.yaml` are `crm`, `sales/crm.replication.yaml` is `sales_crm`."""
    stem = path.stem.removesuffix(".replication")
    parts = path.parts[:-1] if stem == "replication" and len(path.parts) > 1 else (*path.parts[:-1], stem)
    return re.sub(r"\W+", "_", "_".join(parts), flags=re.ASCII)


def _shared_targets(projects: Iterable[ReplicationProject]) -> Iterator[Problem]:
    """Tables of two files that would be written to one table, as far as can be told without connecting."""
    written: dict[tuple[str, str, str], tuple[ReplicationProject, Table]] = {}
    for project in projects:
        destination = project.config.connections.destination
        database = SYSTEMS[destination.type].identity(destination.connection, project.path.parent)
        for table in project.config.tables:
            schema, name = table.target_schema(destination.schema_or_default), table.target_name
            # DuckDB knows one table by any case
            key = (schema, name) if destination.type != "duckdb" else (schema.lower(), name.lower())
            other, first = written.setdefault((database, *key), (project, table))
            if other is not project:
                message = (
                    f"table '{table.name}' would be written to {schema}.{name}, as table '{first.name}' is in "
                    f"{_place(other, first)}: give one another 'target'"
                )
                yield project.config.problem_of(table, "name", message)


def _shared_assets(parts: Iterable[Definitions]) -> Iterator[Problem]:
    """Tables of two files that would be the same asset."""
    taken: dict[AssetKey, tuple[ReplicationProject, str]] = {}
    for defs in parts:
        for key, metadata in _assets(defs):
            project: ReplicationProject = metadata[PROJECT_KEY]
            other, name = taken.setdefault(key, (project, metadata[TABLE_KEY]))
            if other is not project:
                table, first = project.config.table(metadata[TABLE_KEY]), other.config.table(name)
                message = (
                    f"table '{table.name}' would be the asset {key.to_user_string()}, as table '{first.name}' is "
                    f"in {_place(other, first)}: give one another 'asset_key' in its 'meta'"
                )
                yield project.config.problem_of(table, "name", message)


def _assets(defs: Definitions) -> Iterator[tuple[AssetKey, Mapping[str, Any]]]:
    for definition in defs.assets or ():
        if isinstance(definition, AssetsDefinition):
            for key, metadata in definition.metadata_by_key.items():
                if PROJECT_KEY in metadata:
                    yield key, metadata


def _place(project: ReplicationProject, table: Table) -> str:
    return f"{project.path}:{project.config.line_of(table)}"
