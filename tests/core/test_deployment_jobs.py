"""A job on a worker that is not as the client is: what is refused, and how what cannot be read is explained."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import py_compile
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core import AnalyticsStoreConfig, DatasetRef, FailureKind, FailureRecord, JobStatus, VersionSkewWarning
from checkmaite_core.code import loaded
from checkmaite_core.context import RunMonitor
from checkmaite_core.deployment import SkewPolicy, code, environment
from checkmaite_core.errors import VersionSkewError
from checkmaite_core.execution import execute, maintain
from checkmaite_core.identity import run_key
from checkmaite_core.outcome import Outcome
from checkmaite_core.submission import Submission, WorkOrder, prepare_submission
from checkmaite_core.testing import installed_plugins

STORE = AnalyticsStoreConfig(backend="memory", uri=f"memory://{uuid.uuid4()}")
CAPABILITY = """
from checkmaite_core.testing._bundles import Identified, make_record

class Brightness:
    id = "brightness"
    def run(self, **_):
        return Identified("run-1", [make_record("scores", "run-1", score={score})])
"""


class Idle(RunMonitor):
    """Nobody watches."""

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        pass

    def cancel_requested(self) -> bool:
        return False

    def report_waiting(self, reason: str | None) -> None:
        pass


class Machine:
    """This process as a machine with other code on it: the client, or a worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, text: str, module: str = "lighting_checks") -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{module}.py").write_text(text)

    def __enter__(self) -> None:
        sys.path.insert(0, str(self.folder))
        self._forget()

    def __exit__(self, *_: object) -> None:
        sys.path.remove(str(self.folder))
        self._forget()

    def _forget(self) -> None:
        """Make it a new process: nothing of it has been loaded."""
        for name in [name for name in sys.modules if name.startswith("lighting")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        code._loaded.clear()
        code._before_loading.clear()
        loaded._loaded.clear()
        loaded._before_loading.clear()


@pytest.fixture(autouse=True)
def _plugins() -> Iterator[None]:
    with installed_plugins():
        yield


@pytest.fixture
def client(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "client")
    machine.has(CAPABILITY.format(score=1.0))
    return machine


@pytest.fixture
def worker(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "worker")
    machine.folder.mkdir()
    return machine


def _sent(
    client: Machine, *, policy: SkewPolicy = "error", data: bool = False, **inputs: Any
) -> tuple[Submission, bytes]:
    """What the client sends; with an input of a class of its own, if asked for."""
    with client:
        if data:
            client.has("class Data:\n    id = 'digits'\n", module="lighting_data")
            inputs["datasets"] = [importlib.import_module("lighting_data").Data()]
        work = {"capability": importlib.import_module("lighting_checks").Brightness(), **inputs}
        submission = prepare_submission(work, backend="test", store=STORE, version_skew=policy)
        return submission, submission.pickle(pickle.dumps)


def _ends(worker: Machine, order: WorkOrder, payload: bytes) -> Outcome:
    with worker:
        outcome = execute(order, payload, loads=pickle.loads, monitor=Idle())
    assert isinstance(outcome, Outcome)
    return outcome


def _failure(outcome: Outcome, error: str) -> FailureRecord:
    assert outcome.status is JobStatus.FAILED
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.error_type) == (
        FailureKind.DEPLOYMENT,
        f"checkmaite_core.errors.{error}",
    )
    return outcome.failure


def _of_another_pydantic(order: WorkOrder) -> WorkOrder:
    versions = order.environment.versions | {"pydantic": "1.10.0"}
    return order.model_copy(update={"environment": order.environment.model_copy(update={"versions": versions})})


def test_the_same_code_runs(client: Machine, worker: Machine) -> None:
    submission, payload = _sent(client)
    worker.has(CAPABILITY.format(score=1.0))
    assert _ends(worker, submission.order, payload).status is JobStatus.COMPLETED


def test_another_version_of_the_capability_is_refused_and_not_run(client: Machine, worker: Machine) -> None:
    submission, payload = _sent(client)
    worker.has("raise SystemExit('it was imported')\n")
    failure = _failure(_ends(worker, submission.order, payload), "VersionSkewError")
    assert "lighting_checks defines the capability: another build" in failure.message
    assert "configure_job_backend(...) again" in failure.message


