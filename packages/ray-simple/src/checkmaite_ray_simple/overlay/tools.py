"""What Ray needs on a node to make an environment there: found out before it tries."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from checkmaite_core.deployment import SkewPolicy
from checkmaite_core.errors import DeploymentError
from checkmaite_core.notices import warn
from checkmaite_ray_simple.overlay.fields import OverlayWarning

__all__ = ["lacking", "require_tools"]

_PATIENCE = 30.0
"""Seconds that the nodes have for their answers; one that says nothing is left to those who ask it more."""
_NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    # Of each group one is enough: Ray installs uv by pip where it is missing.
    "pip": (("virtualenv",), ("pip",)),
    "uv": (("virtualenv",), ("uv", "pip")),
}


def lacking(field: str, present: Mapping[str, bool]) -> list[str]:
    """What a node lacks for a field of a ``runtime_env``.

    Args:
        field: ``pip`` or ``uv``.
        present: Whether each of ``virtualenv``, ``pip`` and ``uv`` can be imported there.
    """
    return [" or ".join(group) for group in _NEEDED.get(field, ()) if not any(present[name] for name in group)]


def require_tools(runtime_env: Mapping[str, Any], *, policy: SkewPolicy) -> None:
    """Make sure that all nodes can make the environment that an overlay asks for. Blocks, until they say so.

    Args:
        runtime_env: The overlay. Without ``pip`` and ``uv`` nothing is asked.
        policy: ``error`` refuses, ``warn`` says so and goes on, ``ignore`` does not ask.

    Raises:
        DeploymentError: A node cannot, and the policy is ``error``; it is named, and what it lacks.

    Warns:
        OverlayWarning: A node cannot, and the policy is ``warn``.
    """
    field = next((name for name in _NEEDED if runtime_env.get(name)), None)
    if field is None or policy == "ignore":
        return
    lines = []
    for node, present in _ask_nodes().items():
        if missing := lacking(field, present):
            lines.append(f"\n  {node} has no {' and no '.join(missing)}")
    if not lines:
        return
    message = f"runtime_env has {field!r}, for which Ray needs more than there is in the environment of"
    error = DeploymentError(
        f"{message}{''.join(lines)}",
        hint="Install it in the image of the nodes, from the lock (`pip install virtualenv pip`; environments made by "
        "uv have neither). Without it, single packages can be sent as wheels with runtime_env={'py_modules': [...]}.",
    )
    if policy == "error":
        raise error
    warn(str(error), OverlayWarning, stacklevel=4)


def _ask_nodes() -> dict[str, Mapping[str, bool]]:
    """What of the tools can be imported, by node, of those that answer."""
    asked = {}
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for node in nodes:
        if node["Alive"]:
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
            asked[_question().options(scheduling_strategy=strategy).remote()] = name
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=_PATIENCE) if asked else ([], [])
    for task in late:
        ray.cancel(task, force=True)
    found = {}
    for task in ready:
        try:
            found[asked[task]] = ray.get(task)
        except ray.exceptions.RayError:  # the node has gone, or starts nothing: not a question of tools
            continue
    return found


@functools.cache
def _question() -> Any:
    # A function in a function travels by its code, so it also runs where this package is missing.
    def present() -> dict[str, bool]:
        from importlib.util import find_spec

        return {name: find_spec(name) is not None for name in ("pip", "uv", "virtualenv")}

    return ray.remote(num_cpus=0, max_retries=0)(present)
