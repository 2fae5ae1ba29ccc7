"""What preflight finds of a job's code on a worker: whether it is there, is the client's, and can be unpickled."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core import AnalyticsStoreConfig, DatasetRef, Work
from checkmaite_core.preflight import Check
from checkmaite_core.preflight.code_checks import check_work
from checkmaite_core.preflight.inquiry import ModuleFacts, WorkFacts
from checkmaite_core.preflight.models import differences
from checkmaite_core.preflight.trials import facts_of, trial_of
from checkmaite_core.testing._workloads import Data, Write

SOURCE = """
from checkmaite_core import Arity, Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun

class Config(CapabilityConfig):
    threshold: float = 0.5

class Count(Capability):
    config_class = Config
    takes_datasets = Arity(0, None)

    def evaluate(self, inputs, config):
        return CapabilityOutputs()
"""
STORE = AnalyticsStoreConfig(backend="memory", uri="memory://x")
Module = Callable[..., types.ModuleType]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Write a module that can be imported, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def module(name: str, source: str = SOURCE) -> types.ModuleType:
        (tmp_path / f"{name}.py").write_text(source)
        written.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield module
    for name in written:
        sys.modules.pop(name, None)


def sent(work: Any) -> tuple[WorkFacts, bytes]:
    trial = trial_of(work, backend="fake", store=STORE)
    return facts_of(trial, gpus=0.0), pickle.dumps(trial.payload)


def red(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.level == "error"]


def test_code_that_is_the_same_on_both_sides_is_in_order(module: Module) -> None:
    facts, payload = sent(module("count_here").Count())
    checks = check_work(facts, payload, pickle.loads)
    assert [check.level for check in checks] == ["ok", "ok"]
    assert "the same as here" in checks[0].found
    assert checks[1].found == "unpickled; its config, run and outputs and run_uid are the same as here"


def test_code_that_has_changed_is_red_and_names_both_places(module: Module, tmp_path: Path) -> None:
    facts, payload = sent(module("count_changed").Count())
    (tmp_path / "count_changed.py").write_text(SOURCE + "# more\n")
    (found,) = red(check_work(facts, payload, pickle.loads))
    assert found.subject == "count_changed"
    assert found.found.count(str(tmp_path / "count_changed.py")) == 2
    assert f'"working_dir": "{tmp_path}"' in found.remedy


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        ({"count_files.py": "0" * 64}, "error", "its code is not the client's in count_files.py: "),
        ({"tests/test_count.py": "1" * 64}, "warning", "on one side only (tests/test_count.py)"),
        ({"count_files.py": "0" * 64, "tests/x.py": "1" * 64}, "error", "in count_files.py: "),
    ],
    ids=["another-text", "only-here", "both"],
)
def test_the_files_that_differ_are_named_and_those_of_one_side_are_a_warning(
    module: Module, change: dict[str, str], level: str, said: str
) -> None:
    facts, payload = sent(module("count_files").Count())
    (own,) = facts.modules
    changed = own.model_copy(update={"code": "another", "files": {**(own.files or {}), **change}})
    found, _ = check_work(facts.model_copy(update={"modules": (changed,)}), payload, pickle.loads)
    assert (found.level, said in found.found) == (level, True), found


def test_an_installed_package_is_compared_with_an_editable_one_by_its_files(module: Module) -> None:
    facts, payload = sent(module("count_wheel").Count())
    as_wheel = facts.modules[0].model_copy(update={"code": "count-wheel 0123", "distribution": "count-wheel==1.0"})
    checks = check_work(facts.model_copy(update={"modules": (as_wheel,)}), payload, pickle.loads)
    assert red(checks) == []


def test_a_module_that_only_the_client_has_is_red_with_what_to_send(module: Module, tmp_path: Path) -> None:
    facts, payload = sent(module("count_gone").Count())
    del sys.modules["count_gone"]
    (tmp_path / "count_gone.py").unlink()
    importlib.invalidate_caches()
    (found,) = check_work(facts, payload, pickle.loads)
    assert found.found == "module count_gone is not installed there"
    assert found.mender == "client"
    assert found.remedy.endswith("runtime_env=" + json.dumps({"working_dir": str(tmp_path)}))


@pytest.mark.parametrize(
    ("facts", "typed"),
    [
        (ModuleFacts(name="absent.part", distribution="absent==1.2"), 'pip install "absent==1.2"'),
        (ModuleFacts(name="absent.part", folder="/src/absent"), 'runtime_env={"py_modules": ["/src/absent"]}'),
        (ModuleFacts(name="absent", folder="/src/absent.py"), 'runtime_env={"working_dir": "/src"}'),
        (ModuleFacts(name="absent"), "install what brings absent in the image"),
    ],
    ids=["distribution", "package", "file", "unknown"],
)
def test_what_to_type_for_missing_code_depends_on_how_the_client_has_it(facts: ModuleFacts, typed: str) -> None:
    work = WorkFacts(job="job", capability="absent.part.Count", modules=(facts,))
    (found,) = check_work(work, b"cabsent\nCount\n.", pickle.loads)
    assert typed in found.remedy


def test_a_shared_library_that_the_code_needs_is_named(module: Module, tmp_path: Path) -> None:
    facts, payload = sent(module("count_gl").Count())
    del sys.modules["count_gl"]
    (tmp_path / "count_gl.py").write_text('raise ImportError("libGL.so.1: cannot open shared object file: No such")')
    importlib.invalidate_caches()
    (found,) = red(check_work(facts, payload, pickle.loads))
    assert (found.mender, found.found) == ("image", "the shared library libGL.so.1 is missing there")
    assert found.remedy.endswith("apt-get install -y libgl1")


def test_code_that_ends_the_process_when_it_is_imported_does_not_end_the_worker(module: Module, tmp_path: Path) -> None:
    facts, payload = sent(module("count_exit").Count())
    del sys.modules["count_exit"]
    (tmp_path / "count_exit.py").write_text("import sys\nsys.exit(3)\n" + SOURCE)
    importlib.invalidate_caches()
    (found,) = red(check_work(facts, payload, pickle.loads))
    assert "SystemExit" in found.found


def test_code_that_travels_with_the_job_need_not_be_installed() -> None:
    facts, payload = sent(Write())
    travelling = facts.model_copy(update={"modules": (ModuleFacts(name="a_notebook_of_mine"),)})
    checks = check_work(travelling, payload, pickle.loads)
    assert [check.level for check in checks] == ["ok", "ok"]
    assert "travels with the jobs" in checks[0].found


def test_a_config_with_other_fields_there_is_red_and_names_the_field() -> None:
    facts, payload = sent(Write())
    (role,) = [role for role in facts.models if role.startswith("config")]
    models = {**facts.models, role: {**facts.models[role], "threshold": "float"}}
    (found,) = red(check_work(facts.model_copy(update={"models": models}), payload, pickle.loads))
    assert found.found == f"{role} lacks field 'threshold' there"


def test_a_run_with_another_identity_there_is_red() -> None:
    facts, payload = sent(Write())
    (found,) = red(check_work(facts.model_copy(update={"identity": "0" * 64}), payload, pickle.loads))
    assert "another run_uid" in found.found


def test_a_loader_that_only_the_client_has_is_red_among_the_inputs(module: Module, tmp_path: Path) -> None:
    loader = module("my_loader", "def load(uri):\n    return uri\n")
    work = Work(capability=Write(), datasets=[DatasetRef(id="a", uri="x:y", loader=loader.load)])
    facts, payload = sent(work)
    del sys.modules["my_loader"]
    (tmp_path / "my_loader.py").unlink()
    importlib.invalidate_caches()
    (found,) = red(check_work(facts, payload, pickle.loads))
    assert (found.section, found.subject) == ("inputs", "loader my_loader:load of a")
    assert str(tmp_path) in found.remedy


def test_a_payload_of_another_kind_is_red() -> None:
    facts, _ = sent(Write())
    (found,) = check_work(facts, pickle.dumps({"not": "work"}), pickle.loads)
    assert "holds a dict there" in found.found


def test_the_classes_of_inputs_are_among_the_modules_of_a_job(module: Module) -> None:
    own = module("my_data", "class Mine:\n    metadata = {'id': 'a'}\n")
    facts, _ = sent(Work(capability=Write(), datasets=[own.Mine()]))
    assert "my_data" in [each.name for each in facts.modules]
    assert sent(Work(capability=Write(), datasets=[Data("a")]))[0].modules == ()


FIELDS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["int", "str"]), max_size=3)
MODELS = st.dictionaries(st.sampled_from(["config C", "run R"]), FIELDS, max_size=2)


@given(MODELS, MODELS)
def test_models_differ_exactly_where_a_field_or_a_class_does(
    ours: dict[str, dict[str, str]], theirs: dict[str, dict[str, str]]
) -> None:
    found = differences(ours, theirs)
    assert (found == []) == (ours == theirs)
    assert len(found) == len(differences(theirs, ours))