def test_a_worker_that_has_loaded_the_code_before_it_was_edited_does_not_run_it_under_the_new_ones_name(
    client: Machine, worker: Machine
) -> None:
    """A process runs many jobs and imports a module once."""
    before, after = CAPABILITY.format(score=1.0), CAPABILITY.format(score=0.25)
    worker.has(before)
    first, second, late = _sent(client), _sent(client), _sent(client)
    client.has(after)
    third = _sent(client)
    with worker:
        ends = []
        for submission, payload in (first, second, third):
            ends.append(execute(submission.order, payload, loads=pickle.loads, monitor=Idle()))
            worker.has(after)
            importlib.invalidate_caches()
    assert [end.status for end in ends] == [JobStatus.COMPLETED, JobStatus.COMPLETED, JobStatus.FAILED]
    assert "lighting_checks defines the capability" in _failure(ends[2], "VersionSkewError").message
    # In a new process it is run, and what was sent before is not.
    again = _sent(client)
    assert _ends(worker, again[0].order, again[1]).status is JobStatus.COMPLETED
    _failure(_ends(worker, late[0].order, late[1]), "VersionSkewError")


HELPED = CAPABILITY.replace("score={score}", "score=lighting_helper.SCORE") + "\nimport lighting_helper\n"


def test_a_worker_that_has_loaded_a_helper_before_it_was_edited_does_not_run_work_of_the_new_one(
    client: Machine, worker: Machine
) -> None:
    """The capability's own module is the same on both sides."""
    for machine in (client, worker):
        machine.has(HELPED)
        machine.has("from lighting_deep import SCORE\n", module="lighting_helper")
        machine.has("SCORE = 1.0\n", module="lighting_deep")
    first = _sent(client)
    client.has("SCORE = 0.25\n", module="lighting_deep")
    second = _sent(client)
    with worker:
        one = execute(first[0].order, first[1], loads=pickle.loads, monitor=Idle())
        assert isinstance(one, Outcome)
        assert one.status is JobStatus.COMPLETED, one.failure.message
        worker.has("SCORE = 0.25\n", module="lighting_deep")
        importlib.invalidate_caches()
        refused = execute(second[0].order, second[1], loads=pickle.loads, monitor=Idle())
    assert isinstance(refused, Outcome)
    message = _failure(refused, "VersionSkewError").message
    assert "the job can reach lighting_deep: another build, or loaded before it was edited" in message
    third = _sent(client)
    assert _ends(worker, third[0].order, third[1]).status is JobStatus.COMPLETED


def test_bytecode_that_python_takes_for_current_is_not_run_for_a_file_edited_within_the_second(
    client: Machine, worker: Machine
) -> None:
    for machine in (client, worker):
        machine.has(HELPED)
        machine.has("SCORE = 0.1\n", module="lighting_helper")
    old = worker.folder / "lighting_helper.py"
    os.utime(old, ns=(10**18, 10**18))
    compiled = Path(py_compile.compile(str(old), doraise=True) or "")
    os.utime(compiled, ns=(10**18 + 10, 10**18 + 10))
    for machine in (client, worker):
        machine.has("SCORE = 0.2\n", module="lighting_helper")
    os.utime(old, ns=(10**18 + 10**6, 10**18 + 10**6))  # a millisecond later, and as long
    submission, payload = _sent(client)
    outcome = _ends(worker, submission.order, payload)
    assert outcome.status is JobStatus.COMPLETED
    assert outcome.reference is not None
    assert not compiled.exists() or compiled.stat().st_mtime_ns > 10**18 + 10**6


def test_a_capability_of_a_namespace_package_runs_and_is_compared(client: Machine, worker: Machine) -> None:
    """The look for its code raised a KeyError on the worker, which has not imported its parents."""
    module = "lighting_space.deep.checks"
    for machine, score in ((client, 1.0), (worker, 1.0)):
        (machine.folder / "lighting_space" / "deep").mkdir(parents=True)
        machine.has(CAPABILITY.format(score=score), module=module.replace(".", "/"))

    def sent() -> tuple[WorkOrder, bytes]:
        with client:
            work = {"capability": importlib.import_module(module).Brightness()}
            submission = prepare_submission(work, backend="test", store=STORE)
            return submission.order, submission.pickle(pickle.dumps)

    assert _ends(worker, *sent()).status is JobStatus.COMPLETED
    worker.has(CAPABILITY.format(score=0.5), module=module.replace(".", "/"))
    assert f"{module} defines the capability" in _failure(_ends(worker, *sent()), "VersionSkewError").message


def test_comments_in_a_helper_make_no_difference(client: Machine, worker: Machine) -> None:
    for machine, comment in ((client, ""), (worker, "# Of the image.\n")):
        machine.has(HELPED)
        machine.has(f"{comment}SCORE = 1.0\n", module="lighting_helper")
    submission, payload = _sent(client)
    assert _ends(worker, submission.order, payload).status is JobStatus.COMPLETED


