"""The connected cluster as a preflight sees it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from checkmaite_core.errors import ClusterUnreachableError
from checkmaite_core.preflight.checks import Check
from checkmaite_core.preflight.site import Answer, Question, SiteNode
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_ray_simple.address import Kind
from checkmaite_ray_simple.connection import Connection
from checkmaite_ray_simple.overlay.masking import secrets_of
from checkmaite_ray_simple.probe import probe
from checkmaite_ray_simple.resources import HEAD, autoscaler_runs, options_of
from checkmaite_ray_simple.settings import RaySimpleOptions
from checkmaite_ray_simple.site_answers import answer_question, explained, unanswered

__all__ = ["RaySite", "gather", "names_of", "on_node"]

_BUILT = ("pip", "uv", "conda", "container", "image_uri")
"""Fields of a runtime_env for which Ray installs or fetches something before a task can start."""
_ID_LABEL = "ray.io/node-id"
"""A label that repeats the node's id, so that no two nodes would be alike."""
_LARGE = 64 * 1024
"""Payloads of this size (bytes) and more go into Ray's object store, and not into each question."""
_FREE_WITHIN = 3.0
"""Seconds for finding out what is free, where that takes a task."""


class RaySite:
    """A Ray cluster that this process is connected to. See :class:`checkmaite_core.preflight.Site`.

    Args:
        kind: The backend's name.
        connection: The connection.
        runtime_env: The overlay of jobs as the user gave it: what it takes to set it up, and what must not be shown.
        overlay: What a task must be given to get that overlay.
        node_maxima: What nodes that may be added have.
        control_plane: ``control_plane(store, timeout)`` looks at the backend's own processes; None if it has none.
    """

    def __init__(
        self,
        kind: str,
        connection: Connection,
        *,
        runtime_env: Mapping[str, Any],
        overlay: Mapping[str, Any],
        node_maxima: Sequence[Mapping[str, float]] = (),
        control_plane: Callable[[AnalyticsStoreConfig, float], list[Check]] | None = None,
    ) -> None:
        self.kind = kind
        self.node_maxima = tuple(node_maxima)
        self._connection = connection
        self._secrets = secrets_of(runtime_env)
        self._builds = any(runtime_env.get(field) for field in _BUILT)
        self._options: dict[str, Any] = {"runtime_env": dict(overlay)}
        self._control_plane = control_plane

    @classmethod
    def of_simple(cls, connection: Connection, options: RaySimpleOptions, overlay: str) -> Self:
        """As the jobs of ray-simple have it: with their overlay (JSON)."""
        return cls(
            "ray-simple",
            connection,
            runtime_env=options.runtime_env,
            overlay=json.loads(overlay),
            node_maxima=options.node_maxima,
        )

    @property
    def address(self) -> str:
        """Where the cluster is, without credentials."""
        return str(self._connection.target)

    @property
    def autoscales(self) -> bool:
        """Whether something may add nodes."""
        return autoscaler_runs()

    def nodes(self) -> list[SiteNode]:
        """All nodes that Ray lists (see :meth:`checkmaite_core.preflight.Site.nodes`)."""
        self._require_cluster()
        found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        free = self._free()
        names = names_of(found)
        return [
            SiteNode(
                node_id=node["NodeID"],
                name=names[node["NodeID"]],
                resources=node["Resources"],
                available=free.get(node["NodeID"], node["Resources"]),
                labels={name: value for name, value in (node.get("Labels") or {}).items() if name != _ID_LABEL},
                is_head=HEAD in node["Resources"],
                alive=node["Alive"],
            )
            for node in found
        ]

    def dumps(self, value: Any) -> bytes:
        """Pickle something as the work of a job is pickled."""
        data: bytes = cloudpickle.dumps(value)  # type: ignore[no-untyped-call]
        return data

    def ask(self, questions: Sequence[Question], *, timeout: float) -> list[Answer]:
        """Ask all questions at the same time, each on its node (see :meth:`checkmaite_core.preflight.Site.ask`)."""
        self._require_cluster()
        # Work that several nodes are asked about is one object, and goes into Ray's object store once.
        payloads = {id(one.payload): one.payload for one in questions}
        sent: dict[int, Any] = {key: ray.put(data) if len(data) >= _LARGE else data for key, data in payloads.items()}
        asked = [self._ask(question, sent[id(question.payload)]) for question in questions]
        try:
            came = iter(gather([one for one in asked if not isinstance(one, Answer)], timeout))
        except ConnectionError as error:  # what a ray:// connection that has ended raises
            raise ClusterUnreachableError(
                f"the connection to the Ray at {self.address} was lost while it was asked: {error}",
                hint="Look whether the cluster is still there, and run the preflight again.",
            ) from error
        return [
            one if isinstance(one, Answer) else self._answer(question.node_id, next(came), timeout)
            for question, one in zip(questions, asked, strict=True)
        ]

    def control_plane(self, store: AnalyticsStoreConfig, *, timeout: float) -> list[Check]:
        """Look at the backend's own processes; nothing for ray-simple, which has none."""
        return [] if self._control_plane is None else self._control_plane(store, timeout)

    def _ask(self, question: Question, payload: Any) -> Any:
        """The reference to the answer; the answer itself if Ray does not take the question."""
        options = {**options_of(question.demand), **self._options, "scheduling_strategy": on_node(question.node_id)}
        try:
            return answer_question.options(**options).remote(question.inquiry, payload)
        except ValueError as error:
            return Answer(
                node_id=question.node_id,
                problem=f"Ray does not take what the job asks for: {error}",
                mender="client",
                remedy="correct resources={...}: amounts in steps of 0.0001, GPUs above 1 in whole numbers",
            )

    def _answer(self, node_id: str, came: Any, timeout: float) -> Answer:
        if came is None:
            return unanswered(node_id, timeout, builds=self._builds)
        return (
            explained(node_id, came, self._secrets)
            if isinstance(came, BaseException)
            else Answer(node_id=node_id, text=came)
        )

    def _free(self) -> dict[str, dict[str, float]]:
        """What is free, by node; empty where that is not found out."""
        if self._connection.target.kind is not Kind.CLIENT:
            return free_resources()
        # A client on ray:// is only told of the cluster as a whole.
        task = _ask_what_is_free.remote()
        try:
            free: dict[str, dict[str, float]] = ray.get(task, timeout=_FREE_WITHIN)
        except ray.exceptions.RayError:  # what stands in its way is what the questions will find, and report
            ray.cancel(task, force=True)
            return {}
        return free

    def _require_cluster(self) -> None:
        """A call to a cluster that has gone may never return.

        Raises:
            ClusterUnreachableError: It has.
        """
        if not self._connection.alive:
            raise ClusterUnreachableError(
                "the Ray of this backend has been shut down in this process, so there is nothing to look at.",
                hint="Shut the backend down too, and call configure_job_backend(...) again.",
            )
        probe(self._connection.target)


