"""The survey: whether the nodes of a cluster fit the client, looked at when it connects and when nodes come.

A worker compares by itself before it unpickles a job; this is the early and whole picture.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ray import exceptions as raised

from checkmaite_core.defects import explained
from checkmaite_core.deployment import (
    NodeEnvironment,
    SkewPolicy,
    VersionSkewWarning,
    describe_environment,
    needed_for,
)
from checkmaite_core.notices import warn
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_ray_simple.address import Kind
from checkmaite_ray_simple.connection import Connection
from checkmaite_ray_simple.dispatcher import Dispatcher
from checkmaite_ray_simple.probe import probe
from checkmaite_ray_simple.survey_findings import NodeKind, error_of, kinds_of, text_of
from checkmaite_ray_simple.survey_memory import recall, remember, same_as_the_nodes_own
from checkmaite_ray_simple.survey_nodes import Node, alive_nodes, ask, ask_all, read_answer

__all__ = ["Survey"]

_PATIENCE = 10.0
"""Seconds that connecting waits for the nodes' answers; later ones come as a warning."""
_BUILDING = 60.0
"""The same where each node makes an environment or fetches something first."""
_LOOK = 2.0
"""Seconds between two looks for nodes that have come, while there are jobs, and once after that."""
_SILENT = 120.0
"""Seconds after which a node that has not answered is one that something is wrong with."""