def test_what_a_large_project_can_reach_travels_small(client: Machine) -> None:
    imports = "".join(f"import lighting_{number}\n" for number in range(500))
    client.has(CAPABILITY.format(score=1.0) + imports)
    for number in range(500):
        client.has(f"VALUE = {number}\n", module=f"lighting_{number}")
    submission, _ = _sent(client)
    assert len(submission.order.environment.model_dump_json()) < 12_000


def test_a_module_that_is_loaded_anew_is_what_it_was_made_from(client: Machine) -> None:
    """As in a notebook, where client and worker may be one process."""
    with client:
        for score in (1.0, 0.25):
            client.has(CAPABILITY.format(score=score))
            importlib.invalidate_caches()
            loaded = importlib.reload(importlib.import_module("lighting_checks"))
            submission = prepare_submission({"capability": loaded.Brightness()}, backend="test", store=STORE)
            payload = submission.pickle(pickle.dumps)
            outcome = execute(submission.order, payload, loads=pickle.loads, monitor=Idle())
            assert outcome.status is JobStatus.COMPLETED, outcome.failure


def test_what_the_policy_is_decides_on_the_worker(client: Machine, worker: Machine) -> None:
    worker.has(CAPABILITY.format(score=1.0))
    submission, payload = _sent(client)
    failure = _failure(_ends(worker, _of_another_pydantic(submission.order), payload), "VersionSkewError")
    assert 'version_skew="warn"' in failure.message
    warned, payload = _sent(client, policy="warn")
    with pytest.warns(VersionSkewWarning, match="pydantic"):
        assert _ends(worker, _of_another_pydantic(warned.order), payload).status is JobStatus.COMPLETED
    ignored, payload = _sent(client, policy="ignore")
    assert _ends(worker, _of_another_pydantic(ignored.order), payload).status is JobStatus.COMPLETED