def gather(tasks: Sequence[Any], timeout: float) -> list[Any]:
    """What became of Ray tasks, in their order: what each returned or what Ray raised for it.

    Args:
        tasks: References to what they return, which must not be None.
        timeout: Seconds after which what runs is ended; its place holds None.
    """
    done, late = ray.wait(list(tasks), num_returns=len(tasks), timeout=timeout) if tasks else ([], [])
    for task in late:
        ray.cancel(task, force=True)
    ready = set(done)
    return [_outcome(task) if task in ready else None for task in tasks]


def _outcome(task: Any) -> Any:
    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        return error


def on_node(node_id: str) -> NodeAffinitySchedulingStrategy:
    """Have a task run on this node and no other."""
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def names_of(nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What people call nodes, by node id: the name that a node was started with, or its host's.

    Where nodes share it, or one has gone that may have come back under it, a part of the id tells them apart.

    Args:
        nodes: As ``ray.nodes()`` lists them.
    """

    def plain(node: Mapping[str, Any]) -> str:
        name, address = str(node.get("NodeName", "")), str(node["NodeManagerAddress"])
        return name if name and name != address else str(node.get("NodeManagerHostname") or address)

    count = Counter(plain(node) for node in nodes if node["Alive"])
    return {
        node["NodeID"]: plain(node)
        if node["Alive"] and count[plain(node)] == 1
        else f"{plain(node)} ({node['NodeID'][:8]})"
        for node in nodes
    }


def free_resources() -> dict[str, dict[str, float]]:
    """What is free on each node, by node id; asked of the cluster's GCS, so only by its own processes and drivers."""
    from ray._private.state import available_resources_per_node

    free: dict[str, dict[str, float]] = available_resources_per_node()  # type: ignore[no-untyped-call]
    return free


@ray.remote(num_cpus=0, max_retries=0)
def _ask_what_is_free() -> dict[str, dict[str, float]]:
    return free_resources()