class Survey:
    """What a client knows of the environments of its cluster's nodes.

    Args:
        connection: The cluster.
        store: Where results go; workers need its connector.
        policy: What to do where a node does not fit: ``error`` refuses to connect, ``warn`` says so, ``ignore`` does
            not look.
        overlay: The runtime_env that each job is given (JSON).
        busy: Whether there are jobs that have not ended: then it is looked for nodes that have come.
    """

    def __init__(
        self,
        connection: Connection,
        store: AnalyticsStoreConfig,
        policy: SkewPolicy,
        overlay: str,
        *,
        busy: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._policy = policy
        self._overlay = overlay
        self._plain = same_as_the_nodes_own(json.loads(overlay))
        self._needed = needed_for(store)
        self._busy = busy
        self._known: set[str] = set()
        self._waiting: dict[Node, float] = {}
        self._answers: deque[NodeEnvironment] = deque()
        self._told: set[object] = set()
        self._again = False
        self._stopped = False
        self._dispatcher: Dispatcher | None = None

    def begin(self) -> None:
        """Look at all nodes, and go on looking at those that come later.

        Raises:
            VersionSkewError: A version does not fit somewhere, and the policy is ``error``.
            DeploymentError: Jobs cannot run somewhere for another reason, such as a runtime_env that cannot be set
                up there, and the policy is ``error``.

        Warns:
            VersionSkewWarning: What else differs and may matter.
        """
        own = self._connection.target.kind is Kind.LOCAL and self._connection.owned
        if self._policy == "ignore" or (own and self._plain):
            return  # workers of a Ray that this process has started run in its very environment
        remembered, unknown = self._new_nodes()
        answers, waiting = ask_all(unknown, self._overlay, self._patience)
        self._remember(answers)
        kinds = self._kinds(remembered + answers)
        error = error_of(kinds, str(self._connection.target))
        if error is not None and self._policy == "error":
            raise error
        self._warn(kinds)
        # A thread of its own: a question to a head that has gone blocks.
        self._dispatcher = Dispatcher("checkmaite-survey", lambda: self._connection.alive, self._on_error)
        for node, reference in waiting:
            self._await(node, reference)
        self._dispatcher.call_later(_LOOK, self._look)

    def environments(self) -> list[NodeEnvironment]:
        """What jobs find on each node now.

        Raises:
            ClusterError: The cluster does not answer.
        """
        probe(self._connection.target)  # a call to a cluster that has gone may never return
        answers, waiting = ask_all(alive_nodes(), self._overlay, self._patience)
        late = f"it has not answered within {self._patience:g} s"
        return answers + [NodeEnvironment(node.node_id, node.name, None, late) for node, _ in waiting]

    def tell(self) -> None:
        """Jobs are about to be submitted, or all is over: warn of what was found out since the last time.

        To be called in the thread of the user, who sees it there.
        """
        self._again = True
        answers = []
        while self._answers:  # another thread adds to them
            answers.append(self._answers.popleft())
        self._warn(self._kinds(answers))

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._dispatcher is not None:
            self._dispatcher.stop()

    @property
    def _patience(self) -> float:
        return _PATIENCE if self._plain else _BUILDING

    def _new_nodes(self) -> tuple[list[NodeEnvironment], list[Node]]:
        """Nodes that were not there at the last look: those that another client has asked already, and the others."""
        nodes = [node for node in alive_nodes() if node.node_id not in self._known]
        self._known.update(node.node_id for node in nodes)
        told = recall() if nodes and self._plain else {}
        found = [NodeEnvironment(node.node_id, node.name, told[node.node_id]) for node in nodes if node.node_id in told]
        # One that did not fit then may have been mended.
        found = [one for one in found if not any(kind.bad for kind in self._kinds([one]))]
        remembered = {one.node_id for one in found}
        return found, [node for node in nodes if node.node_id not in remembered]

    def _remember(self, answers: Sequence[NodeEnvironment]) -> None:
        new = {one.node_id: one.environment for one in answers if one.environment is not None and one.problem is None}
        if new and self._plain:
            remember({node_id: told for node_id, told in recall().items() if node_id in self._known} | new)

    def _kinds(self, answers: Sequence[NodeEnvironment]) -> list[NodeKind]:
        return kinds_of(describe_environment(), answers, self._needed) if answers else []

    def _warn(self, kinds: Collection[NodeKind]) -> None:
        new = [kind for kind in kinds if kind.what not in self._told]
        self._told.update(kind.what for kind in new)
        if not new:
            return
        if not any(kind.bad for kind in new):
            advice = "Jobs run there; make client and image from one lock to have the same everywhere."
        elif self._policy == "error":
            advice = (
                "Jobs that come there are refused. Drain such nodes or replace their image, and submit those again."
            )
        else:
            advice = "Jobs that come there may fail. Drain such nodes or replace their image."
        warn(
            f"nodes of the Ray at {self._connection.target} differ from this client's environment:\n"
            f"{text_of(new)}\n  -> {advice}",
            VersionSkewWarning,
            stacklevel=_level_of_the_user(),
        )

    # What follows is run by the dispatcher.

    def _look(self) -> None:
        assert self._dispatcher is not None, "it is this that calls"
        self._dispatcher.call_later(_LOOK, self._look)
        # A node that jobs fail on takes one after the other, so that there may soon be none to look for.
        again, self._again = self._again, False
        if self._busy():
            self._again = True
        elif not again:
            return
        remembered, unknown = self._new_nodes()
        self._answers.extend(remembered)
        for node in unknown:
            self._await(node, ask(node, self._overlay))
        for node, since in list(self._waiting.items()):
            if time.monotonic() - since > _SILENT:
                del self._waiting[node]
                silent = f"no worker of it has answered for {_SILENT:g} s; look at its Ray logs"
                self._answers.append(NodeEnvironment(node.node_id, node.name, None, silent))

    def _await(self, node: Node, reference: Any) -> None:
        def tell(future: Any) -> None:
            error = future.exception()
            assert self._dispatcher is not None, "it is this that asked"
            self._dispatcher.call(self._on_answer, node, None if error else future.result(), error)

        self._waiting[node] = time.monotonic()
        reference.future().add_done_callback(tell)

    def _on_answer(self, node: Node, answer: str | None, error: BaseException | None) -> None:
        self._waiting.pop(node, None)
        found = read_answer(node, self._overlay, answer, error)
        if found is not None:
            self._answers.append(found)
            self._remember([found])

    def _on_error(self, error: Exception, arguments: tuple[Any, ...]) -> None:
        # What it means for jobs that the head does not answer at the moment is not the survey's to say.
        if not self._stopped and not isinstance(error, raised.RayError | ConnectionError):
            found = explained(error, "looking at the environments of the nodes")
            sys.excepthook(type(found), found, found.__traceback__)


def _level_of_the_user() -> int:
    """How many calls above the caller of this the code is that is not ours, as ``stacklevel`` counts them."""
    level, frame = 1, sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith("checkmaite_") and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level
