"""Whole programs: how they are started, what they print, and what is left when they end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

HEAD = """
import os, signal, sys, time
# As from a terminal, also where the tests were started in the background, which ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from checkmaite_core import *

class Outputs(CapabilityOutputs):
    answer: str

class Run(CapabilityRun):
    def extract(self):
        class Answer(Record, table_name="answers"):
            answer: str
        return [Answer(run_uid=self.run_uid, answer=self.outputs.answer)]

class Work(Capability):
    config_class, run_class = CapabilityConfig, Run
    def __init__(self, name, function):
        self.id, self.function = name, function
    def evaluate(self, inputs, config):
        return Outputs(answer=str(self.function()))

def answer(job):
    uid = job.result(60).run_uid
    return job_backend.store.query(f"select answer from answers where run_uid = '{uid}'")["answer"].to_pylist()[0]

folder = Path(sys.argv[1])
job_backend = configure_job_backend(
    "ray-simple",
    address=sys.argv[2],
    analytics_store={"backend": "parquet", "uri": str(folder / "store")},
)

def hold():
    (folder / "pid").write_text(str(os.getpid()))
    (folder / "begun").touch()
    time.sleep(1000)
"""


@pytest.fixture
def program(tmp_path):
    """Write a program, and say how it is to be started."""

    def program(body, address, *, before="", python=(sys.executable,)):
        script = tmp_path / "program.py"
        script.write_text(before + HEAD + textwrap.dedent(body))
        return [*python, str(script), str(tmp_path), address]

    return program


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, **options)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_script_with_a_local_ray_prints_what_it_prints_and_names_the_job_that_ends_with_it(
    program, tmp_path, own_folders, until
):
    done = run(
        program(
            """
            print(answer(submit_capability(Work("greeting", lambda: "hello"))))
            left = submit_capability(Work("left", hold), name="left-behind")
            while left.status != "RUNNING" or not (folder / "begun").exists():
                time.sleep(0.02)
            """,
            "local",
        )
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello\n"
    assert "left-behind (RUNNING)" in done.stderr
    # On a busy machine that the start takes long is said too, at its begin.
    told = [
        line for line in done.stderr.splitlines() if not re.match(r"checkmaite: (starting a local Ray|\.\.\.) ", line)
    ]
    assert len(told) == 2, f"more than the two lines of the warning: {done.stderr}"
    assert not (own_folders / ".ray" / "auth_token").exists(), "a token that everyone can read"
    until(lambda: gone(int((tmp_path / "pid").read_text())), "the end of the job's process")


def test_leaving_with_an_exception_ends_the_jobs_and_shows_the_exception(program, cluster, tmp_path, until):
    done = run(
        program(
            """
            with job_backend:
                left = job_backend.submit(Work("left", hold), name="left-behind")
                while not (folder / "begun").exists():
                    time.sleep(0.02)
                raise RuntimeError("the script is wrong")
            """,
            cluster.address,
        )
    )
    assert done.returncode == 1
    assert "left-behind" in done.stderr
    assert "RuntimeError: the script is wrong" in done.stderr
    until(lambda: gone(int((tmp_path / "pid").read_text())), "the end of the job's process")


def test_a_driver_killed_at_once_leaves_no_job_running(program, cluster, tmp_path, until):
    command = program("""submit_capability(Work("left", hold)).wait()""", cluster.address)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as driver:
        until((tmp_path / "begun").exists, "the job's begin")
        until((tmp_path / "pid").read_text, "its process")
        driver.send_signal(signal.SIGKILL)
    until(lambda: gone(int((tmp_path / "pid").read_text())), "the end of the job's process")


@pytest.mark.parametrize("before", ["", "import ray\n"], ids=["ray-not-imported", "ray-imported-before"])
def test_workers_of_a_driver_under_uv_run_use_its_very_environment(program, cluster, before, tmp_path):
    uv = shutil.which("uv")
    assert uv, "the project's commands need uv"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\nrequires-python = ">=3.11"\n')
    done = run(
        program(
            """
            print(answer(submit_capability(Work("where", lambda: sys.executable))) == sys.executable)
            """,
            cluster.address,
            before=before,
            python=(uv, "run", "--no-sync", "--offline", "--active", "python"),
        ),
        cwd=tmp_path,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
    )
    assert done.stdout == "True\n", done.stderr


def test_an_interrupt_ends_the_wait_and_the_jobs(program, cluster, tmp_path, until):
    command = program(
        """
        with job_backend:
            job_backend.submit(Work("left", hold), name="left-behind")
        """,
        cluster.address,
    )
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        until((tmp_path / "begun").exists, "the job's begin")
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=60)
    assert "left-behind" in errors
    assert "KeyboardInterrupt" in errors
    until(lambda: gone(int((tmp_path / "pid").read_text())), "the end of the job's process")
