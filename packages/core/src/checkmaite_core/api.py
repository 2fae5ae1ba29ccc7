"""The module-level functions: one configured backend, used by all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from checkmaite_core.backend import JobBackend, JobBackendPlugin, explain, load_backend_plugin, parse_options
from checkmaite_core.errors import ConfigurationError, NotConfiguredError
from checkmaite_core.forks import HomeProcess
from checkmaite_core.group import JobGroup
from checkmaite_core.job import Job, JobPage, JobStatus
from checkmaite_core.location import canonical_uri
from checkmaite_core.profiles import load_profile, resolve_profile
from checkmaite_core.resources import Resources
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.work import Work

__all__ = [
    "configure_job_backend",
    "get_job",
    "list_jobs",
    "shutdown_job_backend",
    "submit_capabilities",
    "submit_capability",
]

_HOW_TO_GIVE_A_STORE = 'Pass analytics_store={"backend": "parquet", "uri": "./analytics_store"} (or an s3://... URI).'


class _Configured:
    """The backends opened in this process, and which of them the functions use."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._home = HomeProcess()
        self.opened: list[tuple[tuple[Any, ...], JobBackend]] = []
        self.current: JobBackend | None = None

    @property
    def lock(self) -> threading.RLock:
        """What guards the others. In a fork a new one: the other process's may have been held by a thread of it."""
        if self._home.is_elsewhere:
            self._lock, self._home = threading.RLock(), HomeProcess()
        return self._lock


_state = _Configured()


def configure_job_backend(
    kind: str | None = None,
    *,
    profile: str | None = None,
    analytics_store: AnalyticsStoreConfig | Mapping[str, Any] | None = None,
    **options: Any,
) -> JobBackend:
    """Choose how jobs run and where their results go.

    Args:
        kind: Name of an installed backend: ``"ray"`` or ``"ray-simple"``. If left out, the profile's, else ``"ray"``.
        profile: Name of a profile in a ``checkmaite.toml`` (see :func:`checkmaite_core.profiles.load_profile`), whose
            backend, options and store are taken where no keyword says otherwise.
        analytics_store: Where results go: ``{"backend": "parquet", "uri": ..., "storage_options": {...}}``.
            A relative path is taken from the current directory, now.
        **options: The backend's own options, such as ``address`` and ``runtime_env``. One that is given replaces the
            profile's; only a ``runtime_env`` is added to the profile's, key by key, and its ``env_vars`` too.

    Returns:
        The backend. It is a context manager with ``submit``, ``job``, ``jobs`` and ``store``; the module's
        functions use the one configured last. Equal arguments give the same backend again, or a new one if that
        was shut down or has lost its connection, as after ``ray.shutdown()`` or where its local Ray has died. Different
        ones leave the earlier backend and its jobs as they are.

    Raises:
        PluginNotFoundError: The backend is not installed; the hint says what to install.
        UnknownOptionError: The backend has no such option.
        ConfigurationError: An argument is missing or cannot be understood, or the profile cannot be used.
        ClusterError: The cluster cannot be used.
    """
    plugin: JobBackendPlugin
    if profile is None:
        store = _store_config(analytics_store)
        kind = "ray" if kind is None else kind
        plugin = load_backend_plugin(kind)
        parsed = parse_options(kind, plugin, options)
    else:
        chosen = load_profile(profile)
        store = _store_config(chosen.analytics_store if analytics_store is None else analytics_store)
        kind, plugin, parsed = resolve_profile(chosen, options, kind=kind)
    key = (kind, parsed, store)
    with _state.lock:
        _state.opened = [(known, backend) for known, backend in _state.opened if not backend.closed]
        backend = next((backend for known, backend in _state.opened if known == key), None)
        if backend is not None and backend.lost:
            backend.shutdown(wait=False)  # its threads end, and its jobs say what is known of them
            _state.opened = [(known, other) for known, other in _state.opened if other is not backend]
            backend = None
        if backend is None:
            backend = plugin.open(parsed, store)
            _state.opened.append((key, backend))
        _state.current = backend
        return backend


def _store_config(given: AnalyticsStoreConfig | Mapping[str, Any] | None) -> AnalyticsStoreConfig:
    if given is None:
        raise ConfigurationError("no analytics_store was given, so results would be lost.", hint=_HOW_TO_GIVE_A_STORE)
    if not isinstance(given, AnalyticsStoreConfig):
        if not isinstance(given, Mapping):
            raise ConfigurationError(
                f"analytics_store is a {type(given).__qualname__}, not a mapping.", hint=_HOW_TO_GIVE_A_STORE
            )
        try:
            given = AnalyticsStoreConfig.model_validate(dict(given))
        except ValidationError as error:
            raise ConfigurationError(
                f"analytics_store cannot be used: {explain(error)}.", hint=_HOW_TO_GIVE_A_STORE
            ) from None
    # Here as well: a config that was read from JSON, or copied with another uri, has not been resolved.
    uri = canonical_uri(given.uri)
    return given if uri == given.uri else given.model_copy(update={"uri": uri})


