"""From what nodes answer, and what the client knows, to checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from checkmaite_core.deployment import Environment, Finding, Level, SkewPolicy, compare_environments
from checkmaite_core.inputs import InputRef, label
from checkmaite_core.preflight.checks import Check, CheckLevel, Mender, Section
from checkmaite_core.preflight.inquiry import Reply
from checkmaite_core.preflight.site import Answer
from checkmaite_core.preflight.storage import is_local, shown, size_text
from checkmaite_core.preflight.trials import Trial, values_of

__all__ = [
    "as_note",
    "busy",
    "check_sizes",
    "check_versions",
    "elsewhere",
    "nowhere",
    "reply_of",
    "unanswered",
    "unpicklable",
]

_LARGE = 10 * 1024 * 1024
"""Bytes of pickled work above which its travelling with each job is worth a warning."""


def check_versions(
    clients: Sequence[Environment], workers: Sequence[Environment], *, needed: Sequence[str], policy: SkewPolicy
) -> list[Check]:
    """The client's environment against a node's, for each of the jobs' capabilities.

    Args:
        clients: The client's descriptions.
        workers: The node's, alike.
        needed: Distributions that the node must have.
        policy: What workers do where versions that must match do not.
    """
    findings: dict[Finding, None] = {}
    for index, (client, worker) in enumerate(zip(clients, workers, strict=True)):
        # The code itself is compared, whole, where the work is unpickled.
        ours = client.model_copy(update={"code": None})
        findings |= dict.fromkeys(compare_environments(ours, worker, () if index else needed))
    checks = [_version(finding, policy) for finding in findings]
    if any(check.level in ("error", "warning") for check in checks):
        return checks
    shared = {name for each in clients for name in each.versions} & {name for each in workers for name in each.versions}
    found = f"Python and the {len(shared)} distributions that matter on both sides agree"
    return [*checks, Check(section="code", subject="versions", level="ok", found=found)]


def _version(finding: Finding, policy: SkewPolicy) -> Check:
    levels: dict[Level, CheckLevel] = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "note"}
    level = levels[finding.level]
    found = _sides(finding) + finding.reason
    if level == "error" and policy != "error":
        level = "warning"
        found += f' (jobs go on, as version_skew is "{policy}")'
    side, separator, typed = finding.remedy.partition(": ")
    mender: Mender = "client" if side == "client" else "image"
    remedy = f"install the same there:\n{typed}" if separator and side in ("client", "image") else finding.remedy
    if mender == "client":
        remedy = remedy.replace("the same there", "the same here")
    return Check(section="code", subject=finding.distribution, level=level, found=found, mender=mender, remedy=remedy)


def _sides(finding: Finding) -> str:
    if finding.worker == finding.client:  # a line about several distributions at once
        return ""
    there = "not installed there" if finding.worker == "-" else f"{finding.worker} there"
    return f"{there}, {'nothing' if finding.client == '-' else finding.client} here: "


def reply_of(answer: Answer) -> Reply | Answer:
    """What a node has replied; the answer, with its problem, where it has not, or not in words of this version."""
    if answer.text is None:
        return answer
    try:
        return Reply.model_validate_json(answer.text)
    except ValidationError:
        return Answer(
            node_id=answer.node_id,
            problem="it answers in a form that this client does not read: its checkmaite-core is another version",
            mender="image",
            remedy="install one version of checkmaite-core in client and image, from one lock",
        )


def unanswered(answer: Answer, section: Section, subject: str, level: CheckLevel = "error") -> Check:
    """A node that did not answer."""
    return Check(
        section=section,
        subject=subject,
        level=level,
        found=answer.problem or "no answer",
        mender=answer.mender or "cluster",
        remedy=answer.remedy or "look at the node's logs",
    )


def as_note(check: Check) -> Check:
    """A check of a node that none of the jobs can run on: good to know, and nothing that stops them."""
    if check.level in ("ok", "note"):
        return check
    found = f"{check.found} (none of these jobs can run there)"
    return check.model_copy(update={"level": "note", "found": found})


def nowhere(jobs: bool) -> Check:
    """No node is up on which the jobs could run."""
    whose = "these jobs" if jobs else "jobs"
    return Check(
        section="cluster",
        subject="nodes",
        level="warning",
        found=f"none that can run {whose} is up, so code, inputs and store could not be looked at",
        mender="cluster",
        remedy="have one node of the group started (on Kubernetes minReplicas: 1), and run preflight again",
    )


def busy(trial: Trial, gpus: float) -> Check:
    """All GPUs that could be looked at belong to others just now."""
    found = f"not looked at from inside a process: none of {gpus:g} is free now"
    return Check(section="resources", subject=f"GPUs for {trial.name}", level="note", found=found)


def unpicklable(trial: Trial, error: Exception) -> Check:
    """A job that cannot be sent."""
    return Check(
        section="code",
        subject=trial.name,
        level="error",
        node="client",
        found=f"it cannot be sent to a worker: {type(error).__name__}: {error}",
        mender="client",
        remedy="make locks, open files and connections inside run(), and pass data by DatasetRef and ModelRef",
    )


def check_sizes(trial: Trial, payload: bytes, dumps: Callable[[Any], bytes], known: set[int]) -> Iterator[Check]:
    """Warn of what makes a job's payload large; it is stored and sent with each job.

    Args:
        trial: The job.
        payload: It, pickled.
        dumps: Pickles its parts.
        known: The ids of objects that other jobs have too and that have been warned of; added to.
    """
    if len(payload) <= _LARGE:
        return
    rest = len(payload)
    for place, value in values_of(trial.payload.inputs):
        if isinstance(value, InputRef):
            continue
        size = len(dumps(value))
        rest -= size
        if size > _LARGE and id(value) not in known:
            known.add(id(value))
            kind = {"models": "ModelRef", "datasets": "DatasetRef"}.get(place.partition("[")[0], "DatasetRef")
            remedy = (
                "pass it by reference, so that the worker loads it:\n"
                f'{kind}(id={json.dumps(label(value))}, uri="s3://...", loader="package.module:function")'
            )
            yield _large(f"{place} of {trial.name}", f"{size_text(size)} travel with each job", remedy)
    if rest > _LARGE and id(trial.payload.capability) not in known:
        known.add(id(trial.payload.capability))
        remedy = "load what is large inside run(), from a location that the config or a reference names"
        found = f"{size_text(rest)} of capability and config travel with each job"
        yield _large(f"capability of {trial.name}", found, remedy)


def _large(subject: str, found: str, remedy: str) -> Check:
    return Check(section="inputs", subject=subject, level="warning", found=found, mender="client", remedy=remedy)


def elsewhere(uri: str, *, several: bool) -> Check:
    """A worker has written to the store's location, and the client does not find it there.

    Args:
        uri: The location.
        several: Whether the cluster has more than one node.
    """
    if is_local(uri):
        found = "a worker has written there, and the client does not find it: it is another disk than the client's"
        found += ", as each node has its own" if several else ""
        remedy = (
            "take object storage, or a folder that every node and the client mount:\n"
            'analytics_store={"backend": "parquet", "uri": "s3://BUCKET/PREFIX"}'
        )
    else:
        found = "a worker has written there, and the client does not find it: the name leads elsewhere from here"
        remedy = "make endpoint, region and account the same on both sides, in storage_options or by variables"
    return Check(section="store", subject=shown(uri), level="error", found=found, mender="client", remedy=remedy)
