"""Processes as they are: users without a name, long and foreign paths, limits, proxies, strict warnings, forks."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
import time

import pytest

from checkmaite_ray_simple import preconditions

HEAD = """
import os, sys, time
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
    uid = job.result(100).run_uid
    return job_backend.store.query(f"select answer from answers where run_uid = '{uid}'")["answer"].to_pylist()[0]

folder = Path(os.environ["FOLDER"])

def configure(kind="ray-simple", address="local", **options):
    if kind == "ray":
        options = {"idempotency_scope": "mine", **options}
    store = {"backend": "parquet", "uri": str(folder / "store")}
    if address == "local":
        options["num_cpus"] = 2
    return configure_job_backend(kind, address=address, analytics_store=store, **options)
"""


@pytest.fixture
def program(tmp_path):
    """Run a program in a process of its own, with these variables (None takes one away); the folder is everybody's."""
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)

    def program(body, *, before=(), python=sys.executable, options=(), cwd=None, **variables):
        script = tmp_path / "program.py"
        script.write_text(HEAD + textwrap.dedent(body))
        named = {**os.environ, "FOLDER": str(tmp_path), **variables}
        return subprocess.run(
            [*before, str(python), *options, str(script)],
            env={name: value for name, value in named.items() if value is not None},
            cwd=cwd or tmp_path,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=110,
            check=False,
        )

    return program


REFUSED = """
begun = time.monotonic()
try:
    configure({arguments})
except CheckmaiteError as error:
    print(type(error).__name__, f"{{time.monotonic() - begun:.2f}}", ascii(str(error)))
import subprocess
print(subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "comm="], capture_output=True, text=True).stdout.split())
"""


def refusal(done):
    """What a program was refused, and that it has started nothing."""
    assert done.returncode == 0, done.stderr
    told, children = done.stdout.splitlines()
    assert children == "['ps']", "nothing was started"
    kind, took, text = told.split(" ", 2)
    # A budget of two seconds on a machine that has nothing else to do; most of it is the import of Ray.
    assert float(took) < 10
    return kind, text.encode().decode("unicode_escape")


def as_nobody():
    """The command that runs another as a user without an entry in the password database, who may read all there is."""
    reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", *reading]


@pytest.mark.parametrize(
    ("kind", "home"), [("ray", None), ("ray-simple", "/proc")], ids=["ray-without-home", "simple-with-unwritable-home"]
)
def test_a_user_without_a_name_and_a_home_runs_jobs(program, tmp_path, own_folders, kind, home):
    temporary = own_folders / f"nobody-{kind}-{home is None:d}"
    temporary.mkdir(mode=0o777)
    temporary.chmod(0o777)
    own_folders.chmod(0o755)
    done = program(
        f"""
        with configure({kind!r}) as job_backend:
            print(answer(job_backend.submit(Work("who", os.getuid))))
        """,
        before=as_nobody(),
        HOME=home,
        XDG_STATE_HOME=None,
        USER=None,
        LOGNAME=None,
        RAY_TMPDIR=str(temporary),
    )
    assert done.stdout == "12345\n", done.stderr


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_temporary_folder_too_long_for_sockets_is_refused_with_its_limit(program, tmp_path, variable):
    long = tmp_path / ("x" * 60)
    long.mkdir()
    kind, text = refusal(program(REFUSED.format(arguments=""), **{"RAY_TMPDIR": None, variable: str(long)}))
    assert kind == "ConfigurationError"
    assert f"(from {variable}), {long}/ray, is " in text
    assert re.search(r"may have 107 bytes, which leaves \d\d for " + variable, text)
    assert "Type: export RAY_TMPDIR=/tmp" in text


def test_the_limit_is_where_ray_itself_refuses():
    from ray._private.utils import validate_socket_filepath

    left = 107 - len(os.path.join("/ray", preconditions._SOCKET.format(pid=os.getpid())))
    for length in (left, left + 1):
        base = "/" + "x" * (length - 1)
        socket = os.path.join(base, "ray", preconditions._SOCKET.format(pid=os.getpid()))
        if length == left:
            validate_socket_filepath(socket)
        else:
            with pytest.raises(OSError, match="AF_UNIX path length"):
                validate_socket_filepath(socket)


