"""Asking single nodes of the connected cluster what jobs would find there."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions as raised

from checkmaite_core.deployment import Environment, NodeEnvironment
from checkmaite_ray_simple.failures import first_line
from checkmaite_ray_simple.overlay.masking import secrets_of
from checkmaite_ray_simple.overlay.setup_failures import explain_setup
from checkmaite_ray_simple.overlay.uploading import in_overlay
from checkmaite_ray_simple.site import names_of, on_node

__all__ = ["Node", "alive_nodes", "ask", "ask_all", "read_answer"]

_GONE = (raised.TaskUnschedulableError, raised.NodeDiedError, raised.LocalRayletDiedError)
_TRIES_MORE = 2
"""How often a question is asked again whose worker was lost, such as for memory."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Attributes:
        node_id: Ray's id of it.
        name: What people call it.
    """

    node_id: str
    name: str


def alive_nodes() -> list[Node]:
    """The nodes that the cluster has now. Blocks, for milliseconds unless the head has gone."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    names = names_of(nodes)
    return [Node(node["NodeID"], names[node["NodeID"]]) for node in nodes if node["Alive"]]


@functools.cache
def _question() -> Any:
    """The Ray task that describes where it runs."""

    # A function in a function travels by its code, so that it also runs where our packages are missing or old, which
    # is what it is to find out. It must use nothing but the standard library unguarded.
    def describe() -> str:
        import json
        import platform
        import re
        import sys
        import traceback
        from importlib import metadata

        problem = None
        try:
            # What each job needs first.
            import checkmaite_ray_simple.worker  # noqa: F401
        except Exception as error:  # an import runs foreign code: whatever it is, it is what stands in the way
            problem = f"checkmaite_ray_simple.worker cannot be imported: {type(error).__name__}: {error}"
        try:
            from checkmaite_core.deployment import describe_environment

            found = json.loads(describe_environment(whole=True).model_dump_json())
        except Exception as error:  # of another version, or not there: then we tell what all versions of Python can
            if problem is None and not isinstance(error, ImportError | AttributeError | TypeError):
                trace = traceback.format_exc()
                problem = f"describing it has raised {type(error).__name__}: {error}, a defect of checkmaite:\n{trace}"
            versions: dict[str, str] = {}
            for one in metadata.distributions():
                name = re.sub(r"[-_.]+", "-", one.metadata["Name"] or "").lower()
                versions.setdefault(name, one.version)  # of two with one name the first on the path counts
            found = {"python": platform.python_version(), "platform": f"{sys.platform}-{platform.machine()}"}
            found |= {"versions": versions, "distributions": versions}
        return json.dumps({"environment": found, "problem": problem})

    # No CPU: it must neither wait for jobs nor be impossible on a head without any.
    return ray.remote(num_cpus=0, max_retries=_TRIES_MORE)(describe)


def ask(node: Node, overlay: str) -> Any:
    """Have a worker on one node describe itself; returns the Ray reference to what :func:`read_answer` reads.

    Args:
        node: Where.
        overlay: The jobs' runtime_env (JSON).
    """
    return in_overlay(_question(), overlay, scheduling_strategy=on_node(node.node_id)).remote()


def ask_all(
    nodes: Sequence[Node], overlay: str, patience: float
) -> tuple[list[NodeEnvironment], list[tuple[Node, Any]]]:
    """Ask nodes at the same time.

    Args:
        nodes: Which.
        overlay: As for :func:`ask`.
        patience: Seconds that it may take.

    Returns:
        What was answered, without nodes that have gone meanwhile; and which have not answered yet, with their
        references.
    """
    asked = {ask(node, overlay): node for node in nodes}
    if not asked:
        return [], []
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=patience)
    found = [_answer_of(asked[reference], overlay, reference) for reference in ready]
    return [one for one in found if one is not None], [(asked[reference], reference) for reference in late]


def _answer_of(node: Node, overlay: str, reference: Any) -> NodeEnvironment | None:
    """What a node has answered; None if it has gone."""
    try:
        return read_answer(node, overlay, ray.get(reference), None)
    except raised.RayError as error:
        return read_answer(node, overlay, None, error)


def read_answer(node: Node, overlay: str, answer: str | None, error: BaseException | None) -> NodeEnvironment | None:
    """What a node has answered, or Ray has raised instead; None if the node has gone."""
    if answer is not None:
        said = json.loads(answer)
        environment = Environment.model_validate(said["environment"])
        problem = said["problem"]
        if problem is not None:
            problem = f"no job can start there, for {problem}"
        return NodeEnvironment(node.node_id, node.name, environment, problem)
    if isinstance(error, _GONE):
        return None
    if isinstance(error, raised.RuntimeEnvSetupError):
        failure = explain_setup(str(error), secrets_of(json.loads(overlay)))
        problem = f"runtime_env cannot be set up there: {failure.reason}\n{failure.remedy}"
    else:
        what = "Ray does not say why" if error is None else first_line(error)
        problem = f"no worker of it could say what it has: {what}"
    return NodeEnvironment(node.node_id, node.name, None, problem)