def submit_capability(
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
    backend: JobBackend | None = None,
) -> Job:
    """Submit one run of a capability and return at once.

    Args:
        capability: Anything with an ``id`` and ``run(models=, datasets=, metrics=, config=, use_cache=False)``.
        models: Models, or ``ModelRef`` to load them on the worker.
        datasets: Datasets, or ``DatasetRef`` to load them on the worker.
        metrics: Metrics.
        config: The capability's config; its own defaults if left out.
        name: A name for people; made from the capability and its inputs if left out.
        resources: ``{"num_cpus": 1, "num_gpus": 0, "memory": BYTES, "custom": {"name": amount}}``. What is not
            said here is taken from the config, then from the capability, then it is 1 CPU.
        report_threshold: Scores below it deserve a second look; passed to the run's report.
        force: Start anew, also on a backend that would share a job of equal work (``job.origin`` says whether it
            has, ``job.origin_reason`` why). Its numbers then replace those of the earlier one.
        reuse: Whether the results of a job of equal work that has completed may be given again. Without it such a job
            counts for nothing; one that still waits or runs is shared all the same.
        queue_timeout: Seconds to wait for room where the backend's queue is full; None waits as long as it takes.
        preflight: Look first, on every kind of node, at all that the job needs, and submit only if nothing is red
            (see :meth:`checkmaite_core.JobBackend.preflight`). It takes some seconds.
        backend: The backend to use; the one configured last if left out.

    Raises:
        InvalidCapabilityError: The object is not a capability, or the inputs do not fit it.
        PayloadError: The work cannot be pickled.
        ResourceDemandError: No node can ever meet the demand.
        BackpressureError: The queue is full; ``retry_after`` says when to come back.
        PreflightError: Preflight found what would stop the job; its table says who mends it, and how.
        NotConfiguredError: No backend has been configured.
    """
    return _backend(backend).submit(
        capability,
        models=models,
        datasets=datasets,
        metrics=metrics,
        config=config,
        name=name,
        resources=resources,
        report_threshold=report_threshold,
        force=force,
        reuse=reuse,
        queue_timeout=queue_timeout,
        preflight=preflight,
    )


def submit_capabilities(
    works: Iterable[Work | Mapping[str, Any]],
    *,
    force: bool = False,
    reuse: bool = True,
    queue_timeout: float | None = 0.0,
    preflight: bool = False,
    backend: JobBackend | None = None,
) -> JobGroup:
    """Submit many runs together and return at once; all of them are accepted, or none.

    Args:
        works: What is to be run: each a :class:`Work`, or a mapping of the arguments of
            :func:`submit_capability`, such as ``{"capability": capability, "datasets": [dataset]}``.
        force: As for one run.
        reuse: As for one run.
        queue_timeout: As for one run; there must be room for all.
        preflight: As for one run; all are looked at together.
        backend: The backend to use; the one configured last if left out.

    Returns:
        The jobs, in the order of the works.

    Raises:
        SubmissionError: One of them cannot be accepted; the message names its index. None has been started.
        PreflightError: Preflight found what would stop one of them. None has been started.
        NotConfiguredError: No backend has been configured.
    """
    return _backend(backend).submit_all(
        works, force=force, reuse=reuse, queue_timeout=queue_timeout, preflight=preflight
    )


def get_job(job_id: str, *, backend: JobBackend | None = None) -> Job:
    """The job of this id.

    Raises:
        JobNotFoundError: The backend knows none.
        NotConfiguredError: No backend has been configured.
    """
    return _backend(backend).job(job_id)


def list_jobs(
    *,
    status: JobStatus | str | None = None,
    name: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
    backend: JobBackend | None = None,
) -> JobPage:
    """Jobs that the backend knows, newest first.

    Args:
        status: Only those that are so now.
        name: Only those with exactly this name.
        since: Only those submitted at or after this time (aware).
        limit: Most jobs on the page.
        cursor: ``next_cursor`` of the page before.
        backend: The backend to ask; the one configured last if left out.

    Raises:
        ConfigurationError: A filter cannot be understood.
        NotConfiguredError: No backend has been configured.
    """
    return _backend(backend).jobs(status=status, name=name, since=since, limit=limit, cursor=cursor)


def shutdown_job_backend(wait: bool = True, *, backend: JobBackend | None = None) -> None:
    """Shut a backend down; fine if none is configured.

    Args:
        wait: Wait for the jobs that have not ended. Without it, a backend whose jobs end with its driver says
            which those are.
        backend: The backend; the one configured last if left out.
    """
    _require_backend(backend)
    with _state.lock:
        chosen = backend or _state.current
        if chosen is _state.current:
            _state.current = None
    if chosen is not None:
        chosen.shutdown(wait=wait)


def _require_backend(given: object) -> None:
    if given is not None and not isinstance(given, JobBackend):
        raise ConfigurationError(
            f"backend is {given!r:.200}, not a job backend.",
            hint="Pass what configure_job_backend(...) returned, or leave backend out for the one configured last.",
        )


def _backend(given: JobBackend | None) -> JobBackend:
    _require_backend(given)
    chosen = given or _state.current
    if chosen is None or (given is None and chosen.closed):
        raise NotConfiguredError(
            "no job backend is configured in this process.",
            hint='Call configure_job_backend("ray", address="local", idempotency_scope="my-experiment", '
            'analytics_store={"backend": "parquet", "uri": "./analytics_store"}) first.',
        )
    return chosen
