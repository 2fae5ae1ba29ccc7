"""What ``checkmaite deployment`` and ``python -m checkmaite_core.deployment`` say, and their exit status."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from pydantic import ValidationError

from checkmaite_core.deployment.comparison import compare_environments
from checkmaite_core.deployment.environment import Environment, NodeEnvironment, describe_environment
from checkmaite_core.deployment.finding import Finding, Level
from checkmaite_core.deployment.stamp import Stamp
from checkmaite_core.deployment.table import findings_table
from checkmaite_core.errors import DeploymentError

__all__ = ["Status", "difference", "file_difference", "node_differences", "read_description", "summary", "written"]

_TOOLS = ("pip", "virtualenv", "uv", "conda", "podman")


class Status(IntEnum):
    """The exit status of a comparison."""

    SAME = 0
    """They are the same, notes aside."""
    DIFFERENT = 1
    """There are errors or warnings."""
    UNKNOWN = 2
    """It could not be told."""


def summary(environment: Environment) -> str:
    """A whole description, for people."""
    missing = "none; write it with: python -m checkmaite_core.deployment stamp --lock FILE"
    tools = [f"{name} {environment.tools.get(name, '-')}" for name in _TOOLS]
    rows = [
        ("python", environment.python),
        ("platform", environment.platform),
        ("lock", environment.lock or missing),
        *environment.versions.items(),
        ("for overlays", ", ".join(tools)),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {value}" for name, value in rows]
    return "\n".join([*lines, f"{len(environment.distributions)} distributions; --json lists all of them"])


def written(stamp: Stamp, prefix: Path | None = None) -> str:
    """Says that a stamp was written, and where."""
    return f"{prefix or sys.prefix} is stamped with {stamp.lock}, {stamp.digest}"


def read_description(path: str) -> Environment:
    """Read what ``show --json`` has written.

    Args:
        path: The file; ``-`` is the standard input.

    Raises:
        DeploymentError: It cannot be read, or is something else.
    """
    hint = "Pass what this writes there: python -m checkmaite_core.deployment show --json"
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return Environment.model_validate_json(content)
    except OSError as error:
        raise DeploymentError(f"{path} cannot be read: {error.strerror}.", hint=hint) from error
    except ValidationError as error:
        raise DeploymentError(f"{path} does not describe an environment.", hint=hint) from error


def difference(client: Environment, worker: Environment, *, name: str = "worker") -> tuple[str, Status]:
    """What differs between two environments, for people.

    Args:
        client: The client's.
        worker: The worker's.
        name: What the worker is called.
    """
    findings = compare_environments(client, worker)
    if not findings:
        return "They are the same in all that matters.", Status.SAME
    return f"{_counted(findings)}:\n{findings_table(findings, worker=name)}", _status(findings)


def file_difference(files: Sequence[str]) -> tuple[str, Status]:
    """What differs between the environments that files describe, for people.

    Args:
        files: The client's and the worker's (see :func:`read_description`); of one alone, it is the worker's, and the
            client's is that of this process.

    Raises:
        DeploymentError: One cannot be read.
    """
    *clients, worker = files
    client = read_description(clients[0]) if clients else describe_environment(whole=True)
    return difference(client, read_description(worker), name="worker" if worker == "-" else Path(worker).stem)


def node_differences(
    client: Environment, nodes: Sequence[NodeEnvironment], *, needed: Sequence[str] = ()
) -> tuple[str, Status]:
    """What differs between a client and the nodes of a cluster, for people: one table for nodes that are alike.

    Args:
        client: The client's environment.
        nodes: The nodes.
        needed: Distributions that every node must have.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    statuses = {Status.UNKNOWN} if not nodes else set()
    for node in nodes:
        if node.environment is None:
            key, status = (f"could not be looked at: {node.problem}", ""), Status.UNKNOWN
        else:
            findings = compare_environments(client, node.environment, needed)
            status = _status(findings)
            key = (_counted(findings), ":\n" + findings_table(findings) if findings else "")
        statuses.add(status)
        alike.setdefault(key, []).append(node.name)
    parts = [f"{', '.join(names)}: {what}{table}" for (what, table), names in alike.items()]
    worst = [status for status in (Status.DIFFERENT, Status.UNKNOWN) if status in statuses]
    return "\n".join(parts) or "The backend has no nodes to compare with.", worst[0] if worst else Status.SAME


def _status(findings: Sequence[Finding]) -> Status:
    return Status.DIFFERENT if any(item.level is not Level.NOTE for item in findings) else Status.SAME


def _counted(findings: Sequence[Finding]) -> str:
    count = Counter(item.level for item in findings)
    said = [f"{count[level]} {level.value}{'s' if count[level] > 1 else ''}" for level in Level if count[level]]
    return ", ".join(said) or "the same in all that matters"
