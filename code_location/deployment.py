"""Where this code runs, and what follows from it: local, a branch deployment of Dagster+, or production.

Dagster+ says so through DAGSTER_CLOUD_* variables; elsewhere REPLICATION_DEPLOYMENT does
(`local`, the default, or `production`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from code_location.replication import ReplicationConfig

_MAX_IDENTIFIER = 63


class DeploymentKind(StrEnum):
    """What sets deployments apart: whether they may write to the real schema, and start by themselves."""

    LOCAL = "local"
    BRANCH = "branch"
    PRODUCTION = "production"


@dataclass(frozen=True)
class Deployment:
    """One deployment. `branch` tells branch deployments apart: the pull request's number, or the branch's name."""

    kind: DeploymentKind
    branch: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Deployment:
        """Reads the variables, of os.environ by default. Raises ValueError for an unknown REPLICATION_DEPLOYMENT."""
        env = os.environ if environment is None else environment
        if env.get("DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT") == "1":
            pull_request = env.get("DAGSTER_CLOUD_PULL_REQUEST_ID")
            branch = f"pr_{pull_request}" if pull_request else env.get("DAGSTER_CLOUD_GIT_BRANCH", "")
            return cls(DeploymentKind.BRANCH, branch or env.get("DAGSTER_CLOUD_DEPLOYMENT_NAME", "branch"))
        if env.get("DAGSTER_CLOUD_DEPLOYMENT_NAME"):
            return cls(DeploymentKind.PRODUCTION)
        kind = env.get("REPLICATION_DEPLOYMENT", DeploymentKind.LOCAL)
        if kind not in (DeploymentKind.LOCAL, DeploymentKind.PRODUCTION):
            raise ValueError(f"REPLICATION_DEPLOYMENT is '{kind}'; it must be 'local' or 'production'")
        return cls(DeploymentKind(kind))

    def configured(self, config: ReplicationConfig) -> ReplicationConfig:
        """A replication as this deployment runs it: into its own schemas, and in a branch only samples of tables.

        Whatever counts, compares or copies rows has to use this one, or it would not find the same rows.
        """
        config = config.with_destination_schemas(self.destination_schema)
        return config.with_samples() if self.kind is DeploymentKind.BRANCH else config

    def destination_schema(self, base: str) -> str:
        """The schema to write to: `base`, or for a branch deployment one of its own, at most 63 bytes long.

        The branch's schema has its own ledger, so a branch can neither change production's rows nor its state.
        """
        if self.kind is not DeploymentKind.BRANCH:
            return base
        slug = re.sub(r"[^a-z0-9]+", "_", self.branch.lower()).strip("_") or "branch"
        name = f"{base}__{slug}"
        if slug == self.branch and len(name.encode()) <= _MAX_IDENTIFIER:
            return name
        # two branches whose names differ only in what was cut or replaced must not share a schema
        digest = hashlib.sha256(f"{base}\0{self.branch}".encode()).hexdigest()[:8]
        room = _MAX_IDENTIFIER - len(digest) - 1
        return f"{name.encode()[:room].decode(errors='ignore')}_{digest}"

    @property
    def automation_runs(self) -> bool:
        """Whether schedules and sensors start switched on. An operator can switch them in the UI at any time."""
        return self.kind is DeploymentKind.PRODUCTION
