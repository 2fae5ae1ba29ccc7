"""What a preflight looks at on a node that may host the registry and its controllers. It runs there."""

from __future__ import annotations

import importlib
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict, Field

from checkmaite_core.errors import CheckmaiteError
from checkmaite_ledger.probes import has_probe, leave_probe, remove_probe
from checkmaite_ledger.writer import latest_epoch, open_ledger

__all__ = ["Findings", "Request", "look", "look_for_others", "sees_probe", "tidy"]


class Request(BaseModel):
    """What is to be looked at. Travels as JSON.

    Attributes:
        scope: Whose control plane.
        ledger: Where the ledger lies.
        storage_options: How to reach it; never shown.
        takeover: Whether the scope may be taken from another cluster.
        token: Names the probe that this node leaves at the ledger.
        others: Names of the probes that other nodes have left there.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    scope: str
    ledger: str
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False)
    takeover: bool = False
    token: str
    others: tuple[str, ...] = ()


class Findings(BaseModel):
    """What was found on one node. Travels as JSON.

    Attributes:
        protocol: The version of the protocol that a registry would speak there.
        not_importable: Why the registry or a controller cannot be imported; empty if they can.
        unreachable: The error that stands in the way of the ledger (see :func:`checkmaite_ray.protocol.problem`).
        in_use: The error that says who serves the scope, if it is another cluster.
        missing: Those of ``others`` that are not seen there.
    """

    model_config = ConfigDict(frozen=True)

    protocol: int = 0
    not_importable: str = ""
    unreachable: dict[str, Any] | None = None
    in_use: dict[str, Any] | None = None
    missing: tuple[str, ...] = ()


@ray.remote(num_cpus=0, max_retries=0)
def look(request: str) -> str:
    """Look around on this node (:class:`Request` and :class:`Findings` as JSON), and leave a probe at the ledger."""
    try:
        for module in ("registry", "controller"):
            importlib.import_module(f"checkmaite_ray.{module}")
    except Exception as error:  # the boundary: whatever importing them raises is what we are looking for
        return Findings(not_importable=f"{type(error).__name__}: {error}").model_dump_json()
    from checkmaite_ray.protocol import PROTOCOL

    asked = Request.model_validate_json(request)
    return _reaching(asked).model_copy(update={"protocol": PROTOCOL}).model_dump_json()


@ray.remote(num_cpus=0, max_retries=0)
def look_for_others(request: str) -> str:
    """Once all nodes have left theirs, and none has removed it: which probes are not seen from here?"""
    from checkmaite_ray.protocol import problem

    asked = Request.model_validate_json(request)
    try:
        missing = tuple(token for token in asked.others if not sees_probe(asked, token))
    except CheckmaiteError as error:
        return Findings(unreachable=problem(error)).model_dump_json()
    return Findings(missing=missing).model_dump_json()


@ray.remote(num_cpus=0, max_retries=0)
def tidy(request: str) -> str:
    """Remove the probe that this node has left."""
    from checkmaite_ray.protocol import problem

    asked = Request.model_validate_json(request)
    try:
        remove_probe(open_ledger(asked.ledger, asked.storage_options), asked.scope, asked.token)
    except CheckmaiteError as error:
        return Findings(unreachable=problem(error)).model_dump_json()
    return Findings().model_dump_json()


def sees_probe(asked: Request, token: str) -> bool:
    """Whether a probe is there, seen from this process.

    Raises:
        CheckmaiteError: It cannot be told.
    """
    return has_probe(open_ledger(asked.ledger, asked.storage_options), asked.scope, token)


def _reaching(asked: Request) -> Findings:
    """Do to the ledger what a registry does: find out who was there, and prove that its writes are safe."""
    from checkmaite_ray.claiming import elsewhere
    from checkmaite_ray.identity import cluster_identity
    from checkmaite_ray.protocol import problem

    try:
        objects = open_ledger(asked.ledger, asked.storage_options)
        latest = latest_epoch(objects, asked.scope)
        in_use = None if asked.takeover else elsewhere(objects, asked.scope, latest, cluster_identity().cluster_id)
        leave_probe(objects, asked.scope, asked.token)
    except CheckmaiteError as error:
        return Findings(unreachable=problem(error))
    return Findings(in_use=None if in_use is None else problem(in_use))
