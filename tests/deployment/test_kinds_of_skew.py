"""Each way that client and worker can differ: what stops a job, what is only said, and what is nobody's business."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from deployment_unit import TEAM, Unit, make_member
from worker_environments import WorkerEnvironment, make_environment

pytestmark = pytest.mark.soak


@pytest.fixture
def client(unit: Unit, tmp_path: Path) -> WorkerEnvironment:
    """A client of its own, so that a test can change it."""
    return make_member(tmp_path / "client", client=True)


def line_of(distribution: str, message: str) -> list[str]:
    (line,) = [line for line in message.splitlines() if distribution in line.split()[:2]]
    return line.split()


@pytest.mark.parametrize(
    ("distribution", "version"),
    [
        ("ray", "2.59.0"),
        ("pydantic", "2.11.0"),
        ("checkmaite-core", "0.2.0"),
        ("checkmaite-analytics-store", "0.2.0"),
    ],
)
def test_a_version_that_must_match_refuses_the_client(
    unit: Unit, client: WorkerEnvironment, distribution: str, version: str
) -> None:
    right = client.distributions()[distribution]
    client.skew(distribution, version)
    said = unit.ask("ray", client)
    assert said["error"] == "VersionSkewError"
    assert line_of(distribution, said["message"])[:4] == ["error", distribution, version, right]


def test_another_version_of_the_capability_fails_its_job_with_the_table(unit: Unit, client: WorkerEnvironment) -> None:
    client.skew("team-capability", "0.9.0")
    said = unit.ask("ray", client)
    assert said["error"] == "JobFailedError"
    assert "VersionSkewError" in said["message"]
    assert line_of("team-capability", said["message"])[:4] == ["error", "team-capability", "0.9.0", "1.0.0"]


@pytest.mark.parametrize("distribution", ["pyarrow", "fsspec"])
def test_a_version_that_should_match_is_said_and_the_job_runs(
    unit: Unit, client: WorkerEnvironment, distribution: str
) -> None:
    client.skew(distribution, "1.0.0")
    said = unit.ask("ray-simple", client)
    assert {row["prefix"] for row in said["rows"]} == {str(unit.worker.prefix)}
    (warned,) = said["warned"]
    assert line_of(distribution, warned)[:3] == ["warning", distribution, "1.0.0"]


def test_another_patch_of_ours_is_nobodys_business(unit: Unit, client: WorkerEnvironment) -> None:
    client.skew("checkmaite-core", "0.1.9")
    said = unit.ask("ray-simple", client)
    assert (bool(said["rows"]), said["warned"]) == (True, [])


def test_one_version_of_the_capability_with_two_texts_is_caught(
    unit: Unit, client: WorkerEnvironment, tmp_path: Path
) -> None:
    shutil.copytree(TEAM, tmp_path / "mended")
    code = tmp_path / "mended" / "src" / "team_capability" / "__init__.py"
    code.write_text(code.read_text().replace('"hello"', '"good day"'))
    client.remove("team-capability")
    client.install(tmp_path / "mended")
    said = unit.ask("ray", client)
    assert said["error"] == "JobFailedError"
    assert "VersionSkewError" in said["message"]
    level, name, ours, our_text, theirs, their_text, *_ = line_of("team-capability", said["message"])
    assert (level, name, ours, theirs) == ("error", "team-capability", "1.0.0", "1.0.0")
    assert our_text != their_text


def test_two_locks_are_said_and_the_job_runs(unit: Unit, client: WorkerEnvironment, tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("# of another day\n")
    client.command("-m", "checkmaite_core.deployment", "stamp", "--lock", str(tmp_path / "uv.lock"))
    said = unit.ask("ray-simple", client)
    assert said["rows"]
    (warned,) = said["warned"]
    assert line_of("(lock)", warned)[0] == "warning"


def test_a_missing_stamp_is_a_note_and_warns_of_nothing(unit: Unit, client: WorkerEnvironment) -> None:
    (client.prefix / "share" / "checkmaite" / "deployment.json").unlink()
    said = unit.ask("ray-simple", client)
    assert (bool(said["rows"]), said["warned"]) == (True, [])


@pytest.mark.parametrize(("policy", "warnings"), [("warn", 1), ("ignore", 0)])
def test_a_policy_lets_a_job_run_in_spite_of_an_error(
    unit: Unit, client: WorkerEnvironment, policy: str, warnings: int
) -> None:
    client.skew("pydantic", "2.11.0")
    said = unit.ask("ray-simple", client, version_skew=policy)
    assert said["rows"]
    assert len([one for one in said["warned"] if "pydantic" in one]) == warnings


def test_another_minor_version_of_python_is_caught_before_anything_is_sent(unit: Unit, tmp_path: Path) -> None:
    other = shutil.which("python3.12") or shutil.which("python3.13")
    if other is None:
        pytest.skip("there is no other supported Python on PATH, so that it is not known what a client of one is told")
    client = make_environment(tmp_path / "client", backend="ray", client=True, extra=(TEAM,), python=Path(other))
    said = unit.ask("ray", client)
    assert said["error"] == "ClusterMismatchError"
    assert "Python" in said["message"]


def test_a_worker_without_the_team_s_package_names_it(unit: Unit, client: WorkerEnvironment) -> None:
    unit.worker.remove("team-capability")
    try:
        said = unit.ask("ray-simple", client)
    finally:
        unit.worker.install(TEAM)
    assert "error" in said
    assert "team_capability" in said["message"]