def test_a_worker_that_cannot_tell_what_it_is_refuses_unless_it_need_not_look(
    client: Machine, worker: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.has(CAPABILITY.format(score=1.0))
    strict, ignoring = _sent(client), _sent(client, policy="ignore")
    (worker.folder / "share" / "checkmaite").mkdir(parents=True)
    (worker.folder / "share" / "checkmaite" / "deployment.json").write_text("not a stamp")
    monkeypatch.setattr(sys, "prefix", str(worker.folder))
    for cached in (environment._base_environment, environment._described):
        cached.cache_clear()  # nothing wrong is kept: describing fails
    failure = _failure(_ends(worker, strict[0].order, strict[1]), "DeploymentError")
    assert "deployment.json cannot be read" in failure.message
    assert _ends(worker, ignoring[0].order, ignoring[1]).status is JobStatus.COMPLETED


def test_the_store_is_put_in_order_by_the_same_policy(client: Machine) -> None:
    refused = maintain(_of_another_pydantic(_sent(client)[0].order), at_least=1)
    assert refused is not None
    assert refused.kind is FailureKind.DEPLOYMENT
    assert maintain(_of_another_pydantic(_sent(client, policy="ignore")[0].order), at_least=1) is None


def test_the_store_is_put_in_order_whatever_became_of_the_jobs_own_code(client: Machine, worker: Machine) -> None:
    order = _sent(client)[0].order
    worker.has(CAPABILITY.format(score=0.5))
    with worker:
        assert maintain(order, at_least=1) is None


def test_the_policy_makes_no_other_work(client: Machine) -> None:
    with client:
        work = {"capability": importlib.import_module("lighting_checks").Brightness()}
        made = [
            prepare_submission(work, backend="test", store=STORE, version_skew=policy) for policy in ("error", "ignore")
        ]
        keys = {run_key(submission, overlay="{}").digest for submission in made}
    assert len(keys) == 1
    assert None not in keys


def test_an_order_stays_small_whatever_is_installed(client: Machine) -> None:
    submission, _ = _sent(client)
    assert len(submission.order.environment.model_dump_json()) < 1000


def test_the_distributions_of_inputs_and_of_their_loaders_are_part_of_the_order(client: Machine) -> None:
    reference = DatasetRef(id="digits", uri="memory:", loader="hypothesis.strategies:none")
    submission, _ = _sent(client, datasets=[reference])
    assert "hypothesis" in submission.order.environment.versions
    assert "hypothesis" not in _sent(client)[0].order.environment.versions


def test_a_missing_package_is_named_with_what_brings_it(client: Machine, worker: Machine) -> None:
    submission, payload = _sent(client)
    failure = _failure(_ends(worker, submission.order, payload), "PayloadError")
    assert "ModuleNotFoundError: No module named 'lighting_checks'" in failure.message
    assert "Add what brings 'lighting_checks' to the worker's image" in failure.message
    assert "runtime_env (working_dir or py_modules)" in failure.message
    versions = submission.order.environment.versions | {"lighting-checks": "1.1"}
    installed = submission.order.environment.model_copy(update={"subject": "lighting-checks", "versions": versions})
    order = submission.order.model_copy(update={"environment": installed})
    failure = _failure(_ends(worker, order, payload), "PayloadError")
    assert 'pip install "lighting-checks==1.1"' in failure.message


def test_what_differs_stands_beside_what_cannot_be_unpickled(client: Machine, worker: Machine) -> None:
    """Such as arrays of NumPy 2, which NumPy 1 cannot read: a difference that is a warning until it matters."""
    submission, payload = _sent(client, data=True)
    worker.has(CAPABILITY.format(score=1.0))
    versions = submission.order.environment.versions | {"numpy": "99.0"}
    newer = submission.order.environment.model_copy(update={"versions": versions})
    order = submission.order.model_copy(update={"environment": newer})
    failure = _failure(_ends(worker, order, payload), "PayloadError")
    assert "No module named 'lighting_data'" in failure.message
    assert "warning  numpy         99.0" in failure.message


def test_a_class_that_the_workers_copy_lacks_is_said_to_be_of_another_version(client: Machine, worker: Machine) -> None:
    submission, payload = _sent(client, data=True, policy="ignore")
    worker.has(CAPABILITY.format(score=1.0))
    worker.has("", module="lighting_data")
    failure = _failure(_ends(worker, submission.order, payload), "PayloadError")
    assert "Data" in failure.message
    assert str(worker.folder / "lighting_data.py") in failure.message
    assert "another version of that code" in failure.message


@pytest.mark.parametrize("module", ["lighting_checks", "lighting_checks.brightness"])
def test_a_folder_that_only_has_the_packages_name_is_told_from_another_version(
    client: Machine, worker: Machine, module: str
) -> None:
    """A working_dir with a project in it whose package lies in its src."""
    (client.folder / "lighting_checks.py").unlink()
    (client.folder / "lighting_checks").mkdir()
    for name in ("__init__", "brightness"):
        client.has(CAPABILITY.format(score=1.0), module=f"lighting_checks/{name}")
    with client:
        work = {"capability": importlib.import_module(module).Brightness()}
        submission = prepare_submission(work, backend="test", store=STORE)
        payload = submission.pickle(pickle.dumps)
    (worker.folder / "lighting_checks" / "src").mkdir(parents=True)
    failure = _failure(_ends(worker, submission.order, payload), "PayloadError")
    assert f"only a folder of its name, {worker.folder / 'lighting_checks'}" in failure.message
    assert "Send the folder that holds the package" in failure.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
            "system package that brings libGL.so.1",
        ),
        (
            "raise OSError('libcudart.so.12: cannot open shared object file: No such file')",
            "system package that brings libcudart.so.12",
        ),
        ("from json import no_such_name", "another version of that code"),
        ("raise ValueError('needs a licence')", "Look at what the capability"),
        ("import sys; sys.exit('no GPU')", "Look at what the capability"),
        ("this is no Python", "Look at what the capability"),
    ],
)
def test_whatever_the_import_of_an_input_raises_is_explained(
    client: Machine, worker: Machine, text: str, words: str
) -> None:
    submission, payload = _sent(client, data=True, policy="ignore")
    worker.has(CAPABILITY.format(score=1.0))
    worker.has(text, module="lighting_data")
    failure = _failure(_ends(worker, submission.order, payload), "PayloadError")
    assert words in failure.message


@pytest.mark.parametrize("state", [b"(lp0\n.", b"\x80\x05}.", b"\x80\x63.", b"\x80\x05\x95", b"S'1'\n."])
def test_a_pickle_that_is_none_of_ours_is_explained(client: Machine, worker: Machine, state: bytes) -> None:
    submission, _ = _sent(client)
    worker.has(CAPABILITY.format(score=1.0))
    assert _failure(_ends(worker, submission.order, state), "PayloadError").message


def test_an_order_of_another_version_is_told_as_that_and_not_by_its_fields(client: Machine) -> None:
    submission, _ = _sent(client)
    document = submission.order.model_dump(mode="json")
    del document["report_threshold"]
    with pytest.raises(ValueError, match="report_threshold"):
        WorkOrder.model_validate(document)
    document["environment"]["versions"]["checkmaite-core"] = "99.0.0"
    with pytest.raises(VersionSkewError, match=r"checkmaite-core +99\.0\.0"):
        WorkOrder.model_validate(document)
    with pytest.raises(VersionSkewError):
        WorkOrder.model_validate_json(json.dumps(document))
    del document["environment"]
    with pytest.raises(ValueError, match="environment"):
        WorkOrder.model_validate(document)
