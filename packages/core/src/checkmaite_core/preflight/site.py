"""What preflight needs of a job backend: its nodes, and a way to ask something on one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from checkmaite_core.preflight.checks import Check, Mender
from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["Answer", "Question", "Site", "SiteNode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNode:
    """One node of the cluster.

    Attributes:
        node_id: The cluster's own id of it.
        name: What people call it: its host name or address. Unique enough to be found again.
        resources: All that it has, by Ray's names: ``CPU``, ``GPU``, ``memory`` (bytes), and the cluster's own.
        available: What of that is free now; equal to ``resources`` where this is not known.
        labels: Its labels.
        is_head: Whether it is the cluster's head.
        alive: Whether it is up.
    """

    node_id: str
    name: str
    resources: Mapping[str, float]
    available: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    is_head: bool = False
    alive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something to be found out on one node, by :func:`checkmaite_core.preflight.answer`.

    Attributes:
        node_id: Where.
        inquiry: The first argument of ``answer``: JSON text. It may hold the store's options, which may be secrets.
        payload: The second one: the pickled work, as a job would get it; empty if there is none. Questions about
            one work share one object.
        demand: What the asking process reserves, by Ray's names: nothing (and no CPU) where it is empty. It is no
            more than the node has free, as far as is known.
    """

    node_id: str
    inquiry: str
    payload: bytes = b""
    demand: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a question: either a text or a problem.

    Attributes:
        node_id: Where it was asked.
        text: What ``answer`` returned, or None.
        problem: Why there is no text, in a sentence: no answer in time, the overlay could not be set up, the node
            or the process died, ``checkmaite-core`` is not installed there.
        mender: Who mends the problem.
        remedy: What to do about it, or to type.
    """

    node_id: str
    text: str | None = None
    problem: str | None = None
    mender: Mender = ""
    remedy: str = ""


class Site(Protocol):
    """A cluster as preflight sees it. Nothing that preflight does leaves anything behind on it."""

    @property
    def kind(self) -> str:
        """The backend's name, such as ``ray-simple``."""
        ...

    @property
    def address(self) -> str:
        """Where the cluster is, for people; without credentials."""
        ...

    @property
    def autoscales(self) -> bool:
        """Whether the cluster says that it can add nodes."""
        ...

    @property
    def node_maxima(self) -> Sequence[Mapping[str, float]]:
        """What nodes that may be added have, by Ray's names; from the backend's options."""
        ...

    def nodes(self) -> list[SiteNode]:
        """All nodes that the cluster knows, the dead ones included if it still lists them.

        Raises:
            ClusterError: The cluster cannot be asked.
        """
        ...

    def dumps(self, value: Any) -> bytes:
        """Pickle something as the backend pickles the work of a job. Raises what pickling raises."""
        ...

    def ask(self, questions: Sequence[Question], *, timeout: float) -> list[Answer]:
        """Ask all questions at the same time, each on its node, in the environment (overlay) that jobs get there.

        On the node it runs ``checkmaite_core.preflight.answer(question.inquiry, question.payload, loads)`` in a
        worker process, with ``loads`` the reverse of :meth:`dumps`.

        Args:
            questions: What to ask, where.
            timeout: Seconds after which whatever has no answer gets a problem that says so; it is ended.

        Returns:
            One answer for each question, in their order. What goes wrong with one is its problem, never an exception.

        Raises:
            ClusterError: The cluster as a whole cannot be asked.
        """
        ...

    def control_plane(self, store: AnalyticsStoreConfig, *, timeout: float) -> list[Check]:
        """Look at the backend's own processes, on every node that may host them; empty if it has none.

        Args:
            store: Where results go.
            timeout: Seconds after which what has not answered is an error that says so.
        """
        ...
