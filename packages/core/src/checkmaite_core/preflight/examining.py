"""What a node finds when a preflight asks it something."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from checkmaite_core.deployment import Environment, describe_alike, describe_environment
from checkmaite_core.errors import DeploymentError
from checkmaite_core.preflight.checks import Check, Section
from checkmaite_core.preflight.code_checks import check_work
from checkmaite_core.preflight.gpus import judge_gpus, look_for_gpus
from checkmaite_core.preflight.inquiry import Inquiry, Reply
from checkmaite_core.preflight.locations import check_location
from checkmaite_core.preflight.storage import explain_store, shown, size_text
from checkmaite_core.store import AnalyticsStoreConfig, open_result_store

__all__ = ["examine"]

_AT_ONCE = 8
_LITTLE_DISK = 10**9
"""Bytes of temporary space below which a job's own files, and Ray's, may not find room."""


def examine(inquiry: str, payload: bytes, loads: Callable[[bytes], Any]) -> str:
    """Answer a question; see :func:`checkmaite_core.preflight.answer`."""
    try:
        asked = Inquiry.model_validate_json(inquiry)
    except ValidationError:
        return Reply(checks=(_not_understood(),)).model_dump_json()
    checks, stored = _surroundings(asked)
    try:
        environments = _environments(asked.environments)
    except DeploymentError as error:
        environments = ()
        checks.append(_undescribed(error))
    if asked.work is not None:
        checks += check_work(asked.work, payload, loads)
        if asked.work.gpus:
            checks.append(judge_gpus(asked.work.job, asked.work.gpus, look_for_gpus()))
    return Reply(environments=environments, checks=tuple(checks), stored=stored).model_dump_json()


def _environments(clients: Sequence[Environment]) -> tuple[Environment, ...]:
    """This one, described as each of the client's is; the first with all that is installed."""
    if not clients:
        return ()
    whole = describe_environment(whole=True)
    first = describe_alike(clients[0]).model_copy(update={"distributions": whole.distributions, "tools": whole.tools})
    return (first, *(describe_alike(each) for each in clients[1:]))


def _undescribed(error: DeploymentError) -> Check:
    return Check(
        section="code", subject="environment", level="error", found=error.message, mender="image", remedy=error.hint
    )


def _not_understood() -> Check:
    return Check(
        section="code",
        subject="checkmaite-core",
        level="error",
        found="the one that is installed there does not understand what this preflight asks",
        mender="image",
        remedy="install the client's version of checkmaite-core in the image",
    )


def _surroundings(asked: Inquiry) -> tuple[list[Check], bool]:
    """The locations and the store, at the same time; what takes too long is said to."""
    config, token = asked.store, asked.token
    looks = [partial(check_location, each, config) for each in asked.locations]
    if config is not None and token is not None:
        looks.insert(0, partial(_probe, config, token))
    found = _at_once(looks, asked.seconds)
    checks, stored = [], False
    if config is not None and token is not None:
        probed = found.pop(0)
        stored = probed is not None and probed.level == "ok"
        checks = [probed or _late("store", shown(config.uri), asked), *_disk()]
    checks += [
        check or _late("inputs", shown(each.location), asked)
        for each, check in zip(asked.locations, found, strict=True)
    ]
    return checks, stored


def _at_once(looks: Sequence[Callable[[], Check]], seconds: float) -> list[Check | None]:
    """What each finds; None for those that take longer. They are left behind, as nothing ends a read that hangs."""
    found: list[Check | BaseException | None] = [None] * len(looks)
    waiting = iter(range(len(looks)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                index = next(waiting, None)
            if index is None:
                return
            try:
                found[index] = looks[index]()
            except BaseException as error:  # raised below, where it is seen
                found[index] = error

    # Daemons: the end of the process must not wait for them.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_AT_ONCE, len(looks)))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    came: list[Check | None] = []
    for each in found:
        if isinstance(each, BaseException):
            raise each
        came.append(each)
    return came


def _late(section: Section, subject: str, asked: Inquiry) -> Check:
    return Check(
        section=section,
        subject=subject,
        level="error",
        found=f"no answer within {asked.seconds:.3g} s",
        mender="cluster",
        remedy="let the workers reach it (network policy, DNS, proxy and endpoint variables)",
    )


def _probe(config: AnalyticsStoreConfig, token: str) -> Check:
    subject = shown(config.uri)
    try:
        store = open_result_store(config)
        try:
            store.probe(token)
        finally:
            store.close()
    except Exception as error:  # a store is a plugin: whatever it raises is what is to be reported
        trouble = explain_store(error, config.backend)
        return Check(
            section="store",
            subject=subject,
            level="error",
            found=trouble.found,
            mender=trouble.mender,
            remedy=trouble.remedy,
        )
    found = "written, read back, and a second write to one key refused"
    return Check(section="store", subject=subject, level="ok", found=found)


def _disk() -> list[Check]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free >= _LITTLE_DISK:
        return []
    found = f"only {size_text(free)} of temporary space are free there"
    return [
        Check(
            section="resources",
            subject=folder,
            level="warning",
            found=found,
            mender="cluster",
            remedy="give the node more disk, or clear it; Ray itself stops working on a full one",
        )
    ]
