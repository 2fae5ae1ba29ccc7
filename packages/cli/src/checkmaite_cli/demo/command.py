"""``checkmaite demo`` from its first line to its last."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich.text import Text

from checkmaite_cli.console import make_console, show_error
from checkmaite_cli.demo.answer import show_answers, show_next_commands
from checkmaite_cli.demo.ctrl_c import INTERRUPTED, CtrlC
from checkmaite_cli.demo.place import prepared
from checkmaite_cli.demo.screen import JobDisplay, census, step, took
from checkmaite_cli.invocation import as_typed, own_command
from checkmaite_cli.opening import opened
from checkmaite_core import Job, JobBackend, JobOrigin, JobStatus, configure_job_backend
from checkmaite_core.backend import load_backend_plugin
from checkmaite_core.errors import PluginNotFoundError

if TYPE_CHECKING:
    from checkmaite_cli.demo.plan import Plan

__all__ = ["run_demo"]

FAILED = 1
SCOPE = "demo"
"""The demo's jobs are shared by all who run it with the same store."""
_PACKAGES = {"ray": ["checkmaite_ray"], "ray-simple": ["checkmaite_ray_simple"]}
_REFRESH_SECONDS = 0.1
_CANCEL_SECONDS = 5.0
"""How long cancelled jobs may take to end before the process leaves without them."""


def run_demo(store: str, *, backend: str, quick: bool, force: bool) -> int:
    """Run the demo.

    Args:
        store: Where the results go.
        backend: Name of the job backend.
        quick: Run the small plan.
        force: Run anew what has been run before.

    Returns:
        The exit status: 0, 1 if a job failed, 130 after Ctrl-C.

    Raises:
        CheckmaiteError: It could not be run.
    """
    _require_demo_extra(backend)
    return _Demo(prepared(store), backend).run(quick, force)


def _require_demo_extra(backend: str) -> None:
    """Miss what is missing before anything is started.

    Raises:
        PluginNotFoundError: Packages of the demo, or the backend, are not installed.
    """
    needed = ["checkmaite_capabilities", "sklearn", *_PACKAGES.get(backend, [])]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise PluginNotFoundError(
            f"the demo needs packages that are not installed here ({', '.join(missing)}).",
            hint='Install them: pip install "checkmaite-cli[demo]"',
        )
    load_backend_plugin(backend)


