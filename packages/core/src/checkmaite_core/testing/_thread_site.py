"""The one node of the backend of threads, as a preflight sees it: this process."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from checkmaite_core.preflight import Answer, Check, Question, SiteNode, answer
from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["ThreadSite"]


class ThreadSite:
    """A site of one node, this process; the smallest complete example of one.

    Args:
        slots: How many CPUs it is said to have.
    """

    kind = "threads"
    address = "this process"
    autoscales = False
    node_maxima: Sequence[Mapping[str, float]] = ()

    def __init__(self, slots: int) -> None:
        self._room = {"CPU": float(slots)}

    def nodes(self) -> list[SiteNode]:
        """The one node."""
        return [SiteNode(node_id="here", name="this-process", resources=self._room, available=self._room, is_head=True)]

    def dumps(self, value: Any) -> bytes:
        """As the backend pickles work."""
        return pickle.dumps(value)

    def ask(self, questions: Sequence[Question], *, timeout: float) -> list[Answer]:
        """Ask all at the same time, in threads, which cannot be ended: what hangs holds this up."""
        with ThreadPoolExecutor(max(1, len(questions))) as threads:
            return list(threads.map(_answered, questions))

    def control_plane(self, store: AnalyticsStoreConfig, *, timeout: float) -> list[Check]:
        """There is none."""
        return []


def _answered(question: Question) -> Answer:
    # The bytes are our own: they were pickled in this process.
    return Answer(node_id=question.node_id, text=answer(question.inquiry, question.payload, pickle.loads))
