"""The backend: one client of a scope's registry."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from ray import cloudpickle

from checkmaite_core.backend import JobBackend
from checkmaite_core.deployment import NodeEnvironment
from checkmaite_core.errors import (
    BackpressureError,
    CheckmaiteError,
    ClusterUnreachableError,
    ConfigurationError,
    JobNotFoundError,
    ScopeSealedError,
)
from checkmaite_core.identity import RunKey, run_keys
from checkmaite_core.job import Job, JobOrigin, JobPage, JobStatus
from checkmaite_core.notices import warn
from checkmaite_core.preflight.capacity import demand_of
from checkmaite_core.store import AnalyticsStoreConfig, maintenance_warning
from checkmaite_core.submission import Submission
from checkmaite_core.tracking import check_filters, check_job_id
from checkmaite_ray import joining
from checkmaite_ray._machine import user_name
from checkmaite_ray.attention import Attention
from checkmaite_ray.listening import Line, Listener
from checkmaite_ray.overlay import require_no_overlay
from checkmaite_ray.protocol import Blob, raise_problem
from checkmaite_ray.settings import LedgerConfig, RayOptions
from checkmaite_ray.shared_job import Handles
from checkmaite_ray.site import site_of
from checkmaite_ray_simple import connection, failures
from checkmaite_ray_simple.address import Kind
from checkmaite_ray_simple.overlay.lifetime import JobsOverlay
from checkmaite_ray_simple.overlay.uploading import in_fresh_process
from checkmaite_ray_simple.resources import Nodes
from checkmaite_ray_simple.site import RaySite
from checkmaite_ray_simple.survey import Survey

__all__ = ["RayBackend"]

_SHOWN = 10
"""Jobs named when they end with a local Ray."""


class RayBackend(JobBackend):
    """A client of a scope's registry. Its jobs go on when it leaves, unless their Ray was started by it.

    Args:
        options: How to reach Ray, and whose jobs they are.
        store: Where results go.

    Raises:
        ClusterError: The cluster cannot be used, or another one serves the scope.
    """

    def __init__(self, options: RayOptions, store: AnalyticsStoreConfig) -> None:
        connection.refuse_in_fork()
        super().__init__("ray", store)
        self.version_skew = options.version_skew
        self.commit_policy = options.commit_policy
        self._options = options
        self._policy = asdict(options.policy)
        self._closed = False
        self._session = secrets.token_hex(8)
        self._client = f"{user_name()}@{socket.gethostname()}"
        self._nodes = Nodes(options.node_maxima)
        attention = Attention(lambda: self._listener.hurry())
        self._handles = Handles(
            self._cancel,
            self._why_broken,
            attention,
            lambda: self._listener.name_again(),
            options.idempotency_scope,
            self.recommit,
        )
        ledger = options.ledger or LedgerConfig(uri=store.uri, storage_options=store.storage_options)
        stores = [store.uri, ledger.uri]
        self._own_overlay = JobsOverlay(options.runtime_env, stores=stores, policy=options.version_skew)
        self._connection = joining.connect(options, ledger)
        with contextlib.ExitStack() as undo:  # of what was begun, should it not come to an end
            undo.callback(connection.release, self._connection)
            require_no_overlay()
            undo.callback(self._own_overlay.close)
            self._overlay = self._own_overlay.open()
            self._ledger = ledger
            self._survey = Survey(self._connection, store, options.version_skew, self._overlay, busy=self._busy)
            undo.callback(self._survey.stop)
            # Before the registry is joined, which this client may have to start: not if its image is the wrong one.
            self._survey.begin()
            self._join()
            undo.pop_all()
        line = Line(lambda: self._registry, self._join, self._why_lost, self._sealed, self._on_error)
        self._listener = Listener(self._session, self._handles, attention, line)
        # Runs before Ray's own: handlers run in the reverse order of their registration.
        atexit.register(self._at_exit)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def lost(self) -> bool:
        return super().lost or self._connection.lost

    def job(self, job_id: str) -> Job:
        check_job_id(job_id)
        self._home.require(f"job {job_id} cannot be followed")
        known = self._handles.get(job_id)
        if known is not None:
            return known
        with self._asked("follow", self._session, [job_id]) as answer:
            if job_id in answer["jobs"]:
                return self._handles.made(job_id, answer["jobs"][job_id], JobOrigin.STARTED)
        raise JobNotFoundError(
            f"scope {self._options.idempotency_scope!r} has no job {job_id!r}.",
            hint="Another idempotency_scope, or another analytics store (whose ledger it is), may have it; "
            "`checkmaite jobs list --store URI --scope SCOPE` shows what a scope has.",
            job_id=job_id,
        )

    def jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        name: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> JobPage:
        check_filters(status=status, name=name, since=since, limit=limit, cursor=cursor)
        filters = {
            "status": None if status is None else str(JobStatus(status)),
            "name": name,
            "since": None if since is None else since.timestamp(),
            "limit": limit,
            "cursor": cursor,
        }
        with self._asked("page", self._session, filters) as answer:
            found = [self._handles.found(job_id, what) for job_id, what in answer["jobs"].items()]
        return JobPage(found, answer["next"])

    def environments(self) -> list[NodeEnvironment]:
        self._refuse_if_closed()
        if not self._connection.alive:
            raise self._gone()
        return self._survey.environments()

    def _site(self) -> RaySite:
        return site_of(self._connection, self._options, self._overlay)

    def _submit_all(self, submissions: Sequence[Submission], *, queue_timeout: float | None) -> list[Job]:
        self._warn()
        keys = self._keys(submissions)
        items = [self._item(submission, key) for submission, key in zip(submissions, keys, strict=True)]
        deadline = None if queue_timeout is None else time.monotonic() + queue_timeout
        while True:
            with self._asked("submit", self._session, self._client, items) as answer:
                if "retry_after" not in answer:
                    return [
                        self._handles.made(what["view"][0], what, JobOrigin(origin), key.summary)
                        for key, (what, origin) in zip(keys, answer["answers"], strict=True)
                    ]
            retry_after = answer["retry_after"]
            pause = retry_after if deadline is None else min(retry_after, deadline - time.monotonic())
            if pause <= 0:
                raise _too_much(len(items), answer["unfinished"], answer["limit"], retry_after)
            time.sleep(pause)  # as the registry has asked

    def _keys(self, submissions: Sequence[Submission]) -> list[RunKey]:
        known = iter(run_keys([one for one in submissions if one.recovery is None], overlay=self._overlay))
        # What commits what another has computed is never shared: the code is another than that which computed it.
        return [
            next(known) if one.recovery is None else RunKey(None, "", f"it recovers job {one.order.recovers}")
            for one in submissions
        ]

    def _item(self, submission: Submission, key: RunKey) -> tuple[dict[str, Any], bytes]:
        self._nodes.check(submission.name, submission.resources, submission.of_which)
        payload = submission.pickle(cloudpickle.dumps)
        order = submission.order
        if order.store.storage_options:
            bare = order.store.model_copy(update={"storage_options": {}})
            order = order.model_copy(update={"store": bare})
        demand = demand_of(submission.resources)
        overlay = self._overlay
        if submission.recovery is not None:
            # With the code as it has been mended, which a process that has loaded it before does not see.
            overlay = in_fresh_process(overlay, order.job_id)
        elif self._options.fresh_process:
            overlay = in_fresh_process(overlay)
        fields = {
            "job_id": order.job_id,
            "name": submission.name,
            "capability_id": order.capability_id,
            "run_key": key.digest,
            "client": self._client,
            "submitted_at": submission.submitted_at.timestamp(),
            "shape": _digest(f"{sorted(demand.items())} {overlay}"),
            "demand": demand,
            "store_uri": order.store.uri,
            "policy": self._policy,
            "stored": self._options.store_submissions,
            "force": submission.force,
            "reuse": submission.reuse,
            "reason": "force=True" if submission.force else key.uncertain or "",
            "recovers": order.recovers or "",
        }
        return fields, Blob(order.model_dump_json(), overlay, payload).pack()

    # Talking to the registry.

    def _join(self) -> None:
        self._registry = joining.join(self._options, self._ledger, self.store_config, self._session)

    def _call(self, method: str, *arguments: Any) -> dict[str, Any]:
        """One call, answered; over a restart of the registry too, for Ray then makes it again.

        Raises:
            CheckmaiteError: What the registry says is wrong.
            ClusterUnreachableError: The cluster has gone.
        """
        self._refuse_if_closed()
        if self._connection.ended is not None:
            raise self._gone()
        try:
            answer: dict[str, Any] = joining.answer(
                getattr(self._registry, method).remote(*arguments), self._connection
            )
        except joining.RegistryGoneError:
            self._join()
            answer = joining.answer(getattr(self._registry, method).remote(*arguments), self._connection)
        raise_problem(answer)
        return answer

    def _asked(self, method: str, *arguments: Any) -> contextlib.AbstractContextManager[dict[str, Any]]:
        return self._handles.asked(lambda: self._call(method, *arguments))

    def _cancel(self, job_id: str) -> bool:
        return bool(self._call("cancel", self._client, [job_id])["answers"][0])

    # What is wrong.

    def _why_broken(self) -> CheckmaiteError | None:
        if self._closed and self._connection.why_lost:
            return self._gone()
        if self._closed:
            return ConfigurationError(
                "the ray backend that this handle belongs to has been shut down here; its job may go on.",
                hint="Call configure_job_backend(...) again, and get_job(job_id).",
            )
        return self._listener.broken

    def _gone(self) -> ClusterUnreachableError:
        return ClusterUnreachableError(
            f"this process has lost its connection to the Ray at {self._connection.target}: {self._connection.ended}.",
            hint="Call configure_job_backend(...) again, as before, and get_job(job_id). The history of jobs is in the "
            f"ledger: checkmaite jobs list --store {self.store_config.uri} --scope {self._options.idempotency_scope}",
        )

    def _why_lost(self) -> CheckmaiteError | None:
        return None if self._connection.ended is None else self._gone()

    def _sealed(self) -> ScopeSealedError:
        return ScopeSealedError(
            f"another cluster serves scope {self._options.idempotency_scope!r} now, so this one's registry stopped.",
            hint="Connect to that cluster, or take the scope back with takeover=True.",
        )

    def _on_error(self, error: Exception, arguments: tuple[Any, ...]) -> None:
        if not self._closed:
            found = failures.as_defect(error, "listening to the registry")
            sys.excepthook(type(found), found, found.__traceback__)

    def _busy(self) -> bool:
        return bool(self._handles.unfinished())

    def _warn(self) -> None:
        self._survey.tell()
        while self._listener.warnings:
            uri, failure = self._listener.warnings.pop(0)
            warn(maintenance_warning(uri, failure), stacklevel=4)

    # The end.

    def shutdown(self, wait: bool = True) -> None:
        if self._home.is_elsewhere:
            self._closed = True  # in a fork: the connection is the other process's
            return
        if self._closed:
            return
        atexit.unregister(self._at_exit)
        try:
            if wait:
                for job in self._handles.unfinished():
                    job.wait()
        finally:
            self._leave()
        self._warn()

    def _leave(self) -> None:
        ends = self._connection.target.kind is Kind.LOCAL and self._connection.owned and self._connection.users == 1
        left = self._handles.unfinished()
        if ends and left:
            shown = ", ".join(f"{job.name} ({job.status})" for job in left[:_SHOWN])
            more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
            sys.stderr.write(
                f"checkmaite: {len(left)} unfinished job(s) end with the local Ray that this process started: {shown}"
                f"{more}.\n  -> Use shutdown_job_backend(wait=True), or a cluster that goes on without this process.\n"
            )
        self._closed = True
        try:
            self._listener.stop()
            self._survey.stop()
            self._own_overlay.close()
            if self._connection.ended is None:
                joining.leave(self._registry, self._session, self._connection, maintain=ends)
        finally:
            connection.release(self._connection)

    def _at_exit(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # who will not wait for the last things need not read of them
            self.shutdown(wait=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _too_much(count: int, unfinished: int, limit: int, retry_after: float) -> BackpressureError:
    return BackpressureError(
        f"{unfinished} jobs of the scope have not ended, of the {limit} that may be unfinished, so there is no room "
        f"for {count} more.",
        hint=f"Try again in {retry_after:g} s, or have submit wait: queue_timeout=SECONDS.",
        retry_after=retry_after,
    )