def test_a_temporary_folder_that_cannot_be_written_to_is_refused(program):
    kind, text = refusal(program(REFUSED.format(arguments=""), RAY_TMPDIR="/proc/nowhere"))
    assert kind == "ConfigurationError"
    assert "(from RAY_TMPDIR), /proc/nowhere/ray, cannot be written to by user" in text


@pytest.fixture
def foreign(tmp_path):
    """A folder whose name is not UTF-8."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    return os.fsdecode(folder)


def test_a_current_directory_that_is_not_utf8_is_refused(program, foreign):
    kind, text = refusal(program(REFUSED.format(arguments=""), cwd=foreign))
    assert kind == "ConfigurationError"
    assert "the current directory, b'" in text
    assert "caf\\xe9', is not UTF-8" in text


def test_code_at_a_path_that_is_not_utf8_is_refused(program, foreign):
    kind, text = refusal(program(REFUSED.format(arguments=""), PYTHONPATH=foreign))
    assert kind == "ConfigurationError"
    assert "an entry of sys.path, b'" in text


@pytest.mark.parametrize("what", ["working_dir", "py_modules"])
def test_code_that_travels_from_a_path_that_is_not_utf8_is_refused_by_name(program, foreign, what):
    given = "os.environ['FOREIGN']" if what == "working_dir" else "[os.environ['FOREIGN']]"
    kind, text = refusal(program(REFUSED.format(arguments=f"runtime_env={{'{what}': {given}}}"), FOREIGN=foreign))
    assert kind == "ConfigurationError"
    assert f"runtime_env['{what}'], b'" in text
    assert "caf\\xe9', is not UTF-8" in text


def test_a_left_over_address_is_named_where_it_is_used(program):
    kind, text = refusal(program(REFUSED.format(arguments='address="auto"'), RAY_ADDRESS="127.0.0.1:1"))
    assert kind == "ClusterUnreachableError"
    assert "127.0.0.1:1 (from RAY_ADDRESS)" in text


def test_few_files_a_proxy_strict_warnings_and_a_left_over_address_stop_nothing(program):
    done = program(
        """
        import resource, warnings
        with configure() as job_backend:
            assert str(job_backend._connection.target) == "local", "RAY_ADDRESS is not joined"
            job_backend._maintenance._failure = "planted"
            job = job_backend.submit(Work("limit", lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
            print(int(answer(job)) > 256, resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256)
        """,
        before=["bash", "-c", 'ulimit -S -n 256; exec "$0" "$@"'],
        RAY_ADDRESS="127.0.0.1:1",
        PYTHONWARNINGS="error",
        **dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    )
    assert done.stdout == "True True\n", done.stderr
    assert done.returncode == 0
    told = [line for line in done.stderr.splitlines() if line.startswith("StoreMaintenanceWarning")]
    assert len(told) == 1, done.stderr


def test_a_hard_limit_of_few_files_is_said_with_what_to_type(tmp_path):
    body = "from checkmaite_ray_simple.preconditions import many_files\nwith many_files(): pass"
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 256; exec "$0" -c "$1"', sys.executable, body],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a process may open 256 files here" in done.stderr
    assert "Type: ulimit -n 65536 before Python starts" in done.stderr


def test_the_limit_is_raised_for_the_start_alone():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    try:
        with preconditions.many_files():
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2048
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 2048
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


FORK = """
def hold():
    while not (folder / "go").exists():
        time.sleep(0.02)
    return "held"

job_backend = configure({kind!r})
done = job_backend.submit(Work("done", lambda: "before"))
assert answer(done) == "before"
job = job_backend.submit(Work("held", hold))
group = job_backend.submit_all([{{"capability": Work("group", hold)}}])

def child():
    import asyncio
    async def awaited():
        await job
    asked = dict(
        submit=lambda: job_backend.submit(Work("child", hold)),
        submit_all=lambda: job_backend.submit_all([{{"capability": Work("child", hold)}}]),
        status=lambda: job.status, progress=lambda: job.progress, failure=lambda: job.failure, view=job.view,
        wait=job.wait, result=job.result, exception=job.exception, cancel=job.cancel,
        callback=lambda: job.add_done_callback(print), awaited=lambda: asyncio.run(awaited()),
        group_wait=group.wait, group_results=group.results, group_counts=group.counts, group_cancel=group.cancel,
        group_first=lambda: next(group.as_completed()),
        job=lambda: job_backend.job(job.job_id), jobs=job_backend.jobs, environments=job_backend.environments,
        preflight=job_backend.preflight, get_job=lambda: get_job(job.job_id), list_jobs=list_jobs,
        configure=lambda: configure({kind!r}, max_retries=0),
    )
    for name, call in asked.items():
        try:
            print("answered", name, call())
        except ConfigurationError as error:
            if "a fork of the process" not in str(error) or "spawn" not in str(error):
                print("other", name, error)
        except Exception as error:
            print("raised", name, repr(error))
    repr(job), repr(group)
    assert done.status == "COMPLETED" and done.result(0).event_id == done.job_id, "what has ended can still be told"
    job_backend.shutdown()

pid = os.fork()
if pid == 0:
    child()
    sys.exit(7)
print("child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
(folder / "go").touch()
print(answer(job), answer(group[0]))
job_backend.shutdown()
"""


@pytest.mark.parametrize("kind", ["ray-simple", "ray"])
def test_in_a_fork_everything_says_what_submit_says_and_its_end_leaves_the_parents_ray_alone(program, kind):
    done = program(FORK.format(kind=kind))
    assert done.stdout == "child ended with 7\nheld held\n", done.stdout + done.stderr


def test_an_environment_and_a_project_at_a_path_with_spaces_and_accents_run_jobs(program, tmp_path):
    prefix = tmp_path / "été à Paris (1)"
    shutil.copytree(sys.prefix, prefix / "venv", copy_function=os.link, symlinks=True)
    project = prefix / "mes modèles"
    project.mkdir()
    (project / "mine.py").write_text('VALUE = "mine"\n')
    done = program(
        """
        import sys
        sys.path.insert(0, os.getcwd())
        def look():
            import mine, ray
            return (mine.VALUE, os.path.realpath(ray.__file__))
        with configure(runtime_env={"working_dir": os.getcwd()}) as job_backend:
            print(answer(job_backend.submit(Work("look", look))))
        """,
        python=prefix / "venv" / "bin" / "python",
        cwd=project,
        VIRTUAL_ENV=None,
    )
    assert done.stdout.startswith(f"('mine', '{os.path.realpath(prefix)}/venv/"), done.stderr


SLOW = """
import ray._private.services as services
from checkmaite_ray_simple import connection
connection._VERY_SLOW_START = {told_after}
for name in ("RAYLET_EXECUTABLE", "GCS_SERVER_EXECUTABLE"):
    real = getattr(services, name)
    shim = folder / name
    shim.write_text(f'#!/bin/sh\\nsleep {delay}\\nexec "{{real}}" "$@"\\n')
    shim.chmod(0o755)
    setattr(services, name, str(shim))
with configure() as job_backend:
    print(answer(job_backend.submit(Work("late", lambda: "late"))))
"""


@pytest.mark.parametrize(
    ("delay", "told_after"), [(2, 1), pytest.param(40, 10, marks=pytest.mark.soak)], ids=["quick", "as-it-is"]
)
def test_a_slow_start_is_waited_for_and_said(program, delay, told_after):
    begun = time.monotonic()
    done = program(SLOW.format(delay=delay, told_after=told_after))
    assert done.stdout == "late\n", done.stderr
    assert time.monotonic() - begun > 2 * delay
    assert f"checkmaite: starting a local Ray takes more than {told_after} s ..." in done.stderr
    assert "checkmaite: ... it took " in done.stderr
