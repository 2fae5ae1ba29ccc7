"""``checkmaite jobs recommit``: store what a failed job had computed, without running it again."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from checkmaite_cli.console import make_console, plain
from checkmaite_core.errors import ConfigurationError

if TYPE_CHECKING:
    from checkmaite_core.job import Job

__all__ = ["recommit_jobs"]


def recommit_jobs(
    jobs: list[str],
    *,
    profile: str | None,
    backend: str | None,
    address: str | None,
    store: str | None,
    scope: str | None,
    options: list[str],
    run_class: str | None,
    timeout: float | None,
) -> int:
    """Recommit jobs, wait for them, and say what became of them.

    Args:
        jobs: Their ids.
        profile: What a checkmaite.toml says of the cluster and the store.
        backend: The job backend.
        address: Where the cluster is.
        store: The analytics store.
        scope: Whose jobs.
        options: Others of the backend, as ``NAME=JSON``.
        run_class: Takes the place of the run's own class, as ``MODULE:NAME``.
        timeout: Seconds to wait for each; None waits to the end.

    Returns:
        The exit status: 0 if all are stored, else 1.

    Raises:
        CheckmaiteError: An argument cannot be used, the cluster cannot be reached, or nothing of a job is kept.
    """
    from checkmaite_cli.preflight_command import parsed_options
    from checkmaite_core.api import configure_job_backend

    if store is None and profile is None:
        raise ConfigurationError("which store was not said.", hint="Add --store URI, or --profile NAME.")
    given = {"address": address, "idempotency_scope": scope, **parsed_options(options)}
    chosen = None if run_class is None else _loaded_class(run_class)
    opened = configure_job_backend(
        backend if backend or profile else "ray",
        profile=profile,
        analytics_store=None if store is None else {"uri": store},
        **{name: value for name, value in given.items() if value is not None},
    )
    try:
        started = [(job_id, opened.recommit(job_id, run_class=chosen)) for job_id in jobs]
        return max(_told(job_id, job, timeout) for job_id, job in started)
    finally:
        opened.shutdown(wait=False)


def _told(job_id: str, job: Job, timeout: float | None) -> int:
    console = make_console()
    status = job.wait(timeout)
    if status.is_terminal and job.failure is None:
        console.print(plain(f"{job_id} is stored, by job {job.job_id}"), soft_wrap=True)
        return 0
    said = (
        f": {job.failure.message}" if job.failure else f", which waits for {job.waiting_for}" if job.waiting_for else ""
    )
    console.print(plain(f"{job_id} is not stored: job {job.job_id} is {status}{said}", keep="\n"), soft_wrap=True)
    return 1


def _loaded_class(name: str) -> type:
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise ConfigurationError(
            f"--run-class {name!r} is not of the form MODULE:NAME.", hint="Such as my_project.runs:NightRun"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # the user's code: whatever it raises is what has to be told
        raise ConfigurationError(
            f"--run-class {name!r} cannot be had here: {type(error).__name__}: {error}",
            hint="Run it where the module can be imported, such as its project's folder.",
        ) from error
    if not isinstance(found, type):
        raise ConfigurationError(f"--run-class {name!r} is no class.", hint="Name the class that has extract().")
    return found
