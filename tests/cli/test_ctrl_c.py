"""Ctrl-C in the demo, whatever it is doing: a message, the truth about the jobs, and no trace."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = pytest.mark.timeout(240)


def assert_a_quiet_end(running: Any) -> None:
    started = running.children()
    status = running.finish()
    assert status == 130, running.screen
    for trace in ("Traceback", "KeyboardInterrupt", "Exception ignored", "SystemExit", "raylet"):
        assert trace not in running.screen
    running.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "the end of its processes")
    if b"\x1b[?25l" in running.raw:
        assert running.raw.rindex(b"\x1b[?25h") > running.raw.rindex(b"\x1b[?25l"), "the cursor stays hidden"


def stored(run: Run, folder: Path) -> int:
    """How many runs the store of the demo has."""
    answer = run(
        "query", "--store", "checkmaite-demo", "--format", "json", "SELECT count(*) AS n FROM runs", folder=folder
    )
    if "there is no analytics store" in answer.stderr:
        return 0
    return int(json.loads(answer.stdout)[0]["n"])


def test_at_the_very_start(start: Callable[..., Any], tmp_path: Path) -> None:
    demo = start("demo", folder=tmp_path)
    demo.wait_for("a local Ray starts")
    demo.press_ctrl_c()
    assert_a_quiet_end(demo)
    assert "Interrupted before any job was submitted; nothing was stored." in demo.screen
    assert list(tmp_path.iterdir()) == []


def test_while_ray_starts_nothing_of_it_is_left(start: Callable[..., Any], tmp_path: Path) -> None:
    demo = start("demo", folder=tmp_path)
    demo.wait_until(lambda: "gcs_server" in demo.children().values(), "Ray's first process")
    demo.press_ctrl_c()
    assert_a_quiet_end(demo)
    assert "Interrupted before any job was submitted; nothing was stored." in demo.screen
    assert list(tmp_path.iterdir()) == []


def test_while_jobs_run_it_ends_them_and_says_what_is_stored(
    start: Callable[..., Any], run: Run, tmp_path: Path
) -> None:
    demo = start("demo", folder=tmp_path)
    demo.wait_for(r"[2-9]/37")
    demo.press_ctrl_c()
    demo.wait_for("Stopping: ")
    assert_a_quiet_end(demo)
    said = re.search(r"Interrupted\. (\d+) of 37 jobs completed; their results are in the store\.", demo.screen)
    assert said
    # On a busy machine it leaves before the last of them could be asked; one may then have been stored after all.
    assert re.search(r"ended without results|end with this process", demo.screen)
    settled = "end with this process" not in demo.screen
    assert 2 <= int(said[1]) <= stored(run, tmp_path) < 37
    assert int(said[1]) == stored(run, tmp_path) or not settled
    assert "see them:      checkmaite runs --store checkmaite-demo\n" in demo.screen
    assert "run it again:  checkmaite demo\n" in demo.screen


def test_a_second_one_leaves_at_once_also_without_a_terminal(
    start: Callable[..., Any], run: Run, tmp_path: Path
) -> None:
    demo = start("demo", "--store", "here", folder=tmp_path, terminal=False)
    demo.wait_for(r"\d finished, ")
    demo.press_ctrl_c()
    demo.wait_for("Ctrl-C again leaves")
    demo.press_ctrl_c()
    assert_a_quiet_end(demo)
    assert re.search(r"Interrupted\. (None|\d+) of (the )?37 jobs", demo.screen)
    assert "run it again:  checkmaite demo --store here\n" in demo.screen
    assert "\x1b" not in demo.screen


def test_jobs_that_another_demo_has_submitted_go_on(start: Callable[..., Any], run: Run, tmp_path: Path) -> None:
    first = start("demo", folder=tmp_path)
    stopped: set[int] = set()

    def all_workers_are_stopped() -> bool:
        for pid in first.offspring("ray::run_job"):
            os.kill(pid, signal.SIGSTOP)
            stopped.add(pid)
        return len(stopped) == os.cpu_count()

    first.wait_until(all_workers_are_stopped, "a job on every CPU")
    second = start("demo", folder=tmp_path)
    second.wait_for(r"\d/37")
    second.press_ctrl_c()
    assert second.finish() == 130, second.screen
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert "Stopping: 0 running and 0 pending jobs are being cancelled." in second.screen
    assert re.search(r"Interrupted\. .* are left to the process that submitted them\.", second.screen)
    assert first.finish() == 0, first.screen
    assert stored(run, tmp_path) == 37


@pytest.mark.soak
def test_once_all_jobs_have_completed_everything_is_stored(start: Callable[..., Any], run: Run, tmp_path: Path) -> None:
    demo = start("demo", "--quick", folder=tmp_path)
    demo.wait_for("Stopping Ray")
    demo.press_ctrl_c()
    assert_a_quiet_end(demo)
    assert "Interrupted. 7 of 7 jobs completed; their results are in the store.\n" in demo.screen
    assert stored(run, tmp_path) == 7
