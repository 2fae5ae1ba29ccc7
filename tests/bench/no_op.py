"""Work with nothing to do, and the floors under it: what the benches of both Ray backends share."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from checkmaite_core import JobBackend
from checkmaite_core.naming import compute_run_uid

ARGUMENTS = ("o" * 1500, b"p" * 500)
"""Of the size of a no-op job's order and payload."""


class NoOp:
    """A capability with nothing to do and no rows: what is left is what the backend and the commit cost."""

    id = "bench.no_op"

    def run(self, **_: Any) -> NoOpRun:
        return NoOpRun()


class NoOpRun:
    capability_id = NoOp.id
    run_uid = compute_run_uid(NoOp.id, {}, {})
    dataset_metadata = model_metadata = metric_metadata = ()

    def extract(self) -> tuple[()]:
        return ()


@ray.remote(max_retries=0)
def bare(order: str, payload: bytes) -> str:
    return order


@ray.remote(max_retries=0)
def bare_and_durable(order: str, payload: bytes, folder: str) -> str:
    durable_put(Path(folder))
    return order


@ray.remote(num_cpus=0)
class Bare:
    """The floor of one call to an actor."""

    async def echo(self, value: bytes) -> bytes:
        return value


def durable_put(folder: Path) -> None:
    """The least that a durable put of a small object takes: the file's fsync, and the folder's."""
    descriptor, name = tempfile.mkstemp(dir=folder)
    try:
        os.write(descriptor, b"x" * 2048)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.link(name, f"{name}.put")
    os.unlink(name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def milliseconds(function: Callable[[], object]) -> float:
    begun = time.perf_counter()
    function()
    return (time.perf_counter() - begun) * 1e3


def one_after_the_other(
    backend: JobBackend, rounds: int, between: Callable[[], object] = lambda: None
) -> tuple[list[float], list[float]]:
    """Submit and await jobs: what each submission took, and the time from a worker's end to the answer here (ms)."""
    submits: list[float] = []
    ends: list[float] = []
    for _ in range(rounds):
        between()
        begun = time.perf_counter()
        job = backend.submit(NoOp(), force=True)
        submits.append((time.perf_counter() - begun) * 1e3)
        job.result(60)
        finished = job.view().finished_at
        assert finished is not None
        ends.append((time.time() - finished.timestamp()) * 1e3)
    return submits, ends


def show(what: str, values: list[float]) -> None:
    """Print the median, the 95th of a hundred, and the worst."""
    ordered = sorted(values)
    worst, high = ordered[-1], ordered[int(len(ordered) * 0.95)]
    print(f"  {what:<46}{statistics.median(ordered):7.2f}{high:8.2f}{worst:8.2f}")
