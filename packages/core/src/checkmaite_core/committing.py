"""A commit waits for its store: as long as the user says, and as long as waiting may help.

What waiting may cure: a store that does not answer, has no room, or does not know who asks, such as after a session
token has expired. Every try opens the store anew, so credentials are looked up again. A store that knows who asks and
says no is asked for a minute only, which new policies take to hold everywhere. Anything else, such as a column of
another type, ends at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Protocol, TypeVar

from pydantic import Field

from checkmaite_core.errors import AccessDeniedError, StorageFullError, StorageUnreachableError, UnauthenticatedError
from checkmaite_core.evolving import Evolving
from checkmaite_core.provenance import utc_now
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store

__all__ = ["CommitPolicy", "WaitCancelled", "forget_store", "kept_store", "may_be_cured", "persist", "waits_for"]

T = TypeVar("T")

_CURABLE = (StorageUnreachableError, StorageFullError, UnauthenticatedError)
_DENIED_S = 60.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
"""Between two tries; a random part of it is left out, so that a hundred jobs do not come back together."""
_LOOK_S = 0.25
"""Between two looks at whether the job is to stop."""
_KEPT = 8
"""Stores that are kept open for the next job of this process: they have learnt the schemas by then."""
_LONGEST_REASON = 300


class CommitPolicy(Evolving):
    """What is done so that computed results are not lost at the last step. An option of every backend.

    Attributes:
        commit_timeout_s: Seconds that a commit waits for a store that does not answer, has no room, or does not know
            the worker's credentials. Meanwhile the job stays RUNNING, and ``job.waiting_for`` says so.
        stage_after_s: Seconds that loading the inputs and ``run()`` must have taken for their outputs to be staged
            beside the results before anything else is done with them. Shorter work is cheaper to run again.
        stage_max_bytes: Outputs that are larger are not staged; 0 turns staging off.
    """

    commit_timeout_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3600.0
    stage_after_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    stage_max_bytes: Annotated[int, Field(ge=0)] = 2**30

    @property
    def commit_policy(self) -> CommitPolicy:
        """These three alone, where they are among a backend's options."""
        return CommitPolicy(**{name: getattr(self, name) for name in CommitPolicy.model_fields})


class Watch(Protocol):
    """Whom a wait tells of itself, and asks whether to stop."""

    def report_waiting(self, reason: str | None) -> None: ...
    def cancel_requested(self) -> bool: ...


class WaitCancelled(Exception):
    """The job is to stop; so does its wait."""


def persist(
    action: Callable[[ResultStore], T],
    config: AnalyticsStoreConfig,
    watch: Watch,
    *,
    timeout_s: float,
    what: str,
    away_since: datetime | None = None,
) -> T:
    """Do something with a store, and try again while waiting may help.

    Args:
        action: Called with the store, which is opened anew for each try; must be safe to repeat.
        config: Which store.
        watch: Is told what is waited for.
        timeout_s: Seconds after the first failed try in which another one may begin.
        what: What is tried, for the message: ``the commit``.
        away_since: When the store was found not to answer, if that has been reported before.

    Raises:
        WaitCancelled: The job is to stop.
        Exception: What the last try raised, with a note if there was more than one.
    """
    since, begun, tries = utc_now(), 0.0, 0
    while True:
        try:
            result = action(kept_store(config))
        except Exception as error:  # a store is a plugin: what waiting cannot cure is raised again
            tries += 1
            if tries == 1:
                since, begun = away_since or utc_now(), time.monotonic()
            waited = time.monotonic() - begun
            if waited >= timeout_s or not may_be_cured(error, waited):
                if tries > 1:
                    error.add_note(f"({what[:1].upper()}{what[1:]} was tried {tries} times in {waited:.0f} s.)")
                raise
            forget_store(config)
            watch.report_waiting(waits_for(config, since, error))
            _pause(min(_pause_s(tries), max(timeout_s - waited, 0.0)), watch)
        else:
            if tries or away_since is not None:
                watch.report_waiting(None)
            return result


def waits_for(config: AnalyticsStoreConfig, since: datetime, error: Exception) -> str:
    """What ``job.waiting_for`` says of a store: which, since when, and why."""
    reason = " ".join(str(error).partition("\n")[0].split())[:_LONGEST_REASON]
    return f"the analytics store at {config.uri}, since {since:%H:%M:%S} UTC: {reason}"


def may_be_cured(error: BaseException, waited_s: float = 0.0) -> bool:
    """Whether the same try may succeed later.

    Args:
        error: What it raised.
        waited_s: For how long it has been tried.
    """
    return isinstance(error, _CURABLE) or (isinstance(error, AccessDeniedError) and waited_s < _DENIED_S)


def _pause_s(tries: int) -> float:
    longest: float = min(_FIRST_PAUSE_S * 2.0 ** min(tries - 1, 16), _LONGEST_PAUSE_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret


def _pause(seconds: float, watch: Watch) -> None:
    end = time.monotonic() + seconds
    while True:
        if watch.cancel_requested():
            raise WaitCancelled
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _LOOK_S))


class _Kept:
    """The stores that this process has open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: OrderedDict[str, ResultStore] = OrderedDict()

    def get(self, config: AnalyticsStoreConfig) -> ResultStore:
        key = config.model_dump_json()
        with self._lock:
            found = self._stores.get(key)
        if found is None:
            found = open_result_store(config)
            with self._lock:
                found = self._stores.setdefault(key, found)
                while len(self._stores) > _KEPT:
                    self._stores.popitem(last=False)
        return found

    def forget(self, config: AnalyticsStoreConfig) -> None:
        with self._lock:
            # Not closed: another job of this process may be using it.
            self._stores.pop(config.model_dump_json(), None)


_kept = _Kept()


def kept_store(config: AnalyticsStoreConfig) -> ResultStore:
    """The store, kept open for the next job in this process: it has learnt the schemas by then.

    Raises:
        PluginError: The backend is not installed or cannot be loaded.
        StoreError: The location cannot be used.
    """
    return _kept.get(config)


def forget_store(config: AnalyticsStoreConfig) -> None:
    """Have the store opened anew the next time, so that credentials are looked up again."""
    _kept.forget(config)
