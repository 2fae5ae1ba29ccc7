"""What was found out about nodes, put together: one table for each kind of node. No Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checkmaite_core.deployment import (
    Environment,
    Finding,
    Level,
    NodeEnvironment,
    compare_environments,
    findings_table,
)
from checkmaite_core.errors import DeploymentError, VersionSkewError

__all__ = ["NodeKind", "error_of", "kinds_of", "text_of"]

_SHOWN = 3
"""Nodes of a kind that are named."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Nodes that are alike: the same differs from the client.

    Attributes:
        findings: What differs, the worst first; notes left out.
        problem: Why jobs cannot run there, or why that could not be told; None otherwise.
        nodes: Which nodes, as people know them.
    """

    findings: tuple[Finding, ...]
    problem: str | None
    nodes: tuple[str, ...]

    @property
    def bad(self) -> bool:
        """Whether jobs fail there, as far as is known."""
        return self.problem is not None or any(finding.level is Level.ERROR for finding in self.findings)

    @property
    def skewed(self) -> bool:
        """Whether that is because of a version."""
        return any(finding.level is Level.ERROR for finding in self.findings)

    @property
    def what(self) -> tuple[tuple[Finding, ...], str | None]:
        """What makes it a kind of its own."""
        return self.findings, self.problem


def kinds_of(client: Environment, nodes: Sequence[NodeEnvironment], needed: Sequence[str]) -> list[NodeKind]:
    """The kinds of nodes about which there is something to say, the worst first.

    Args:
        client: The client's environment.
        nodes: Those of nodes.
        needed: Distributions that workers must have.
    """
    found: dict[tuple[tuple[Finding, ...], str | None], list[str]] = {}
    for node in nodes:
        compared = [] if node.environment is None else compare_environments(client, node.environment, needed)
        telling = tuple(finding for finding in compared if finding.level is not Level.NOTE)
        if telling or node.problem is not None:
            found.setdefault((telling, node.problem), []).append(node.name)
    kinds = [NodeKind(findings, problem, tuple(names)) for (findings, problem), names in found.items()]
    return sorted(kinds, key=lambda kind: (not kind.skewed, not kind.bad))


def text_of(kinds: Sequence[NodeKind]) -> str:
    """For each kind a line with its nodes, and its table."""
    return "\n".join(_text(kind) for kind in kinds)


def _text(kind: NodeKind) -> str:
    shown = ", ".join(kind.nodes[:_SHOWN])
    more = f" and {len(kind.nodes) - _SHOWN} more" if len(kind.nodes) > _SHOWN else ""
    parts = [f"{'nodes' if len(kind.nodes) > 1 else 'node'} {shown}{more}:"]
    if kind.problem is not None:
        parts.append("  " + kind.problem.replace("\n", "\n  "))
    if kind.findings:
        parts.append(findings_table(kind.findings))
    return "\n".join(parts)


def error_of(kinds: Sequence[NodeKind], place: str) -> DeploymentError | None:
    """What to raise because of them; None if jobs can run on all.

    Args:
        kinds: What :func:`kinds_of` has found.
        place: Which cluster, for the message.
    """
    bad = [kind for kind in kinds if kind.bad]
    if not bad:
        return None
    count = sum(len(kind.nodes) for kind in bad)
    of_it = f"{count} node{'s' if count > 1 else ''} of the Ray at {place}"
    if bad[0].skewed:
        return VersionSkewError(
            f"{of_it} do{'es' if count == 1 else ''} not fit this client's environment:\n{text_of(bad)}",
            hint="Install client and worker image from the same lock; lines with 'error' must agree. To connect in "
            'spite of them: version_skew="warn".',
        )
    return DeploymentError(
        f"{of_it} cannot run this client's jobs:\n{text_of(bad)}",
        hint="Correct runtime_env or the nodes' image, as is said above. To connect all the same: "
        'version_skew="warn"; jobs that come to such a node fail.',
    )
