"""Client and worker are one deployment unit: describe an environment, compare two."""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

from pydantic import BaseModel, ConfigDict, Field

from checkmaite_core.errors import VersionSkewError

__all__ = [
    "Environment",
    "Finding",
    "Level",
    "compare_environments",
    "describe_environment",
    "distribution_of",
    "require_match",
]

_OURS = (
    "checkmaite-core",
    "checkmaite-storage",
    "checkmaite-analytics-store",
    "checkmaite-ledger",
    "checkmaite-ray-simple",
    "checkmaite-ray",
    "checkmaite-capabilities",
)
_SHOULD_MATCH = ("pyarrow", "fsspec", "s3fs", "gcsfs", "adlfs", "numpy", "maite")


class Level(StrEnum):
    """How much a difference matters."""

    ERROR = "error"
    """Jobs would fail, or worse, run something else than was meant."""
    WARNING = "warning"
    """It may matter."""


class Environment(BaseModel):
    """What is installed somewhere.

    Attributes:
        python: Version of the interpreter.
        platform: Operating system and machine.
        versions: Version by distribution, of those that both sides share; what is not installed is left out.
        subject: Distribution that defines the submitted capability, if it is an installed one.
    """

    model_config = ConfigDict(frozen=True)

    python: str
    platform: str
    versions: dict[str, str] = Field(default_factory=dict)
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between two environments.

    Attributes:
        level: How much it matters.
        distribution: What differs.
        client: The client's version.
        worker: The worker's version.
        reason: Why it matters.
    """

    level: Level
    distribution: str
    client: str
    worker: str
    reason: str


def describe_environment(module: str | None = None, *, distribution: str | None = None) -> Environment:
    """Describe this process's environment.

    Args:
        module: Name of the module that defines the capability; the distribution it comes from is included.
        distribution: Name of such a distribution, where it is known already.
    """
    return _described(distribution or (distribution_of(module.partition(".")[0]) if module else None))


@functools.lru_cache(maxsize=64)
def _described(subject: str | None) -> Environment:
    """One object for each subject: many jobs have the same."""
    base = _base_environment()
    if subject is None or subject in base.versions:
        return base.model_copy(update={"subject": subject})
    version = _version(subject)
    versions = base.versions if version is None else {**base.versions, subject: version}
    return base.model_copy(update={"versions": versions, "subject": subject})


@functools.cache
def _base_environment() -> Environment:
    versions = {name: _version(name) for name in (*_OURS, "ray", "pydantic", *_SHOULD_MATCH)}
    return Environment(
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine()}",
        versions={name: version for name, version in versions.items() if version is not None},
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def distribution_of(top_level: str) -> str | None:
    """The distribution that brings a top-level module.

    None for scripts, notebooks, loose files, editable installations (which list no files) and namespaces that
    several distributions share.
    """
    if top_level == "__main__":
        return None  # without a look at all that is installed, which takes a while
    found = set(_packages().get(top_level, []))
    return found.pop() if len(found) == 1 else None


@functools.cache
def _packages() -> dict[str, list[str]]:
    return {name: list(found) for name, found in metadata.packages_distributions().items()}


def compare_environments(client: Environment, worker: Environment) -> list[Finding]:
    """Differences that matter, the worst first.

    Only what both have is compared: a worker may hold less (no command line) or more.
    """
    findings: list[Finding] = []
    if _minor(client.python) != _minor(worker.python):
        reason = "code pickled by one minor version of Python cannot be read by another"
        findings.append(Finding(Level.ERROR, "python", client.python, worker.python, reason))
    for name, ours in client.versions.items():
        theirs = worker.versions.get(name)
        if ours == theirs:
            continue
        if theirs is None:
            # It may come with runtime_env (working_dir or py_modules), which brings code and no metadata; if it does
            # not, unpickling says which module is missing.
            continue
        if name == client.subject and name not in _OURS:
            reason = "it defines the submitted capability"
            findings.append(Finding(Level.ERROR, name, ours, theirs, reason))
        elif name == "ray":
            reason = "Ray needs the same version on both sides"
            findings.append(Finding(Level.ERROR, name, ours, theirs, reason))
        elif name == "pydantic" or name in _OURS:
            if _minor(ours) != _minor(theirs):
                reason = "its values travel between client and worker"
                findings.append(Finding(Level.ERROR, name, ours, theirs, reason))
        else:
            reason = "results could differ from those of a run on the client"
            findings.append(Finding(Level.WARNING, name, ours, theirs, reason))
    return sorted(findings, key=lambda finding: (finding.level is not Level.ERROR, finding.distribution))


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def require_match(client: Environment, worker: Environment) -> None:
    """Refuse to go on where a version that must match does not.

    Raises:
        VersionSkewError: With one line for each difference.
    """
    findings = compare_environments(client, worker)
    if not any(finding.level is Level.ERROR for finding in findings):
        return
    raise VersionSkewError(
        "the worker's environment does not fit the client's:\n" + _table(findings),
        hint="Install client and worker from the same lock. What differs is in the table; 'error' lines must agree.",
    )


def _table(findings: Sequence[Finding]) -> str:
    rows = [("", "distribution", "client", "worker", "why it matters")]
    rows += [(item.level, item.distribution, item.client, item.worker, item.reason) for item in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
