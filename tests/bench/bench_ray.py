"""What a job of the ray backend costs over bare Ray tasks: each figure with its floor, measured in one run."""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from no_op import (
    ARGUMENTS,
    Bare,
    NoOp,
    bare_and_durable,
    durable_put,
    milliseconds,
    one_after_the_other,
    show,
)

from checkmaite_core import JobBackend, JobStatus, Work, configure_job_backend
from checkmaite_ray.protocol import NAMESPACE, controller_prefix, registry_name

pytestmark = pytest.mark.bench

SCOPE = "bench"
ROUNDS = 200
CURVE = ((100, 7, False), (1_000, 5, False), (1_000, 5, True), (10_000, 2, False))
"""Sizes of groups, how often each is run, and whether their capability is sent by value."""
WARM = 500
ONE_BY_ONE = 300
BURSTS = 5
WAITING = 1_000


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cmb-", dir="/tmp") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", name)
        patch.setenv("HOME", name)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers import the capability, as from an image
        yield Path(name)


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[JobBackend]:
    store = {"backend": "parquet", "uri": str(folder / "store")}
    # Without folds, which come now and then, and beside bare tasks as well; bench_analytics_store has what they cost.
    options = {"address": "local", "idempotency_scope": SCOPE, "registry": {"maintain_after": 0}}
    with configure_job_backend("ray", analytics_store=store, **options) as backend:
        # So that every worker has its imports and its store open.
        warm = backend.submit_all([Work(capability=NoOp())] * 50, force=True)
        assert {job.wait(120) for job in warm} == {JobStatus.COMPLETED}
        yield backend


def control_plane() -> dict[str, float]:
    """Memory (MB) of the registry and of its controllers."""
    pids = {"registry": ray.get(ray.get_actor(registry_name(SCOPE), NAMESPACE).about.remote())["pid"]}
    for one in ray.util.list_named_actors(all_namespaces=True):
        if one["name"].startswith(controller_prefix(SCOPE)):
            actor = ray.get_actor(one["name"], NAMESPACE)
            pids[one["name"].split(":")[2]] = ray.get(actor.about.remote())["pid"]
    return {name: resident(pid) for name, pid in pids.items()}


def resident(pid: int) -> float:
    """Private memory of a process (MB): what it shares with others counts with none of them."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1e3


def test_latencies(benchmark: Any, backend: JobBackend, folder: Path) -> None:
    floor = Bare.remote()  # type: ignore[attr-defined]
    ray.get(floor.echo.remote(b""))
    calls: list[float] = []
    syncs: list[float] = []

    def floors() -> None:
        calls.append(milliseconds(lambda: ray.get(floor.echo.remote(b"x" * 2000))))
        syncs.append(milliseconds(lambda: durable_put(folder)))

    submits, ends = one_after_the_other(backend, ROUNDS, floors)
    benchmark.pedantic(lambda: backend.submit(NoOp(), force=True).result(60), rounds=20)
    print(f"\n\nray, local, {ROUNDS} jobs one after the other (ms: median / 95th / worst)")
    show("submit, durably accepted (target 8)", submits)
    show("worker's end to client's answer (target 8)", ends)
    show("floor: one actor call", calls)
    show("floor: durable put (2 fsyncs)", syncs)


def test_beside_a_thousand_that_wait(benchmark: Any, backend: JobBackend) -> None:
    registry = ray.get_actor(registry_name(SCOPE), NAMESPACE)
    before, _ = one_after_the_other(backend, 50)
    memory = control_plane()["registry"]
    ray.get([registry.follow.remote(f"waits-{number}", []) for number in range(WAITING)])
    parked = [registry.watch.remote(f"waits-{number}", 0) for number in range(WAITING)]
    ray.get(registry.about.remote())  # it comes after them: all of them are parked
    after, _ = one_after_the_other(backend, 50)
    grown = control_plane()["registry"] - memory
    benchmark.pedantic(lambda: backend.submit(NoOp(), force=True).result(60), rounds=10)
    ray.get([registry.leave.remote(f"waits-{number}") for number in range(WAITING)])
    ray.get(parked)
    print(f"\n\nray, beside {WAITING} clients that wait: {grown * 1e3 / WAITING:.1f} KB each in the registry (ms)")
    show("submit without them", before)
    show("submit beside them", after)


def bare_rate(folder: Path, count: int) -> float:
    """Bare tasks that put something durably each, per second.

    A few before it, and before what is compared with it: Ray ends the idle workers of one owner when another's tasks
    want theirs, and who comes next would pay for the start of processes.

    They put into the very folder that jobs commit to. On ext4 without a journal, making a file takes 0.06 ms of CPU in
    one folder and 0.9 in another, for those in the neighbourhood of which files were deleted in the last minutes.
    """
    arguments = (*ARGUMENTS, str(folder / "store" / "inbox"))
    ray.get([bare_and_durable.remote(*arguments) for _ in range(WARM)])
    took = milliseconds(lambda: ray.get([bare_and_durable.remote(*arguments) for _ in range(count)]))
    return count / took * 1e3


def warm_up(backend: JobBackend) -> None:
    """Have workers of the jobs' own started, with their imports made and their store open."""
    backend.submit_all([Work(capability=NoOp())] * WARM, force=True).results(timeout=120)


