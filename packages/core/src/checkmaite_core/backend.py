"""Job backends: what one must do, and how one is found."""

from __future__ import annotations

import difflib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import BaseModel, ValidationError

from checkmaite_core.committing import CommitPolicy
from checkmaite_core.deployment import NodeEnvironment, SkewPolicy
from checkmaite_core.errors import ConfigurationError, UnknownOptionError
from checkmaite_core.forks import HomeProcess
from checkmaite_core.group import JobGroup
from checkmaite_core.input_identity import Identifier
from checkmaite_core.job import Job, JobPage, JobStatus
from checkmaite_core.plugins import JOB_BACKENDS, available_plugins, load_plugin
from checkmaite_core.recovering import prepare_recovery
from checkmaite_core.resources import Resources
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store
from checkmaite_core.submission import Submission, prepare_submission
from checkmaite_core.tracking import check_timeout
from checkmaite_core.work import Work

if TYPE_CHECKING:
    # Imported where one is run: a preflight looks at much that no other job or client needs.
    from checkmaite_core.preflight import PreflightReport, Site
    from checkmaite_core.preflight.trials import Trial

__all__ = ["JobBackend", "JobBackendPlugin", "SitePlugin", "load_backend_plugin", "parse_options"]


class JobBackend(ABC):
    """Runs submitted work. Every implementation passes ``checkmaite_core.testing.JobBackendSuite``.

    As a context manager it waits for its jobs when the block ends well, and does not wait when it ends with an
    exception. From other threads it may be used freely.

    Attributes:
        kind: The backend's name, such as ``ray-simple``.
        store_config: Where results go.
        version_skew: What workers do where their environment does not fit the client's.
        commit_policy: How long commits wait for the store, and which outputs are staged.
    """

    version_skew: SkewPolicy = "error"
    commit_policy: CommitPolicy = CommitPolicy()

    def __init__(self, kind: str, store_config: AnalyticsStoreConfig) -> None:
        self.kind = kind
        self.store_config = store_config
        self._store: ResultStore | None = None
        self._store_lock = threading.Lock()
        self._home = HomeProcess()

    @abstractmethod
    def _submit_all(self, submissions: Sequence[Submission], *, queue_timeout: float | None) -> list[Job]:
        """Accept checked works, all of them or none, and return their jobs at once, in the same order.

        What can still be wrong with one, such as that it cannot be pickled, is found before any is accepted, and
        the error begins with its :attr:`Submission.of_which`.

        Args:
            submissions: The works.
            queue_timeout: Seconds to wait for room in the queue; None waits as long as it takes.

        Raises:
            SubmissionError: Of one of them; none has been accepted.
        """

    @abstractmethod
    def job(self, job_id: str) -> Job:
        """The job of this id.

        Raises:
            JobNotFoundError: The backend knows none.
        """

    @abstractmethod
    def jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        name: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> JobPage:
        """Jobs that the backend knows, newest first (see :func:`checkmaite_core.list_jobs`)."""

    @abstractmethod
    def shutdown(self, wait: bool = True) -> None:
        """Stop accepting work and let go of the cluster. Doing it again is fine.

        Args:
            wait: Wait for the jobs that have not ended. Without it, a backend whose jobs end with its driver
                says which those are.
        """

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether it has been shut down."""

    @property
    def lost(self) -> bool:
        """Whether it can do nothing any more although nobody has shut it down: its connection is gone, say.

        That is asked now, and takes two seconds at most. Configuring it again with equal arguments then shuts it down,
        and opens a new one in its place.

        Raises:
            ClusterError: Its cluster cannot be used for now, and may come back.
            ConfigurationError: This is a fork of its process.
        """
        self._home.require(f"this {self.kind} backend cannot be configured again")
        return False

    def submit(
        self,
        capability: Any,
        *,
        models: Sequence[Any] | None = None,
        datasets: Sequence[Any] | None = None,
        metrics: Sequence[Any] | None = None,
        config: Any = None,
        name: str | None = None,
        resources: Resources | Mapping[str, Any] | None = None,
        report_threshold: float = 0.5,
        force: bool = False,
        reuse: bool = True,
        queue_timeout: float | None = 0.0,
        preflight: bool = False,
    ) -> Job:
        """Submit one run (see :func:`checkmaite_core.submit_capability`)."""
        work = Work(
            capability=capability,
            models=models,
            datasets=datasets,
            metrics=metrics,
            config=config,
            name=name,
            resources=resources,
            report_threshold=report_threshold,
        )
        check_timeout(queue_timeout, "queue_timeout")
        self._refuse_if_closed()
        submission = self._prepared(work, force, reuse)
        if preflight:
            self._require_preflight([submission])
        return self._submit_all([submission], queue_timeout=queue_timeout)[0]

    def submit_all(
        self,
        works: Iterable[Work | Mapping[str, Any]],
        *,
        force: bool = False,
        reuse: bool = True,
        queue_timeout: float | None = 0.0,
        preflight: bool = False,
    ) -> JobGroup:
        """Submit many runs together (see :func:`checkmaite_core.submit_capabilities`)."""
        check_timeout(queue_timeout, "queue_timeout")
        self._refuse_if_closed()
        identifier = Identifier()
        submissions = [self._prepared(work, force, reuse, position, identifier) for position, work in enumerate(works)]
        if preflight and submissions:
            self._require_preflight(submissions)
        return JobGroup(self._submit_all(submissions, queue_timeout=queue_timeout) if submissions else [])

    def recommit(
        self,
        job: Job | str,
        *,
        capability: Any = None,
        run_class: type | None = None,
        report_threshold: float | None = None,
        resources: Resources | Mapping[str, Any] | None = None,
        queue_timeout: float | None = 0.0,
    ) -> Job:
        """Store what a failed job had computed, in a new job (see :meth:`checkmaite_core.Job.recommit`).

        Args:
            job: The job, or its id.
            capability: As there.
            run_class: As there.
            report_threshold: As there.
            resources: As there.
            queue_timeout: As there.

        Raises:
            JobError: Nothing of the job is kept.
            SubmissionError: The new job was not accepted.
        """
        check_timeout(queue_timeout, "queue_timeout")
        self._refuse_if_closed()
        if not isinstance(job, Job):
            job = self.job(job)
        view = job.view()
        submission = prepare_recovery(
            job.job_id,
            job.name,
            view.failure,
            capability=capability,
            run_class=run_class,
            report_threshold=report_threshold,
            resources=resources,
            backend=self.kind,
            store=self.store_config,
            version_skew=self.version_skew,
            commit=self.commit_policy,
        )
        return self._submit_all([submission], queue_timeout=queue_timeout)[0]

    def preflight(self, *works: Any, timeout: float = 60.0) -> PreflightReport:
        """Look at everything that jobs need, on every kind of node of the real cluster, and start none.

        It looks at code, inputs, analytics store, resources and the backend's own processes, as a job would find
        them: in a worker process, in the jobs' overlay, with the workers' credentials. Of works that differ in
        nothing but their data, the code is looked at once.

            print(backend.preflight({"capability": capability, "datasets": [dataset]}).table())

        Args:
            *works: What is to be run: a :class:`Work`, a mapping of the same names, or a capability alone, without
                inputs. Without any, only cluster and store are looked at.
            timeout: Seconds that it may take, about; what has not answered by then is an error that says so.

        Raises:
            ConfigurationError: This backend has no nodes to look at.
            SubmissionError: One of the works could not be submitted.
            ClusterError: The cluster cannot be asked.
        """
        from checkmaite_core.preflight.trials import trial_of

        check_timeout(timeout, "timeout")
        self._refuse_if_closed()
        trials = [
            trial_of(work, backend=self.kind, store=self.store_config, version_skew=self.version_skew) for work in works
        ]
        return self._run_preflight(trials, timeout)

    def _require_preflight(self, submissions: Sequence[Submission]) -> None:
        from checkmaite_core.preflight.trials import Trial

        self._run_preflight([Trial.of(submission) for submission in submissions], 60.0).require()

    def _run_preflight(self, trials: Sequence[Trial], timeout: float) -> PreflightReport:
        from checkmaite_core.preflight.running import run_preflight

        return run_preflight(self._site(), trials, self.store_config, version_skew=self.version_skew, timeout=timeout)

    def _site(self) -> Site:
        """The cluster as a preflight sees it.

        Raises:
            ConfigurationError: There is nothing to look at.
        """
        raise ConfigurationError(
            f"the {self.kind} backend has no nodes that a preflight could look at.",
            hint="Leave preflight out, or submit to a backend on a cluster, such as ray.",
        )

    def environments(self) -> list[NodeEnvironment]:
        """Describe, whole, the environment that jobs find on each node of the cluster.

        Returns:
            One for each node that is alive; none by a backend that has no nodes to tell apart.

        Raises:
            ClusterError: The cluster cannot be asked.
        """
        return []

    def _prepared(
        self,
        work: Work | Mapping[str, Any],
        force: bool,
        reuse: bool,
        position: int | None = None,
        identifier: Identifier | None = None,
    ) -> Submission:
        return prepare_submission(
            work,
            backend=self.kind,
            store=self.store_config,
            force=force,
            reuse=reuse,
            position=position,
            version_skew=self.version_skew,
            identifier=identifier,
            commit=self.commit_policy,
        )

    def _refuse_if_closed(self) -> None:
        self._home.require(f"this {self.kind} backend cannot work")
        if self.closed:
            raise ConfigurationError(
                f"this {self.kind} backend has been shut down.", hint="Call configure_job_backend(...) again."
            )

    @property
    def store(self) -> ResultStore:
        """The analytics store that the jobs write to, opened here when first asked for.

        Raises:
            PluginError: The store's package is not installed in this environment.
        """
        with self._store_lock:
            if self._store is None:
                self._store = open_result_store(self.store_config)
            return self._store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(wait=kind is None)

    def __repr__(self) -> str:
        state = " (shut down)" if self.closed else ""
        return f"<{type(self).__name__} {self.kind} -> {self.store_config.uri}{state}>"


class JobBackendPlugin(Protocol):
    """What the entry point group ``checkmaite.job_backends`` names.

    Attributes:
        options: A frozen pydantic model of the backend's options. A ``ClassVar`` mapping ``explained`` on it may
            say, for options of other backends that people will try, why this one does not have them.
    """

    options: type[BaseModel]

    def open(self, options: Any, store: AnalyticsStoreConfig) -> JobBackend:
        """Connect.

        Args:
            options: An instance of :attr:`options`.
            store: Where results go.

        Raises:
            ClusterError: The cluster cannot be used.
        """
        ...


class SitePlugin(JobBackendPlugin, Protocol):
    """A job backend plugin of which ``checkmaite preflight`` can ask more: a look at the cluster without joining it."""

    def site(self, options: Any, store: AnalyticsStoreConfig) -> AbstractContextManager[Site]:
        """Connect to look at the cluster, and to start nothing there that stays.

        Args:
            options: As for :meth:`open`.
            store: As for :meth:`open`.

        Raises:
            ClusterError: The cluster cannot be used.
        """
        ...


def load_backend_plugin(kind: str) -> JobBackendPlugin:
    """The plugin of a backend.

    Raises:
        PluginError: It is not installed or cannot be loaded.
        ConfigurationError: ``kind`` is not a name.
    """
    if not isinstance(kind, str):
        raise ConfigurationError(
            f"the kind of job backend is {kind!r:.200}, not a name.", hint=f"Use one of {_installed()}."
        )
    plugin: JobBackendPlugin = load_plugin(JOB_BACKENDS, kind)
    return plugin


def _installed() -> str:
    return ", ".join(map(repr, available_plugins(JOB_BACKENDS))) or '"ray" or "ray-simple", and install it'


def parse_options(kind: str, plugin: JobBackendPlugin, options: Mapping[str, Any]) -> BaseModel:
    """Turn keyword arguments into a backend's options.

    Raises:
        UnknownOptionError: The backend has no such option; the hint names the nearest.
        ConfigurationError: A value cannot be understood.
    """
    known = list(plugin.options.model_fields)
    for name in options:
        if name not in known:
            explained: Mapping[str, str] = getattr(plugin.options, "explained", {})
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise UnknownOptionError(
                f"the {kind} backend has no option {name!r}.",
                hint=explained.get(name, f"{hint}It has {', '.join(sorted(known))}."),
            )
    try:
        # Copied, so that changing the caller's runtime_env afterwards does not change ours, unseen.
        return plugin.options.model_validate(_copied(dict(options)))
    except ValidationError as error:
        raise ConfigurationError(
            f"the {kind} backend cannot use its options: {explain(error)}.", hint="Correct what is named above."
        ) from None


def _copied(value: Any) -> Any:
    """A copy of the containers, down to what is not one: py_modules may hold modules, which cannot be copied."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def explain(error: ValidationError) -> str:
    """What pydantic found, without the values: they may be secrets."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'value'}: {item['msg'].removeprefix('Value error, ')}"
        for item in found
    )
