"""Work that can be watched from outside while it runs on a cluster, and the processes of the control plane to kill."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray_fixtures import Cluster

from checkmaite_core import Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Record
from checkmaite_ray.protocol import NAMESPACE, controller_name, controller_prefix, registry_name

__all__ = [
    "Traces",
    "a_cluster",
    "answers_of",
    "controller_of",
    "controllers_of",
    "end_scope",
    "pid_of",
    "registry_of",
    "stopped",
]


class Answer(Record, table_name="answers"):
    """What a job stores."""

    answer: str


class Outputs(CapabilityOutputs):
    answer: str


class Run(CapabilityRun[CapabilityConfig, Outputs]):
    def extract(self) -> list[Answer]:
        return [Answer(run_uid=self.run_uid, answer=self.outputs.answer)]


class Traced(Capability[CapabilityConfig, Outputs]):
    """Leaves a line for each execution, and waits for a file to be there: in its code, or once it has committed."""

    config_class = CapabilityConfig
    run_class = Run

    def __init__(self, folder: str, name: str, waits: str) -> None:
        self.folder = folder
        self.waits = waits
        self.id = f"test.{name}"

    def evaluate(self, inputs: Any, config: CapabilityConfig) -> Outputs:
        folder = Path(self.folder)
        with (folder / "executions").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if self.waits == "committed":
            _wait_after_the_commit(folder)
        while self.waits == "running" and not (folder / "go").exists():
            time.sleep(0.02)
        return Outputs(answer=self.id)


def _wait_after_the_commit(folder: Path) -> None:
    """The next commit of this process waits before it returns: what was stored is stored, and nobody knows."""
    from checkmaite_analytics_store import AnalyticsStore

    commit = AnalyticsStore.commit

    def slow(store: AnalyticsStore, *arguments: Any) -> Any:
        AnalyticsStore.commit = commit  # type: ignore[method-assign]
        done = commit(store, *arguments)
        (folder / "committed").touch()
        while not (folder / "go").exists():
            time.sleep(0.02)
        return done

    AnalyticsStore.commit = slow  # type: ignore[assignment,method-assign]


@dataclass(frozen=True)
class Traces:
    """What one piece of work leaves on the disk.

    Attributes:
        folder: Where.
        name: Of the work.
        waits: ``running`` or ``committed``: where it waits for :meth:`let_go`; empty: nowhere.
    """

    folder: Path
    name: str
    waits: str = "running"

    @property
    def work(self) -> Traced:
        """The work; equal each time."""
        self.folder.mkdir(exist_ok=True)
        return Traced(str(self.folder), self.name, self.waits)

    @property
    def executions(self) -> list[int]:
        """The process of each execution."""
        try:
            return [int(line) for line in (self.folder / "executions").read_text().split()]
        except FileNotFoundError:
            return []

    @property
    def committed(self) -> bool:
        """Whether one has committed, and waits."""
        return (self.folder / "committed").exists()

    def let_go(self) -> None:
        """It need not wait any more."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "go").touch()


@contextmanager
def a_cluster(folder: Path, *, token: str, cpus: int = 2) -> Iterator[Cluster]:
    """A head that wants to be shown a token, which this process has in its environment meanwhile."""
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="head-", dir=folder)), token)
    with pytest.MonkeyPatch.context() as patch:
        try:
            cluster.start_head(cpus=cpus)
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                patch.setenv(name, cluster.environment[name])
            yield cluster
        finally:
            cluster.stop()


def answers_of(store: Any, job_id: str) -> int:
    """How many rows a job has in the store; asserts that there is one event at most."""
    events = store.query(f"select run_uid from runs where job_id = '{job_id}'").to_pylist()
    assert len(events) <= 1, f"{len(events)} events of one job"
    if not events:
        return 0
    rows: int = store.query(f"select * from answers where run_uid = '{events[0]['run_uid']}'").num_rows
    return rows


def registry_of(scope: str) -> Any:
    """The scope's registry."""
    return ray.get_actor(registry_name(scope), NAMESPACE)


def controller_of(scope: str, record: Any) -> Any:
    """The controller that a job was last given to."""
    return ray.get_actor(controller_name(scope, record.slot, record.incarnation), NAMESPACE)


def controllers_of(scope: str) -> set[str]:
    """Names of the scope's controllers."""
    prefix = controller_prefix(scope)
    return {one["name"] for one in _named() if one["name"].startswith(prefix)}


def end_scope(scope: str) -> None:
    """End a scope's control plane, which would stay for the scope's next client."""
    for one in _named():
        if one["name"] == registry_name(scope) or one["name"].startswith(controller_prefix(scope)):
            with suppress(ValueError):
                ray.kill(ray.get_actor(one["name"], NAMESPACE))


def _named() -> list[dict[str, str]]:
    named: list[dict[str, str]] = ray.util.list_named_actors(all_namespaces=True)
    return [one for one in named if one["namespace"] == NAMESPACE]


def pid_of(actor: Any) -> int:
    """The process of one of the control plane's actors."""
    return int(ray.get(actor.__ray_call__.remote(_pid), timeout=30))


def _pid(_: Any) -> int:
    return os.getpid()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Within the block a process does nothing; it may be killed there."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
