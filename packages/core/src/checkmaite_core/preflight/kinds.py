"""Which nodes are alike, so that it is enough to look at one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from checkmaite_core.deployment import Environment
from checkmaite_core.preflight.capacity import amounts_text, fits
from checkmaite_core.preflight.report import NodeKind
from checkmaite_core.preflight.site import SiteNode

__all__ = ["able", "installed_text", "kinds_of", "summary_of"]

_OWN = ("node:", "object_store_memory")
"""Beginnings of the names of what every node has of its own."""
_GIB = 2**30


def kinds_of(nodes: Sequence[SiteNode], environments: Mapping[str, str]) -> list[list[SiteNode]]:
    """Group nodes that have the same resources, labels and environment; each group's nodes in their order.

    Args:
        nodes: The nodes.
        environments: What is installed on each, as text that is equal for equal environments, by node id.
    """
    found: dict[tuple[object, ...], list[SiteNode]] = {}
    for node in nodes:
        found.setdefault((*_key(node), environments.get(node.node_id, "")), []).append(node)
    return list(found.values())


def _key(node: SiteNode) -> tuple[object, ...]:
    resources = {name: amount for name, amount in node.resources.items() if not name.startswith(_OWN)}
    if "memory" in resources:  # no two machines report the same to the byte
        resources["memory"] = round(resources["memory"] / _GIB)
    return (tuple(sorted(resources.items())), tuple(sorted(node.labels.items())), node.is_head)


def installed_text(environments: Sequence[Environment]) -> str:
    """Text that is equal for nodes where the same is installed."""
    return "".join(each.model_dump_json() for each in environments)


def able(node: SiteNode, demands: Sequence[Mapping[str, float]]) -> bool:
    """Whether one of the jobs can ever run on a node; without jobs, whether any could that asks for a CPU."""
    return any(fits(node.resources, demand) for demand in demands or ({"CPU": 0.0001},))


def summary_of(kind: Sequence[SiteNode], *, runs_jobs: bool) -> NodeKind:
    """A kind of nodes for the report."""
    first = kind[0]
    return NodeKind(
        names=tuple(node.name for node in kind),
        resources=amounts_text({"CPU": 0.0, **first.resources}),
        is_head=first.is_head,
        runs_jobs=runs_jobs,
    )
