"""What a job asks for, what the nodes have, and what to say when the two do not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.experimental import internal_kv

from checkmaite_core.errors import ResourceDemandError
from checkmaite_core.preflight.capacity import amounts_text, demand_of, fits
from checkmaite_core.resources import Resources

__all__ = ["HEAD", "Nodes", "autoscaler_runs", "options_of", "task_options"]

HEAD = "node:__internal_head__"
"""What Ray's head node offers one of, whether or not it offers CPUs."""


def task_options(resources: Resources) -> dict[str, Any]:
    """The demand as options of a Ray task."""
    options: dict[str, Any] = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus}
    options |= {"memory": resources.memory, "resources": resources.custom or None}
    return {name: value for name, value in options.items() if value is not None}


def options_of(demand: Mapping[str, float]) -> dict[str, Any]:
    """A demand by Ray's names, as options of a Ray task; no CPU where it names none."""
    custom = {name: amount for name, amount in demand.items() if name not in ("CPU", "GPU", "memory")}
    options: dict[str, Any] = {"num_cpus": demand.get("CPU", 0), "num_gpus": demand.get("GPU", 0)}
    options |= {"memory": demand.get("memory"), "resources": custom or None}
    return {name: value for name, value in options.items() if value is not None}


class Nodes:
    """What the nodes of the connected cluster have in all. Remembers which demands one of them can meet.

    Args:
        maxima: What the nodes have that may yet be added: one mapping for each kind, by Ray's names. Where it is known,
            a demand that none of them meets is refused, autoscaler or not.
    """

    def __init__(self, maxima: Sequence[Mapping[str, float]] = ()) -> None:
        self._maxima = maxima
        self._met: set[tuple[tuple[str, float], ...]] = set()

    def check(self, name: str, resources: Resources, of_which: str = "") -> str | None:
        """Make sure that one node can meet the demand at all.

        Args:
            name: The job's name, for the message.
            resources: Its demand.
            of_which: What the message begins with.

        Returns:
            None if a node can; what the job waits for if none can but one that may be added does.

        Raises:
            ResourceDemandError: No node ever can.
        """
        demand = demand_of(resources)
        key = tuple(sorted(demand.items()))
        if key in self._met:
            return None
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        if any(fits(node, demand) for node in nodes):
            self._met.add(key)
            return None
        have = _listed(nodes)
        if any(fits(kind, demand) for kind in self._maxima):
            return f"no node has {amounts_text(demand)}; waiting for one to be added (the nodes have: {have})"
        if not self._maxima and autoscaler_runs():
            return f"no node has {amounts_text(demand)}; waiting for the autoscaler to add one (the nodes have: {have})"
        may_have = f" Those that may be added have (node_maxima): {_listed(self._maxima)}." if self._maxima else ""
        raise ResourceDemandError(
            f"{of_which}job {name!r} asks for {amounts_text(demand)} on one node, which none can give. "
            f"The nodes have: {have}.{may_have}",
            hint="Ask for less with resources={...}, or add a node that has it"
            + (", and name all that it has in node_maxima, memory (bytes) too." if self._maxima else "."),
        )


def autoscaler_runs() -> bool:
    """Whether something may add nodes to the connected cluster."""
    # The GCS keeps this flag for the second autoscaler (ray/autoscaler/v2/utils.py: is_autoscaler_v2).
    if internal_kv._internal_kv_get(b"__autoscaler_v2_enabled", namespace=b"__autoscaler") == b"1":
        return True
    # The first one's monitor runs on every head and publishes this report. Where it has no autoscaling configuration
    # it only looks on, and calls the type of each node after the node's id (ray/autoscaler/_private/monitor.py and
    # util.py: format_readonly_node_type).
    report = json.loads(internal_kv._internal_kv_get(b"__autoscaling_status") or b"{}")
    types: dict[str, str] = (report.get("autoscaler_report") or {}).get("node_type_mapping") or {}
    return any(kind != f"node_{node}" for node, kind in types.items())


def _listed(nodes: Sequence[Mapping[str, float]]) -> str:
    return "; ".join(amounts_text(node) for node in nodes) or "there are none"
