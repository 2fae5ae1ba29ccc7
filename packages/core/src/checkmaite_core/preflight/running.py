"""A preflight from beginning to end, on the client."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from checkmaite_core.deployment import Environment, SkewPolicy, needed_for
from checkmaite_core.naming import new_probe_token
from checkmaite_core.preflight.capacity import fits
from checkmaite_core.preflight.checks import Check, CheckLevel, Section
from checkmaite_core.preflight.client_side import client_environments, locations_of, read_back
from checkmaite_core.preflight.conclusions import (
    as_note,
    busy,
    check_sizes,
    check_versions,
    nowhere,
    reply_of,
    unanswered,
    unpicklable,
)
from checkmaite_core.preflight.inquiry import Inquiry, LocationFacts, Reply
from checkmaite_core.preflight.kinds import able, installed_text, kinds_of, summary_of
from checkmaite_core.preflight.report import PreflightReport
from checkmaite_core.preflight.resources import check_resources, distinct
from checkmaite_core.preflight.site import Answer, Question, Site, SiteNode
from checkmaite_core.preflight.storage import is_local, shown
from checkmaite_core.preflight.trials import Trial, facts_of
from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["run_preflight"]

_FIRST, _SECOND = 0.5, 0.8
"""Parts of the time left that describing the nodes may take, and then asking about all else."""
_WITHIN = 0.6
"""Part of that time that inputs and store may take on the worker, whose process has to start first."""
_LEAST = 2.0
"""Seconds that each step has at least, however long those before it took."""


def run_preflight(
    site: Site,
    trials: Sequence[Trial],
    store: AnalyticsStoreConfig,
    *,
    version_skew: SkewPolicy = "error",
    timeout: float = 60.0,
) -> PreflightReport:
    """Look at everything that jobs need, on every kind of node.

    Args:
        site: The cluster.
        trials: The jobs; without any, only cluster and store are looked at.
        store: Where their results go.
        version_skew: What workers do where versions that must match do not.
        timeout: Seconds that it may take, about; what has not answered by then is an error that says so.

    Raises:
        ClusterError: The cluster cannot be asked.
    """
    return _Preflight(site, trials, store, version_skew, timeout).run()


@dataclass
class _Kind:
    """Nodes that are alike.

    Attributes:
        nodes: They; the first is asked for all of them.
        answered: Whether they could be asked at all.
        runs_jobs: Whether one of the jobs can run there.
        takes_code: Whether a worker there would unpickle a job.
    """

    nodes: list[SiteNode]
    answered: bool
    runs_jobs: bool
    takes_code: bool = True


@dataclass
class _Asked:
    """A question, and what its answer is for."""

    question: Question
    node: SiteNode
    section: Section
    subject: str
    token: str | None = None


class _Preflight:
    def __init__(
        self, site: Site, trials: Sequence[Trial], store: AnalyticsStoreConfig, policy: SkewPolicy, timeout: float
    ) -> None:
        self._site, self._trials, self._store, self._policy = site, trials, store, policy
        self._deadline = time.monotonic() + timeout
        self._demands = [trial.demand for trial in trials]
        self._checks: list[Check] = []

    def run(self) -> PreflightReport:
        started = time.monotonic()
        nodes = [node for node in self._site.nodes() if node.alive]
        kinds = self._kinds(nodes)
        stored = self._look(kinds)
        self._checks += self._site.control_plane(self._store, timeout=self._left(1.0))
        self._checks += read_back(self._store, stored, several=len(nodes) > 1)
        self._checks += check_resources(
            distinct([(trial.name, trial.demand) for trial in self._trials]),
            nodes,
            node_maxima=self._site.node_maxima,
            autoscales=self._site.autoscales,
        )
        return PreflightReport(
            backend=self._site.kind,
            address=self._site.address,
            store=shown(self._store.uri),
            nodes=tuple(summary_of(kind.nodes, runs_jobs=kind.runs_jobs) for kind in kinds),
            checks=tuple(self._checks),
            seconds=round(time.monotonic() - started, 3),
            looked=any(kind.answered for kind in kinds),
        )

    def _left(self, part: float) -> float:
        """Seconds for the next step, out of what is left."""
        return max(_LEAST, part * (self._deadline - time.monotonic()))

    def _kinds(self, nodes: Sequence[SiteNode]) -> list[_Kind]:
        """Describe all nodes, group them, and compare what is installed there with the client's."""
        clients = client_environments(self._trials)
        # All that is installed here is compared here; a node need not be told.
        asked = tuple(each.model_copy(update={"distributions": {}, "tools": {}}) for each in clients)
        inquiry = Inquiry(environments=asked).model_dump_json()
        answers = self._site.ask(
            [Question(node_id=node.node_id, inquiry=inquiry) for node in nodes], timeout=self._left(_FIRST)
        )
        replies: dict[str, Reply] = {}
        for node, answer in zip(nodes, answers, strict=True):
            reply = reply_of(answer)
            if isinstance(reply, Answer):
                level: CheckLevel = "error" if able(node, self._demands) else "warning"
                self._add(node, [unanswered(reply, "cluster", "environment", level)])
            else:
                replies[node.node_id] = reply
        texts = {node_id: installed_text(reply.environments) for node_id, reply in replies.items()}
        kinds = []
        for group in kinds_of(nodes, texts):
            described = replies.get(group[0].node_id)
            kind = _Kind(group, answered=described is not None, runs_jobs=able(group[0], self._demands))
            kinds.append(kind)
            if described is not None:
                self._compare(kind, clients, described)
        return kinds

    def _compare(self, kind: _Kind, clients: Sequence[Environment], reply: Reply) -> None:
        self._add(kind.nodes[0], reply.checks)
        if len(reply.environments) != len(clients):
            kind.takes_code = False
            return
        needed = needed_for(self._store) if kind.runs_jobs else ()
        found = check_versions(clients, reply.environments, needed=needed, policy=self._policy)
        if any(check.level == "error" for check in found):
            kind.takes_code = False
        if not kind.runs_jobs:
            found = [as_note(check) for check in found]
        self._add(kind.nodes[0], found)

    def _look(self, kinds: Sequence[_Kind]) -> list[tuple[SiteNode, str]]:
        """Ask about code, inputs and store where jobs can run.

        Returns:
            The nodes that have left a probe in the store, and its token.
        """
        answered = [kind for kind in kinds if kind.answered]
        # Where no node has what the jobs ask for, the others still tell whether all else is in order.
        places = [kind for kind in answered if kind.runs_jobs] or [kind for kind in answered if able(kind.nodes[0], ())]
        if not places:
            self._checks.append(nowhere(bool(self._trials)))
            return []
        locations, troubles = locations_of(self._trials)
        self._checks += troubles
        timeout = self._left(_SECOND)
        asked = [each for kind in places for each in self._surroundings(kind, locations, timeout)]
        asked += self._codes([kind for kind in places if kind.takes_code])
        stored = []
        for each, answer in zip(asked, self._site.ask([one.question for one in asked], timeout=timeout), strict=True):
            reply = reply_of(answer)
            if isinstance(reply, Answer):
                self._add(each.node, [unanswered(reply, each.section, each.subject)])
                continue
            self._add(each.node, reply.checks)
            if reply.stored and each.token is not None:
                stored.append((each.node, each.token))
        return stored

    def _surroundings(self, kind: _Kind, locations: Sequence[LocationFacts], timeout: float) -> Iterator[_Asked]:
        """Inputs and store: from one node of the kind, or from each where a path may mean another disk on each."""
        own_disks = is_local(self._store.uri) or any(is_local(each.location) for each in locations)
        for node in kind.nodes if own_disks else kind.nodes[:1]:
            token = new_probe_token()
            inquiry = Inquiry(
                locations=tuple(locations), store=self._store, token=token, seconds=max(1.0, _WITHIN * timeout)
            )
            question = Question(node_id=node.node_id, inquiry=inquiry.model_dump_json())
            yield _Asked(question, node, "store", shown(self._store.uri), token)

    def _codes(self, kinds: Sequence[_Kind]) -> Iterator[_Asked]:
        """The jobs' code: jobs that differ in nothing but their data are asked about once."""
        known: set[tuple[Any, ...]] = set()
        sized: set[int] = set()
        for trial in self._trials:
            try:
                payload = self._site.dumps(trial.payload)
            except Exception as error:  # pickling runs the user's code: whatever it raises is reported
                self._checks.append(unpicklable(trial, error))
                continue
            self._checks += check_sizes(trial, payload, self._site.dumps, sized)
            if trial.key not in known:
                known.add(trial.key)
                having = [kind for kind in kinds if fits(kind.nodes[0].resources, trial.demand)]
                for kind in having or kinds:
                    yield self._code(trial, kind, payload)

    def _code(self, trial: Trial, kind: _Kind, payload: bytes) -> _Asked:
        gpus = trial.demand.get("GPU", 0.0)
        node = kind.nodes[0]
        if not fits(node.resources, {"GPU": gpus}):
            gpus = 0.0
        if gpus:
            # In a process without GPUs of its own none can be seen, whatever there is.
            free = next((each for each in kind.nodes if fits(each.available, {"GPU": gpus})), None)
            if free is None:
                self._add(node, [busy(trial, gpus)])
                gpus = 0.0
            else:
                node = free
        facts = facts_of(trial, gpus=gpus)
        question = Question(
            node_id=node.node_id,
            inquiry=Inquiry(work=facts).model_dump_json(),
            payload=payload,
            demand={"GPU": gpus} if gpus else {},
        )
        return _Asked(question, node, "code", facts.capability)

    def _add(self, node: SiteNode, checks: Sequence[Check]) -> None:
        self._checks += [check.model_copy(update={"node": node.name}) for check in checks]
