"""A cluster for tests of what preflight concludes. What runs on its nodes is what runs on real ones, in this process.

It is a fake, as nodes that differ in versions, disks and GPUs take minutes to make; the tests of the Ray backends have
real ones.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkmaite_core.preflight import Answer, Check, Question, SiteNode, answer
from checkmaite_core.preflight.inquiry import Inquiry, Reply
from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["World", "node"]


def node(name: str, *, head: bool = False, free: Mapping[str, float] | None = None, **resources: float) -> SiteNode:
    """A node; its id is not its name."""
    available = resources if free is None else free
    return SiteNode(node_id=f"id-of-{name}", name=name, resources=resources, available=available, is_head=head)


@dataclass
class World:
    """A site.

    Attributes:
        known: Its nodes.
        versions: What is installed otherwise than here, by node name.
        silent: Names of nodes that do not answer.
        own_disk: Names of nodes on which the store's location is another place.
        asked: The questions so far.
    """

    known: list[SiteNode]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    own_disk: set[str] = field(default_factory=set)
    asked: list[Question] = field(default_factory=list)
    autoscales: bool = False
    node_maxima: Sequence[Mapping[str, float]] = ()
    kind: str = "fake"
    address: str = "the desk"

    def nodes(self) -> list[SiteNode]:
        return self.known

    def dumps(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def ask(self, questions: Sequence[Question], *, timeout: float) -> list[Answer]:
        self.asked += questions
        return [self._answer(question) for question in questions]

    def control_plane(self, store: AnalyticsStoreConfig, *, timeout: float) -> list[Check]:
        return [Check(section="control plane", subject="registry", level="ok", found="imports")]

    def _answer(self, question: Question) -> Answer:
        name = next(each.name for each in self.known if each.node_id == question.node_id)
        if name in self.silent:
            return Answer(
                node_id=question.node_id, problem="no answer within 1 s", mender="cluster", remedy="look at its logs"
            )
        inquiry = question.inquiry
        if name in self.own_disk:
            asked = Inquiry.model_validate_json(inquiry)
            if asked.store is not None:
                elsewhere = asked.store.model_copy(update={"uri": f"{asked.store.uri}-on-{name}"})
                inquiry = asked.model_copy(update={"store": elsewhere}).model_dump_json()
        text = answer(inquiry, question.payload, pickle.loads)
        reply = Reply.model_validate_json(text)
        environments = tuple(
            each.model_copy(update={"versions": {**each.versions, **self.versions.get(name, {})}})
            for each in reply.environments
        )
        return Answer(
            node_id=question.node_id, text=reply.model_copy(update={"environments": environments}).model_dump_json()
        )

    def questions(self, *, about: str) -> list[str]:
        """Ids of the nodes that were asked about ``work``, ``token`` (the store) or ``environments``."""
        return [question.node_id for question in self.asked if json.loads(question.inquiry)[about]]