@contextlib.contextmanager
def sent_by_value(by_value: bool) -> Iterator[None]:
    """Within the block, the capability travels as that of a notebook does, if so asked: its class in each payload."""
    module = sys.modules[NoOp.__module__]
    if by_value:
        ray.cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        if by_value:
            ray.cloudpickle.unregister_pickle_by_value(module)


def how(by_value: bool) -> str:
    return "sent by value, as from a notebook" if by_value else "imported by workers"


def beside_bare_tasks(
    backend: JobBackend, folder: Path, work: Callable[[], None], count: int, rounds: int
) -> list[tuple[float, float, float]]:
    """Run ``work``, which is ``count`` jobs, some times beside bare tasks; ratio, jobs and tasks per second of each."""
    figures = []
    for _ in range(rounds):
        bare = bare_rate(folder, min(count, 2_000))
        warm_up(backend)
        jobs = count / milliseconds(work) * 1e3
        figures.append((jobs / bare, jobs, bare))
    return figures


def show_ratios(rounds: Sequence[tuple[float, float, float]]) -> None:
    """Print ratio, jobs and bare tasks per second of each round, the best first."""
    print(f"  median ratio {statistics.median(ratio for ratio, _, _ in rounds):.2f}")
    for ratio, jobs, bare in sorted(rounds, reverse=True):
        print(f"  ratio {ratio:.2f}: {jobs:.0f} jobs/s; bare durable tasks {bare:.0f}/s")


@pytest.mark.parametrize(("count", "rounds", "by_value"), CURVE)
def test_a_group(benchmark: Any, backend: JobBackend, folder: Path, count: int, rounds: int, by_value: bool) -> None:
    before = control_plane()
    accepted: list[float] = []

    def group() -> None:
        works = [Work(capability=NoOp(), name=uuid.uuid4().hex)] * count
        begun = time.perf_counter()
        jobs = backend.submit_all(works, force=True)
        accepted.append((time.perf_counter() - begun) * 1e3)
        jobs.results(timeout=600)

    with sent_by_value(by_value):
        ratios = beside_bare_tasks(backend, folder, group, count, rounds)
    benchmark.pedantic(lambda: backend.submit_all([Work(capability=NoOp())] * WARM, force=True).results(60), rounds=1)
    after = control_plane()
    print(f"\n\nray, a group of {count} no-op jobs, {rounds} times, {how(by_value)} (target 0.50)")
    show_ratios(ratios)
    print(f"  accepted in {statistics.median(accepted):.0f} ms, {max(accepted):.0f} ms at worst")
    was, now = sum(before.values()), sum(after.values())
    in_all = (count + WARM) * rounds + WARM
    print(f"  control plane {was:.0f} -> {now:.0f} MB: {(now - was) * 1e3 / in_all:.1f} KB a job")


@pytest.mark.parametrize("by_value", [False, True], ids=["imported", "by-value"])
def test_one_by_one(benchmark: Any, backend: JobBackend, folder: Path, by_value: bool) -> None:
    def burst() -> None:
        jobs = [backend.submit(NoOp(), force=True) for _ in range(ONE_BY_ONE)]
        assert {job.wait(120) for job in jobs} == {JobStatus.COMPLETED}

    with sent_by_value(by_value):
        ratios = beside_bare_tasks(backend, folder, burst, ONE_BY_ONE, BURSTS)
        benchmark.pedantic(lambda: backend.submit(NoOp(), force=True).wait(60), rounds=1)
    print(f"\n\nray, {ONE_BY_ONE} jobs submitted one by one, {BURSTS} times, {how(by_value)} (target 0.15)")
    show_ratios(ratios)
