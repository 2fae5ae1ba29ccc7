"""``python -m checkmaite_core.deployment``: what it prints and how it ends."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from checkmaite_core.deployment import Environment, NodeEnvironment, describe_environment, read_stamp
from checkmaite_core.deployment.__main__ import main
from checkmaite_core.deployment.commands import Status, node_differences

CLIENT = Environment(
    python="3.11.7",
    platform="linux-x86_64",
    versions={"ray": "2.60.0", "numpy": "2.4.6", "s3fs": "2026.9.0"},
    distributions={"ray": "2.60.0", "numpy": "2.4.6", "s3fs": "2026.9.0", "rich": "15.0.0"},
)


def _like(**versions: str) -> Environment:
    return CLIENT.model_copy(
        update={"versions": CLIENT.versions | versions, "distributions": CLIENT.distributions | versions}
    )


def _written(path: Path, environment: Environment) -> str:
    path.write_text(environment.model_dump_json())
    return str(path)


def test_it_runs_where_there_is_no_command_line(tmp_path: Path) -> None:
    """As in a worker's image; from another folder, so that nothing is found there by chance."""
    shown = subprocess.run(
        [sys.executable, "-m", "checkmaite_core.deployment", "show", "--json"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    environment = Environment.model_validate_json(shown.stdout)
    # Not what this process says of itself: other tests have planted distributions here, and Ray brings some of its own.
    assert (environment.python, environment.lock) == (platform.python_version(), None)
    assert environment.versions["pydantic"] == environment.distributions["pydantic"] == version("pydantic")
    assert {"pytest", "checkmaite-core", "typing-extensions"} <= environment.distributions.keys()
    assert "pip" in environment.tools


def test_what_it_shows_to_people_says_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show"]) == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line)
    here = describe_environment()
    assert rows["pydantic"].strip() == here.versions["pydantic"]
    assert rows["python"].strip() == here.python
    assert "deployment stamp --lock FILE" in rows["lock"]


def test_an_image_is_stamped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "uv.lock").write_text("x")
    assert main(["stamp", "--lock", str(tmp_path / "uv.lock"), "--prefix", str(tmp_path)]) == 0
    stamp = read_stamp(tmp_path)
    assert stamp is not None
    assert capsys.readouterr().out == f"{tmp_path} is stamped with uv.lock, {stamp.digest}\n"
    assert main(["stamp", "--lock", "nowhere.lock"]) == 1
    assert "nowhere.lock cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("worker", "status", "words"),
    [
        (_like(), 0, "the same in all that matters"),
        (_like(rich="14.0"), 0, "1 note:\n"),
        (_like(numpy="2.3.0"), 1, "1 warning:\n"),
        (_like(ray="2.59.0", numpy="2.3.0", rich="14.0"), 1, "1 error, 1 warning, 1 note:\n"),
    ],
)
def test_two_environments_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], worker: Environment, status: int, words: str
) -> None:
    files = [_written(tmp_path / "laptop.json", CLIENT), _written(tmp_path / "image.json", worker)]
    assert main(["diff", *files]) == status
    said = capsys.readouterr().out
    assert words in said
    assert (" image " in said) == (worker != CLIENT)


def test_one_file_is_compared_with_the_environment_that_runs_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = describe_environment(whole=True)
    assert main(["diff", _written(tmp_path / "here.json", here)]) == 0
    older = here.model_copy(update={"versions": here.versions | {"pydantic": "1.10.0"}})
    assert main(["diff", _written(tmp_path / "worker.json", older)]) == 1
    assert 'client: pip install "pydantic==1.10.0"' in capsys.readouterr().out


def test_an_image_can_be_compared_through_a_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "checkmaite_core.deployment", "diff", _written(tmp_path / "client.json", CLIENT)]
    worker = _like(ray="2.59.0").model_dump_json().encode()
    done = subprocess.run([*command, "-"], input=worker, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"2.59.0" in done.stdout


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"\xff\xfe", b'{"python": 3}'])
def test_what_cannot_be_compared_is_told_from_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "worker.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["diff", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"error: {path} " in said.err
    assert "show --json" in said.err


def test_three_files_are_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["diff", "a", "b", "c"])
    assert caught.value.code == 2
    assert "two environments" in capsys.readouterr().err


def test_nodes_that_are_alike_share_a_table() -> None:
    stale = _like(ray="2.59.0")
    nodes = [
        NodeEnvironment("1", "head", CLIENT),
        NodeEnvironment("2", "gpu-1", stale),
        NodeEnvironment("3", "gpu-2", stale),
    ]
    text, status = node_differences(CLIENT, nodes)
    assert status is Status.DIFFERENT
    assert "head: the same in all that matters" in text.splitlines()
    assert "gpu-1, gpu-2: 1 error:" in text.splitlines()
    assert text.count("2.59.0") == 2  # the version, and what to type


def test_a_node_without_the_stores_connector_differs() -> None:
    bare = CLIENT.model_copy(
        update={"versions": {name: version for name, version in CLIENT.versions.items() if name != "s3fs"}}
    )
    bare = bare.model_copy(update={"distributions": bare.versions})
    text, status = node_differences(CLIENT, [NodeEnvironment("1", "cpu-1", bare)], needed=["s3fs"])
    assert status is Status.DIFFERENT
    assert 'image: pip install "s3fs==2026.9.0"' in text
    assert node_differences(CLIENT, [NodeEnvironment("1", "cpu-1", bare)])[1] is Status.SAME


def test_a_node_that_could_not_be_looked_at_is_neither_the_same_nor_hides_what_differs() -> None:
    unknown = NodeEnvironment("1", "gpu-1", None, "no answer within 10 s")
    text, status = node_differences(CLIENT, [unknown, NodeEnvironment("2", "head", CLIENT)])
    assert status is Status.UNKNOWN
    assert "gpu-1: could not be looked at: no answer within 10 s" in text
    assert node_differences(CLIENT, [unknown, NodeEnvironment("2", "x", _like(ray="1"))])[1] is Status.DIFFERENT
    assert node_differences(CLIENT, [])[1] is Status.UNKNOWN