class _Demo:
    """One run of the demo.

    Args:
        uri: Where the results go.
        kind: Name of the job backend.
    """

    def __init__(self, uri: str, kind: str) -> None:
        self._uri = uri
        self._kind = kind
        self._console = make_console()
        self._jobs: list[Job] = []
        self._command = own_command()
        self._location = as_typed(uri)
        # A demo that was killed took its cluster along: the next one goes on where it was.
        self._options = {"idempotency_scope": SCOPE, "on_cluster_loss": "resubmit"} if kind == "ray" else {}

    def run(self, quick: bool, force: bool) -> int:
        started = time.monotonic()
        with CtrlC(self._last_words) as ctrl_c:
            from checkmaite_cli.demo.plan import FULL, QUICK, submit_plan

            plan = QUICK if quick else FULL
            self._introduce(plan)
            with self._starting():
                backend = configure_job_backend(
                    self._kind, address="local", analytics_store={"uri": self._uri}, **self._options
                )
            ctrl_c.be_patient()
            self._work(submit_plan(plan, backend, force=force), ctrl_c)
            if ctrl_c.asked.is_set():
                return self._stop(backend, ctrl_c)
            ctrl_c.be_patient(False)
            with step(self._console, "Stopping Ray", "Ray stopped"):
                backend.shutdown()
            return self._finish(plan, started)

    def _introduce(self, plan: Plan) -> None:
        self._console.print(
            f"{len(plan.models)} models read handwritten digits, clean and under {len(plan.perturbations)} "
            f"perturbations: {plan.jobs} jobs.\nFirst a local Ray starts, which takes a few seconds.\n"
        )

    def _starting(self) -> contextlib.AbstractContextManager[None]:
        # On a terminal the backend itself says so, and how long it took.
        if sys.stderr.isatty():
            return contextlib.nullcontext()
        return step(self._console, "Starting Ray", "Ray started")

    def _work(self, submitted: Iterator[Job], ctrl_c: CtrlC) -> None:
        """Submit the jobs and wait for them, or for Ctrl-C."""
        started = time.monotonic()
        for job in submitted:
            self._jobs.append(job)
            if ctrl_c.asked.is_set():
                return
        display = JobDisplay(self._console, len(self._jobs))
        with display.shown():
            now = census(self._jobs)
            while now.finished < len(self._jobs):
                display.update(now)
                if ctrl_c.asked.wait(_REFRESH_SECONDS):
                    return
                now = census(self._jobs)
        took(self._console, f"{now.finished} jobs finished", started)
        self._tell_shared()

    def _tell_shared(self) -> None:
        adopted = [job for job in self._jobs if job.origin is JobOrigin.ADOPTED]
        if adopted:
            self._console.print(f"{len(adopted)} of them had been submitted before, and were taken up as they stood.")
        reused = [job for job in self._jobs if job.origin is JobOrigin.REUSED]
        if reused:
            first = min(job.created_at for job in reused)
            self._console.print(
                f"{len(reused)} of them had completed before, from {first:%Y-%m-%d %H:%M} UTC on, and are reused:\n"
                "equal work is not run twice. Run it anew with --force."
            )

    def _stop(self, backend: JobBackend, ctrl_c: CtrlC) -> int:
        """End what has not ended and was submitted here, and say what is there."""
        console = make_console(stderr=True)
        mine = self._mine()
        now = census(mine)
        console.print(
            f"\nStopping: {len(now.running)} running and {now.pending} pending jobs are being cancelled. "
            "Ctrl-C again leaves at once."
        )
        for job in mine:
            job.cancel()
        deadline = time.monotonic() + _CANCEL_SECONDS
        for job in mine:
            if not job.wait(max(0.0, deadline - time.monotonic())).is_terminal:
                ctrl_c.leave()
        backend.shutdown(wait=False)
        console.print(Text(self._last_words()), soft_wrap=True)
        return INTERRUPTED

    def _mine(self) -> list[Job]:
        """Those that this process has submitted, or that had completed before: not what it shares with another."""
        return [job for job in self._jobs if job.origin is not JobOrigin.ADOPTED]

    def _last_words(self) -> str:
        """What there is after Ctrl-C. Called in the signal handler, too."""
        if not self._jobs:
            return "Interrupted before any job was submitted; nothing was stored."
        now, total = census(self._jobs), len(self._jobs)
        mine = census(self._mine())
        taken_up = total - now.finished - len(mine.running) - mine.pending
        command, options = self._command, shlex.join(sys.argv[1:])
        if now.completed:
            words = f"Interrupted. {now.completed} of {total} jobs completed; their results are in the store."
        else:
            words = f"Interrupted. None of the {total} jobs had completed."
        others = f"The other {total - now.completed - taken_up}" if now.completed or taken_up else "They"
        if taken_up:
            words += f" {taken_up} are left to the process that submitted them."
        if mine.running or mine.pending:
            words += f" {others} end with this process."
        elif mine.stopped:
            words += f" {others} ended without results."
        if now.completed:
            words += f"\n  see them:      {command} runs --store {self._location}"
        return f"{words}\n  run it again:  {command} {options}"

    def _finish(self, plan: Plan, started: float) -> int:
        console = self._console
        failed = [error for job in self._jobs if (error := job.exception(timeout=0)) is not None]
        if failed:
            console.print()
            show_error(failed[0])
        if len(failed) < len(self._jobs):
            console.print()
            with opened(self._uri) as store:
                show_answers(console, store, plan)
                scope = self._options.get("idempotency_scope")
                show_next_commands(console, store, self._command, self._location, self._report_of(), scope)
            console.print()
        if failed:
            console.print(f"{len(failed)} of {len(self._jobs)} jobs failed; the first error stands above.")
        took(console, "All of it took", started)
        return FAILED if failed else 0

    def _report_of(self) -> str:
        """The event of the data's quality, or of another job if that one failed."""
        return next(job.job_id for job in self._jobs if job.status is JobStatus.COMPLETED)
