"""One deployment unit: an environment of workers and one of clients, from one lock, and a cluster between them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_fixtures import Cluster
from worker_environments import ROOT, WorkerEnvironment, make_environment

__all__ = ["TEAM", "Unit", "make_member"]

TEAM = ROOT / "tests" / "support" / "team_capability"
CLIENT = """
import json, sys, warnings
from checkmaite_core import CheckmaiteError, configure_job_backend, submit_capability
from team_capability import WhereAmI

options = json.loads(sys.argv[1])
said = {}
warnings.simplefilter("always")
warned = []
warnings.showwarning = lambda message, category, *_, **__: warned.append(f"{category.__name__}: {message}")
try:
    with configure_job_backend(options.pop("kind"), analytics_store=options.pop("store"), **options) as backend:
        reference = submit_capability(WhereAmI(), force=True).result(60)
        said["rows"] = backend.store.query("SELECT prefix, greeting FROM places").to_pylist()
except CheckmaiteError as error:
    said["error"], said["message"] = type(error).__name__, str(error)
print(json.dumps({**said, "warned": warned}))
"""


@dataclass(frozen=True)
class Unit:
    """One deployment unit: a cluster of workers and the environment of its client.

    Attributes:
        worker: What the cluster's nodes run in.
        client: What clients run in.
        cluster: The cluster.
        store: Where results go.
    """

    worker: WorkerEnvironment
    client: WorkerEnvironment
    cluster: Cluster
    store: Path

    def ask(self, kind: str, client: WorkerEnvironment | None = None, **options: Any) -> dict[str, Any]:
        """Let a client run one job: its rows or the error with its message, and what it was warned of."""
        options = {"kind": kind, "address": self.cluster.address, "store": {"uri": str(self.store / kind)}, **options}
        if kind == "ray":
            options.setdefault("idempotency_scope", "two-environments")
        said = (client or self.client).run(CLIENT, json.dumps(options), **self.cluster.environment)
        assert isinstance(said, dict)
        return said


def make_member(folder: Path, *, client: bool = False, connectors: tuple[str, ...] = ()) -> WorkerEnvironment:
    """A worker's or client's environment with the team's package, stamped with the lock as the docs say."""
    made = make_environment(folder, backend="ray", client=client, connectors=connectors, extra=(TEAM,))
    made.command("-m", "checkmaite_core.deployment", "stamp", "--lock", str(ROOT / "uv.lock"))
    return made
