"""The control plane's part of a preflight: can every node that may host registry and controllers really do so?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from checkmaite_core.errors import CheckmaiteError
from checkmaite_core.naming import new_probe_token
from checkmaite_core.preflight.capacity import fits
from checkmaite_core.preflight.checks import Check, CheckLevel, Mender
from checkmaite_core.preflight.storage import explain_storage, is_local
from checkmaite_ray.control_plane_look import Findings, Request, look, look_for_others, sees_probe, tidy
from checkmaite_ray.identity import placement
from checkmaite_ray.protocol import PROTOCOL, raise_problem
from checkmaite_ray.settings import LedgerConfig, RayOptions
from checkmaite_ray_simple.resources import autoscaler_runs
from checkmaite_ray_simple.site import gather, names_of, on_node
from checkmaite_ray_simple.site_answers import explained, unanswered

__all__ = ["ControlPlaneCheck"]

_LEAST = 2.0
"""Seconds that each step has at least, however long those before it took."""


@dataclass(frozen=True, slots=True)
class _Host:
    """A node that may host the control plane.

    Attributes:
        node_id: Ray's id of it.
        name: What people call it.
        token: Names the probe that it leaves at the ledger.
    """

    node_id: str
    name: str
    token: str


class ControlPlaneCheck:
    """Looks at every node that may host a scope's registry and controllers.

    Args:
        options: Of the backend.
        ledger: Where the scope's ledger lies.
    """

    def __init__(self, options: RayOptions, ledger: LedgerConfig) -> None:
        self._options = options
        self._ledger = ledger
        self._registry = f"registry and controllers of scope {options.idempotency_scope!r}"
        self._wanted: Mapping[str, float] = placement(options.registry.control_plane_resources)["resources"]

    def run(self, timeout: float) -> list[Check]:
        """Look; what has not answered after ``timeout`` seconds is an error that says so."""
        deadline = time.monotonic() + timeout
        hosts = self._hosts()
        if not hosts:
            return [self._nowhere()]
        found = self._ask(look, hosts, self._requests(hosts), timeout)
        checks = [check for host, said in zip(hosts, found, strict=True) for check in self._judge(host, said)]
        reached = [host for host, said in zip(hosts, found, strict=True) if _has_reached(said)]
        if reached:
            checks.append(self._seen_here(reached[0]))
        if len(reached) > 1:
            checks += self._same_place(reached, max(_LEAST, deadline - time.monotonic()))
        # Not before all have looked: who was late would not find the others' any more.
        left = self._ask(tidy, reached, self._requests(reached), max(_LEAST, deadline - time.monotonic()))
        return checks + [bad for host, said in zip(reached, left, strict=True) for bad in self._unreached(host, said)]

    def _hosts(self) -> list[_Host]:
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        names = names_of(nodes)
        return [
            _Host(node["NodeID"], names[node["NodeID"]], new_probe_token())
            for node in nodes
            if node["Alive"] and fits(node["Resources"], self._wanted)
        ]

    def _requests(self, hosts: Sequence[_Host]) -> list[str]:
        tokens = tuple(host.token for host in hosts)
        return [self._request(host.token, tokens).model_dump_json() for host in hosts]

    def _request(self, token: str, others: tuple[str, ...] = ()) -> Request:
        return Request(
            scope=self._options.idempotency_scope,
            ledger=self._ledger.uri,
            storage_options=self._ledger.storage_options,
            takeover=self._options.takeover,
            token=token,
            others=others,
        )

    @staticmethod
    def _ask(function: Any, hosts: Sequence[_Host], requests: Sequence[str], timeout: float) -> list[Any]:
        """What each host answers: :class:`Findings`, or the :class:`Answer` that says why there are none."""
        tasks = [
            function.options(scheduling_strategy=on_node(host.node_id)).remote(request)
            for host, request in zip(hosts, requests, strict=True)
        ]
        return [
            unanswered(host.node_id, timeout, builds=False)
            if came is None
            else explained(host.node_id, came)
            if isinstance(came, BaseException)
            else Findings.model_validate_json(came)
            for host, came in zip(hosts, gather(tasks, timeout), strict=True)
        ]

    def _judge(self, host: _Host, said: Any) -> list[Check]:
        if not isinstance(said, Findings):
            return self._unreached(host, said)
        if said.not_importable:
            found = f"they cannot be imported: {said.not_importable}"
            remedy = "install checkmaite-ray, at the client's version and with all that it needs, in this node's image"
            return [self._bad(self._registry, host.name, found, "image", remedy)]
        if said.protocol != PROTOCOL:
            older = "image" if said.protocol < PROTOCOL else "client"
            found = f"they speak version {said.protocol} of the protocol, this client version {PROTOCOL}"
            remedy = f"update checkmaite-ray in the {older}"
            return [self._bad(self._registry, host.name, found, "image" if older == "image" else "client", remedy)]
        checks = [self._check(self._registry, host.name, "ok", "they can be imported")]
        if said.unreachable is not None:
            return [*checks, *self._unreached(host, said)]
        checks.append(self._check(self._place, host.name, "ok", "read, written, and a second write was refused"))
        if said.in_use is not None:
            error = _error(said.in_use)
            checks.append(self._bad(self._registry, host.name, error.message, "client", error.hint))
        return checks

    def _unreached(self, host: _Host, said: Any) -> list[Check]:
        """What is wrong where a host did not answer, or could not do to the ledger what it was asked to."""
        if not isinstance(said, Findings):
            return [self._bad(self._registry, host.name, said.problem, said.mender, said.remedy)]
        if said.unreachable is None:
            return []
        trouble = explain_storage(_error(said.unreachable))
        return [self._bad(self._place, host.name, trouble.found, trouble.mender, trouble.remedy)]

    def _same_place(self, hosts: Sequence[_Host], timeout: float) -> list[Check]:
        """Do all hosts see one ledger? A registry that is restarted elsewhere must find its own."""
        found = self._ask(look_for_others, hosts, self._requests(hosts), timeout)
        checks = [bad for host, said in zip(hosts, found, strict=True) for bad in self._unreached(host, said)]
        blind = [
            (host, other)
            for host, said in zip(hosts, found, strict=True)
            for other in hosts
            if isinstance(said, Findings) and other.token in said.missing
        ]
        if blind:
            host, other = blind[0]
            checks.append(
                self._bad(
                    self._place,
                    host.name,
                    f"what {other.name} has written there is not seen here: each node has a place of its own under "
                    "this name, so a registry that is restarted on the other one has forgotten every job",
                    "client",
                    "use a location that all nodes share: an object store, such as s3://bucket/prefix, or a file "
                    "system that is mounted on all of them",
                )
            )
        return checks

    def _seen_here(self, host: _Host) -> Check:
        try:
            seen = sees_probe(self._request(host.token), host.token)
        except CheckmaiteError as error:
            found = f"this client cannot read it, which it needs only for `checkmaite jobs`: {error.message}"
            return self._check(self._place, "client", "note", found)
        if seen:
            return self._check(self._place, "client", "ok", f"this client sees what {host.name} has written there")
        found = f"this client does not see what {host.name} has written there, so `checkmaite jobs` shows nothing of it"
        if is_local(self._ledger.uri):
            found += ", and the history is lost with that node's disk"
        remedy = "use a location that client and cluster share, such as s3://bucket/prefix"
        return self._check(self._place, "client", "warning", found, "client", remedy)

    def _nowhere(self) -> Check:
        wanted = ", ".join(f"{amount:g} {name}" for name, amount in self._wanted.items())
        found = f"no node has {wanted}, so there is none that they can run on"
        remedy = 'start a node that has it, or change registry={"control_plane_resources": {...}}'
        level: CheckLevel = "warning" if autoscaler_runs() else "error"
        return self._check(self._registry, "", level, found, "cluster", remedy)

    @property
    def _place(self) -> str:
        return f"ledger at {self._ledger.uri}"

    def _bad(self, subject: str, node: str, found: str, mender: Mender, remedy: str) -> Check:
        return self._check(subject, node, "error", found, mender, remedy)

    @staticmethod
    def _check(subject: str, node: str, level: CheckLevel, found: str, mender: Mender = "", remedy: str = "") -> Check:
        return Check(
            section="control plane",
            subject=subject,
            level=level,
            node=node,
            found=found,
            mender=mender,
            remedy=remedy,
        )


def _has_reached(said: Any) -> bool:
    return isinstance(said, Findings) and said.protocol == PROTOCOL and said.unreachable is None


def _error(problem: dict[str, Any]) -> CheckmaiteError:
    try:
        raise_problem({"problem": problem})
    except CheckmaiteError as error:
        return error
    raise AssertionError("raise_problem raises what it is given")
