"""The checks of what jobs ask for against what the nodes have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from checkmaite_core.preflight.capacity import amounts_text, at_once, fits, how_many
from checkmaite_core.preflight.checks import Check
from checkmaite_core.preflight.site import SiteNode

__all__ = ["Wanted", "check_resources", "distinct"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A demand that one or more of the jobs have.

    Attributes:
        job: Name of the first of them.
        demand: What each asks for, by Ray's names.
        count: How many have it.
    """

    job: str
    demand: Mapping[str, float]
    count: int = 1

    @property
    def subject(self) -> str:
        """The jobs, for people."""
        return self.job if self.count == 1 else f"{self.job} and {self.count - 1} more like it"


def distinct(jobs: Sequence[tuple[str, Mapping[str, float]]]) -> list[Wanted]:
    """The different demands among jobs, given as name and demand, in the order of their first job."""
    found: dict[tuple[tuple[str, float], ...], Wanted] = {}
    for name, demand in jobs:
        key = tuple(sorted(demand.items()))
        known = found.get(key)
        found[key] = Wanted(name, demand) if known is None else replace(known, count=known.count + 1)
    return list(found.values())


def check_resources(
    wanted: Sequence[Wanted],
    nodes: Sequence[SiteNode],
    *,
    node_maxima: Sequence[Mapping[str, float]] = (),
    autoscales: bool = False,
) -> list[Check]:
    """Whether each demand can be met, now or ever, and how many jobs run at the same time.

    Args:
        wanted: The different demands.
        nodes: The nodes that are alive.
        node_maxima: What nodes that may be added have.
        autoscales: Whether the cluster can add nodes of which it is not known what they have.
    """
    checks = [_check(each, nodes, node_maxima, autoscales) for each in wanted]
    fitting = [each for each in wanted if any(fits(node.resources, each.demand) for node in nodes)]
    return [*checks, _mix(fitting, nodes)] if len(fitting) > 1 else checks


def _check(
    wanted: Wanted, nodes: Sequence[SiteNode], node_maxima: Sequence[Mapping[str, float]], autoscales: bool
) -> Check:
    demand = wanted.demand
    asks = f"asks for {amounts_text(demand)} on one node"
    subject = wanted.subject
    able = [node for node in nodes if fits(node.resources, demand)]
    if able:
        return _room(wanted, able, nodes)
    have = _shortage(demand, [node.resources for node in nodes])
    if any(fits(room, demand) for room in node_maxima):
        found = f"{asks}: {have}; a node that may be added has it, so the job waits for one"
        return Check(section="resources", subject=subject, level="note", found=found)
    as_option = json.dumps([{name: _number(amount) for name, amount in demand.items()}])
    if autoscales and not node_maxima:
        return Check(
            section="resources",
            subject=subject,
            level="warning",
            found=f"{asks}: {have}. The cluster can add nodes, but does not say what those have",
            mender="client",
            remedy=f"say what the largest ones have, at least, so that this can be told:\nnode_maxima={as_option}",
        )
    too = " nor has one that may be added (node_maxima)" if node_maxima else ""
    return Check(
        section="resources",
        subject=subject,
        level="error",
        found=f"{asks}: {have}{too}. The job would never start",
        mender="cluster",
        remedy="add a node that has it, or ask for less with resources={...}. "
        f"If an autoscaler adds such nodes:\nnode_maxima={as_option}",
    )


def _room(wanted: Wanted, able: Sequence[SiteNode], nodes: Sequence[SiteNode]) -> Check:
    demand = wanted.demand
    where = f"on {len(able)} of {len(nodes)} nodes" if len(nodes) > 1 else "on the only node"
    ever = [how_many(node.resources, demand) for node in able]
    now = [how_many(node.available, demand) for node in able]
    text = f"{amounts_text(demand)}: fits {where}"
    if None in ever:
        return Check(section="resources", subject=wanted.subject, level="ok", found=text)
    total, free = sum(count or 0 for count in ever), sum(count or 0 for count in now)
    text += f", {_times(total)} when idle"
    if free == 0:
        found = f"{text}; nothing of it is free now, so the job waits for others to end"
        return Check(section="resources", subject=wanted.subject, level="note", found=found)
    return Check(section="resources", subject=wanted.subject, level="ok", found=f"{text}, {_times(free)} now")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _mix(wanted: Sequence[Wanted], nodes: Sequence[SiteNode]) -> Check:
    demands = [(each.demand, each.count) for each in wanted]
    total = sum(each.count for each in wanted)
    idle = sum(at_once([node.resources for node in nodes], demands))
    now = sum(at_once([node.available for node in nodes], demands))
    waits = "" if now == total else "; the others wait for their turn"
    found = f"placed largest first, {idle} of them fit at the same time when the nodes are idle, {now} now{waits}"
    subject = f"the {total} jobs that fit, together"
    return Check(section="resources", subject=subject, level="ok" if now else "note", found=found)


def _shortage(demand: Mapping[str, float], rooms: Sequence[Mapping[str, float]]) -> str:
    """What no node has, with the most that one has."""
    if not rooms:
        return "there is no node"
    most = {name: max(room.get(name, 0.0) for room in rooms) for name in demand}
    short = {name: most[name] for name, amount in demand.items() if not fits(most, {name: amount})}
    if not short:
        return "no node has all of that together"
    return f"no node has more than {amounts_text(short)}"


def _number(amount: float) -> float | int:
    return int(amount) if amount == int(amount) else amount
