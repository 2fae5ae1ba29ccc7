"""The backend: jobs as direct Ray tasks of this process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import ray
from ray import cloudpickle

from checkmaite_core.backend import JobBackend
from checkmaite_core.deployment import NodeEnvironment
from checkmaite_core.errors import (
    ClusterError,
    ClusterUnreachableError,
    ConfigurationError,
    JobNotFoundError,
    ResourceDemandError,
)
from checkmaite_core.execution import cancelled_error
from checkmaite_core.failure import FailureKind, FailureRecord
from checkmaite_core.job import Job, JobPage, JobStatus, Progress
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.queueing import Room
from checkmaite_core.settling import ended_with
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.submission import Submission
from checkmaite_core.tracking import TrackedJob, check_job_id, page_of
from checkmaite_ray_simple import connection, failures
from checkmaite_ray_simple.channel import Board, Event
from checkmaite_ray_simple.dispatcher import Dispatcher
from checkmaite_ray_simple.maintenance import Maintenance
from checkmaite_ray_simple.overlay.lifetime import JobsOverlay
from checkmaite_ray_simple.overlay.uploading import in_fresh_process, in_overlay
from checkmaite_ray_simple.probe import probe
from checkmaite_ray_simple.resources import Nodes, task_options
from checkmaite_ray_simple.settings import RaySimpleOptions
from checkmaite_ray_simple.settling import LocalSettler, Settler
from checkmaite_ray_simple.site import RaySite
from checkmaite_ray_simple.survey import Survey
from checkmaite_ray_simple.worker import job_task

__all__ = ["RaySimpleBackend"]

_LARGE = 64 * 1024
"""Payloads of this size (bytes) and more go into Ray's object store once, and not into every start of a task."""
_HEAR_AGAIN = 1.0
"""Seconds after which the board is asked again when it did not answer."""
_FORCE_AGAIN = 1.0
"""Seconds after which a forced cancel that has had no effect is repeated."""
_LOOK = 1.0
"""Seconds between two looks at whether this process still has its Ray."""
_LAST_SETTLING = 10.0
"""Seconds that settling may take when the backend is shut down without waiting for its jobs."""
_SHAPES = 256
"""Of how many kinds of demands the Ray functions are kept."""
_SHOWN = 10
"""Jobs named when they end with the backend."""


@dataclass(eq=False)
class _Task:
    """What is kept of a job until it has ended. Used by the dispatcher's thread alone, once it has been started.

    Attributes:
        job: The job's handle.
        order: What the worker reads first (JSON).
        payload: The pickled work, or a reference to it in Ray's object store; None once the job has ended.
        function: The Ray task's function, with what the job asks for.
        attempt: How many times it has been started.
        reference: The running Ray task; None while there is none.
        place: Where it runs, for messages.
        causes: How many times it has been started again, by cause.
    """

    job: TrackedJob
    order: str
    payload: Any
    function: Any
    attempt: int = 0
    reference: Any = None
    place: str = ""
    causes: Counter[str] = field(default_factory=Counter)


