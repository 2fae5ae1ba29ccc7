"""Workers in one environment, their client in another, both from one lock; and one version skewed on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
from deployment_unit import Unit

BACKENDS = ["ray", "ray-simple"]


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_job_runs_in_the_workers_environment_and_its_client_reads_the_rows(unit: Unit, kind: str) -> None:
    said = unit.ask(kind)
    assert said == {"rows": [{"prefix": str(unit.worker.prefix), "greeting": "hello"}], "warned": []}


def test_each_environment_holds_its_own_side_only(unit: Unit) -> None:
    worker, client = unit.worker.distributions(), unit.client.distributions()
    assert {"duckdb", "typer", "checkmaite-cli"} <= client.keys() - worker.keys()
    assert {"pip", "virtualenv"} <= worker.keys() - client.keys()
    shared = worker.keys() & client.keys()
    assert {"ray", "pydantic", "pyarrow", "checkmaite-core", "checkmaite-ray", "team-capability"} <= shared
    assert {name: worker[name] for name in shared} == {name: client[name] for name in shared}


def test_both_are_stamped_with_the_same_lock(unit: Unit, tmp_path: Path) -> None:
    worker, client = (tmp_path / name for name in ("worker.json", "client.json"))
    for environment, path in ((unit.worker, worker), (unit.client, client)):
        path.write_text(environment.command("-m", "checkmaite_core.deployment", "show", "--json"))
    told = unit.client.command("-m", "checkmaite_core.deployment", "diff", str(client), str(worker))
    assert "error" not in told
    assert "(lock)" not in told
    assert '"lock":"sha256:' in client.read_text().replace(" ", "")


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_client_that_was_changed_alone_is_told_what_differs_and_what_to_type(unit: Unit, kind: str) -> None:
    right = unit.client.distributions()["pydantic"]
    unit.client.skew("pydantic", "2.11.0")
    try:
        said = unit.ask(kind)
    finally:
        unit.client.skew("pydantic", right)
    assert said["error"] == "VersionSkewError"
    (line,) = [line for line in said["message"].splitlines() if "pydantic" in line]
    assert ["error", "pydantic", "2.11.0", right] == line.split()[:4]
    assert f'client: pip install "pydantic=={right}"' in line