class RaySimpleBackend(JobBackend):
    """Runs jobs as direct Ray tasks of this process; they end with it.

    Args:
        options: How to reach Ray, and how to treat jobs there.
        store: Where results go.

    Raises:
        ClusterError: The cluster cannot be used.
        ConfigurationError: The runtime_env cannot work.
        DeploymentError: Client, nodes and runtime_env do not fit together.
    """

    def __init__(self, options: RaySimpleOptions, store: AnalyticsStoreConfig) -> None:
        connection.refuse_in_fork()
        super().__init__("ray-simple", store)
        self.version_skew = options.version_skew
        self.commit_policy = options.commit_policy
        self._options = options
        self._tasks: dict[str, _Task] = {}
        self._closed = False
        self._accepting = threading.Lock()
        self._nodes = Nodes(options.node_maxima)
        self._room = Room(options.max_unfinished)
        self._own_overlay = JobsOverlay(options.runtime_env, stores=[store.uri], policy=options.version_skew)
        self._connection = connection.acquire(options)
        with contextlib.ExitStack() as undo:  # of what was begun, should it not come to an end
            undo.callback(connection.release, self._connection)
            undo.callback(self._own_overlay.close)
            self._overlay = self._own_overlay.open()
            self._jobs_overlay = in_fresh_process(self._overlay) if options.fresh_process else self._overlay
            # Ray reads the overlay for each function anew, half a millisecond: jobs that ask for the same share one.
            self._function = functools.lru_cache(maxsize=_SHAPES)(
                lambda options: in_overlay(job_task(self._jobs_overlay), self._jobs_overlay, **json.loads(options))
            )
            self._settler: Settler[_Task] = Settler(
                self._then, self._later, self._overlay, self._on_settled, self._on_unsettled
            )
            self._local_settler: LocalSettler[_Task] = LocalSettler(self._on_settled, self._on_unsettled)
            self._maintenance = Maintenance(self._then, self._overlay, store.uri, options.maintain_after)
            self._board = Board.remote()  # type: ignore[attr-defined]
            self._survey = Survey(self._connection, store, options.version_skew, self._overlay, busy=self._busy)
            self._survey.begin()
            undo.pop_all()
        self._dispatcher = Dispatcher("checkmaite-ray-simple", self._has_ray, self._on_error)
        self._dispatcher.call(self._hear)
        self._dispatcher.call_later(_LOOK, self._look)
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
        task = self._tasks.get(job_id)
        if task is None:
            raise JobNotFoundError(
                f"this ray-simple backend has no job {job_id!r}.",
                hint="ray-simple knows the jobs that were submitted through this very backend, and forgets them with "
                "its process. Results of finished ones are in the analytics store's runs table.",
                job_id=job_id,
            )
        return task.job

    def jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        name: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> JobPage:
        self._home.require("the jobs of this ray-simple backend cannot be listed")
        jobs = [task.job for task in list(self._tasks.values())]
        return page_of(jobs, status=status, name=name, since=since, limit=limit, cursor=cursor)

    def _site(self) -> RaySite:
        return RaySite.of_simple(self._connection, self._options, self._overlay)

    def environments(self) -> list[NodeEnvironment]:
        self._refuse_if_closed()
        self._refuse_without_ray("its nodes cannot be asked")
        return self._survey.environments()

    def _submit_all(self, submissions: Sequence[Submission], *, queue_timeout: float | None) -> list[Job]:
        self._survey.tell()
        self._maintenance.tell()
        self._refuse_without_ray(f"job {submissions[0].name!r} cannot run")
        tasks = [self._task(submission) for submission in submissions]
        self._room.take(len(tasks), queue_timeout)
        with self._accepting:
            if self._closed:
                raise ConfigurationError(
                    f"this ray-simple backend was shut down while job {submissions[0].name!r} was being submitted.",
                    hint="Call configure_job_backend(...) again.",
                )
            self._tasks.update({task.job.job_id: task for task in tasks})
            try:
                for task in tasks:
                    self._start(task)
            except BaseException:  # it goes on: nobody has got the jobs, so nobody may be made to wait for them
                for task in tasks:
                    del self._tasks[task.job.job_id]
                    self._force(task)
                self._room.give(len(tasks))
                raise
        for task in tasks:
            task.job.add_done_callback(lambda _: self._room.give())
        return [task.job for task in tasks]

    def _refuse_without_ray(self, what: str) -> None:
        happened = self._connection.ended
        if happened is not None:
            raise ClusterUnreachableError(
                f"{happened}, so {what}.", hint="Call configure_job_backend(...) again, as before."
            )

    def _task(self, submission: Submission) -> _Task:
        """A job that could be started."""
        waits_for = self._nodes.check(submission.name, submission.resources, submission.of_which)
        try:
            if submission.recovery is None:
                function = self._function(json.dumps(task_options(submission.resources), sort_keys=True))
            else:  # with the code as it has been mended, which a process that has loaded it before does not see
                overlay = in_fresh_process(self._overlay, submission.order.job_id)
                function = in_overlay(job_task(overlay), overlay, **task_options(submission.resources))
        except ValueError as error:
            raise ResourceDemandError(
                f"{submission.of_which}Ray does not take what job {submission.name!r} asks for: {error}.",
                hint="Correct resources={...}: amounts in steps of 0.0001, GPUs above 1 in whole numbers, and no name "
                "of Ray's own in custom.",
            ) from error
        payload: Any = submission.pickle(cloudpickle.dumps)
        job = TrackedJob(submission.order.job_id, submission.name, submission.submitted_at, self._on_cancel)
        job.recovers, job._recommitter = submission.order.recovers, self.recommit
        job.mark_pending(waits_for)
        job.origin_reason = "started: " + ("force=True" if submission.force else "ray-simple shares no jobs")
        if len(payload) >= _LARGE:
            payload = ray.put(payload)
        return _Task(job, submission.order.model_dump_json(), payload, function)

    # What follows is run by the dispatcher, except for the first start of a job.

    def _start(self, task: _Task) -> None:
        task.attempt += 1
        names = self._options.retry_exceptions
        task.reference = task.function.remote(task.order, task.payload, task.attempt, self._board, names)
        self._then(task.reference, self._on_result, task)

    def _then(self, reference: Any, handle: Callable[..., None], *arguments: Any) -> None:
        """Have ``handle(value, error, *arguments)`` called by the dispatcher once ``reference`` is there."""

        def tell(future: Any) -> None:
            error = future.exception()
            self._dispatcher.call(handle, None if error else future.result(), error, *arguments)

        reference.future().add_done_callback(tell)

    def _later(self, seconds: float, function: Callable[..., None], *arguments: Any) -> None:
        self._dispatcher.call_later(seconds, function, *arguments)

    def _on_result(self, answer: str | None, error: BaseException | None, task: _Task) -> None:
        left_behind, task.reference = task.reference is None, None
        if answer is not None:
            outcome, unsettled = failures.read_answer(answer)
            if outcome is not None:
                self._end(task, Outcome.model_validate_json(outcome))
            elif unsettled is None or left_behind:
                return
            elif unsettled.waits_for is not None:
                task.job.mark_waiting(unsettled.waits_for)
                self._settle(task, unsettled)
            else:
                self._retry(task, unsettled.failure, "raised", self._options.exception_retries)
            return
        assert error is not None, "a task without an outcome has raised"
        if left_behind:
            return
        failure, loss = failures.classify(error, task.attempt, task.place, self._own_overlay.secrets)
        if loss is failures.Loss.NODE:
            self._retry(task, failure, loss, None)
        elif loss is not None:
            limit = self._options.max_retries if loss is failures.Loss.LOST else self._options.oom_retries
            self._retry(task, failure, loss, limit)
        elif task.attempt == 1 and failure.kind is FailureKind.DEPLOYMENT:
            # It has never begun, so there is nothing to settle, and no worker in this overlay that could.
            self._end(task, ended_with(self._cancelled(task) if task.job.cancel_requested else failure))
        else:
            self._settle(task, self._cancelled(task) if task.job.cancel_requested else failure)

    def _retry(self, task: _Task, failure: FailureRecord, cause: str, limit: int | None) -> None:
        """Start it again, unless it was cancelled, or has been started again ``limit`` times for this cause."""
        if task.job.cancel_requested:
            self._settle(task, self._cancelled(task))
        elif limit is None or task.causes[cause] < limit:
            task.causes[cause] += 1
            self._start(task)
        else:
            self._settle(task, failure)

    def _settle(self, task: _Task, known: FailureRecord | Unsettled) -> None:
        """Let a worker find out whether a job committed before it ended, and close its place if not."""
        self._settler.add([(task, task.order, known)])

    def _on_settled(self, task: _Task, outcome: str) -> None:
        self._end(task, Outcome.model_validate_json(outcome))

    def _on_unsettled(self, task: _Task, reason: str) -> None:
        task.job.mark_waiting(reason)

    def _settle_here(self, tasks: Sequence[_Task], failure: Callable[[_Task], FailureRecord]) -> None:
        """Settle jobs in this process, where no worker can do it."""
        self._local_settler.add([(task, task.order, failure(task)) for task in tasks])

    def _end(self, task: _Task, outcome: Outcome) -> None:
        task.payload = None  # it may be large, and the handle is kept
        if outcome.status is JobStatus.COMPLETED:
            self._maintenance.committed(task.order)  # before anyone knows: who hears of it may shut the backend down
        task.job.finish(outcome)

    def _cancelled(self, task: _Task) -> FailureRecord:
        error = cancelled_error(task.job.job_id)
        return FailureRecord.from_exception(error, FailureKind.CANCELLED, attempts=task.attempt)

    def _on_cancel(self, job: TrackedJob) -> None:
        self._dispatcher.call(self._cancel, self._tasks[job.job_id])

    def _cancel(self, task: _Task) -> None:
        if task.job.status is JobStatus.PENDING:
            self._force(task)
        else:
            self._board.cancel.remote([task.job.job_id])
            self._dispatcher.call_later(self._options.cancel_grace_seconds, self._force, task)

    def _force(self, task: _Task) -> None:
        # Never softly first: what ignores that, such as C code that holds the GIL, ignores force after it as well.
        if task.reference is not None:
            ray.cancel(task.reference, force=True)
            # Ray loses a cancel that meets the task on its way to the worker.
            self._dispatcher.call_later(_FORCE_AGAIN, self._force, task)

    def _hear(self) -> None:
        self._then(self._board.hear.options(max_task_retries=0).remote(), self._on_news)

    def _on_news(self, news: list[Event] | None, error: BaseException | None) -> None:
        if error is not None:
            # It is being restarted, and has forgotten who was cancelled.
            cancelled = [task.job.job_id for task in self._unfinished() if task.job.cancel_requested]
            self._board.cancel.remote(cancelled)
            self._dispatcher.call_later(_HEAR_AGAIN, self._hear)
            return
        self._hear()
        for event in news or ():
            task = self._tasks[event.job_id]
            if event.attempt == task.attempt:
                task.place = f", process {event.pid} on node {event.node_id[:12]}"
                task.job.mark_running(event.started_at)
                if event.progress:
                    task.job.set_progress(Progress(*event.progress))
                task.job.mark_waiting(event.waiting_for)

    def _on_error(self, error: Exception, arguments: tuple[Any, ...]) -> None:
        """What the dispatcher called has failed: report it, and settle the jobs that it was about."""
        tasks = [value for value in arguments if isinstance(value, _Task) and not value.job.status.is_terminal]
        secrets = self._own_overlay.secrets
        self._settle_here(tasks, lambda task: failures.describe(error, task.attempt, task.place, secrets))
        if not self._closed:
            found = failures.as_defect(error, "looking after jobs")
            sys.excepthook(type(found), found, found.__traceback__)

    def _has_ray(self) -> bool:
        """Whether there is a Ray to call; if not, no worker tells of the jobs any more, and they are settled here.

        Asked before every call, because Ray would start a new local cluster for a call that finds none.
        """
        if self._connection.has_workers:
            return True
        self._settle_here(self._unfinished(), self._without_ray)
        return False

    def _without_ray(self, task: _Task) -> FailureRecord:
        if task.job.cancel_requested:
            return self._cancelled(task)
        error = failures.TaskLostError(
            f"{self._connection.ended}, before it had ended.",
            hint="Call configure_job_backend(...) again.",
        )
        return FailureRecord.from_exception(error, FailureKind.LOST, retryable=True, attempts=task.attempt)

    def _look(self) -> None:
        self._dispatcher.call_later(_LOOK, self._look)

    def _busy(self) -> bool:
        return any(not task.job.status.is_terminal for task in list(self._tasks.values()))

    def _unfinished(self) -> list[_Task]:
        return [task for task in list(self._tasks.values()) if not task.job.status.is_terminal]

    def shutdown(self, wait: bool = True) -> None:
        if self._home.is_elsewhere:
            self._closed = True  # in a fork: the jobs and the connection are the other process's
            return
        with self._accepting:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self._at_exit)
        try:
            if wait:
                for task in self._unfinished():
                    task.job.wait()
        finally:
            unfinished = self._unfinished()
            try:
                if unfinished:
                    self._abandon(unfinished)
                self._dispatcher.stop()
                self._maintain()
            finally:
                self._dispatcher.stop()
                self._local_settler.stop()
                self._survey.stop()
                self._own_overlay.close()
                connection.release(self._connection)
        self._survey.tell()
        self._maintenance.tell()

    def _at_exit(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # who will not wait for the last things need not read of them
            self.shutdown(wait=False)

    def _maintain(self) -> None:
        """Have the store put in order for the last time, unless the cluster has gone."""
        if not (self._maintenance.wanted and self._options.maintain_timeout_seconds and not self._connection.ended):
            return
        try:
            probe(self._connection.target)  # a call to a cluster that has gone may never return
        except ClusterError:
            return
        self._maintenance.finish(self._options.maintain_timeout_seconds)

    def _abandon(self, tasks: list[_Task]) -> None:
        """End jobs with the backend, and say which."""
        shown = ", ".join(f"{task.job.name} ({task.job.status})" for task in tasks[:_SHOWN])
        more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
        sys.stderr.write(
            f"checkmaite: {len(tasks)} unfinished job(s) end with this ray-simple backend: {shown}{more}.\n"
            "  -> Use shutdown_job_backend(wait=True), or the backend as a context manager, to wait for them.\n"
        )
        if self._connection.ended is None:
            self._dispatcher.call(self._give_up, tasks)
        else:
            self._settle_here(tasks, self._without_ray)
        deadline = time.monotonic() + _LAST_SETTLING
        for task in tasks:
            task.job.wait(max(0.0, deadline - time.monotonic()))
        self._dispatcher.stop()
        self._local_settler.stop()
        self._leave_unsettled([task for task in tasks if not task.job.status.is_terminal])

    def _leave_unsettled(self, tasks: list[_Task]) -> None:
        """Say of jobs that nobody knows how they ended: FAILED they may not be called, as they may have results."""
        left = []
        for task in tasks:
            last = task.job.waiting_for or "an answer of the analytics store, to say whether its results are stored"
            where = f"in the table runs of {self.store_config.uri} for job_id {task.job.job_id}"
            error = ConfigurationError(
                f"it is not known how job {task.job.job_id} ({task.job.name}) ended: its ray-simple backend was shut "
                f"down while it waited for {last}.",
                hint=f"Look {where}; if it is not there once the store answers, submit the work again.",
            )
            if task.job.leave(error, f"nothing any more, for its backend was shut down; look {where}"):
                left.append(error)
        for error in left[:_SHOWN]:
            sys.stderr.write(f"checkmaite: {error}\n")
        if len(left) > _SHOWN:
            sys.stderr.write(f"checkmaite: nor of {len(left) - _SHOWN} more jobs is it known how they ended.\n")

    def _give_up(self, tasks: list[_Task]) -> None:
        left = [task for task in tasks if not task.job.status.is_terminal]
        for task in left:
            self._force(task)
            task.reference = None  # what comes of it is no longer of interest: it is settled here
        # No need to wait for the workers' end: a straggler that wants to commit finds its place closed.
        self._settler.clear()
        self._settler.add([(task, task.order, self._left_behind(task)) for task in left])

    def _left_behind(self, task: _Task) -> FailureRecord:
        if task.job.cancel_requested:
            return self._cancelled(task)
        error = failures.TaskLostError(
            "its ray-simple backend was shut down, or its driver left, before it had ended.",
            hint="Submit it again, and wait for it: shutdown_job_backend(wait=True).",
        )
        return FailureRecord.from_exception(error, FailureKind.LOST, retryable=True, attempts=task.attempt)
