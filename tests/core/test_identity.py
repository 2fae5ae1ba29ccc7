"""Which submissions are equal work."""

from __future__ import annotations

import base64
import dataclasses
import enum
import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core import AnalyticsStoreConfig, CapabilityConfig, DatasetRef, ModelRef
from checkmaite_core.identity import run_key, run_keys
from checkmaite_core.submission import prepare_submission
from checkmaite_core.testing._plugins import write_distribution
from checkmaite_core.testing._workloads import Data, Write, WriteConfig

STORE = AnalyticsStoreConfig(uri="/results")


class Plain:
    """A capability of no base class, with whatever attributes a test gives it."""

    id = "plain"

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def run(self, **_: Any) -> Any:
        return None


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


class Wide(CapabilityConfig):
    names: frozenset[str] = frozenset()
    colour: Colour = Colour.RED


def _key(
    capability: Any = None, *, store: AnalyticsStoreConfig = STORE, overlay: str = "{}", **work: Any
) -> str | None:
    submission = prepare_submission({"capability": capability or Plain(), **work}, backend="test", store=store)
    return run_key(submission, overlay=overlay).digest


def test_equal_work_has_one_key_whatever_it_is_called_and_wherever_it_runs() -> None:
    first = _key(Write(), datasets=[Data("d")], config=WriteConfig(value=2), name="one", resources={"num_cpus": 2})
    config = WriteConfig.model_validate({"value": 2, "resources": {"num_gpus": 1}})
    second = _key(Write(), datasets=[Data("d")], config=config, name="two")
    assert first is not None
    assert first == second


@pytest.mark.parametrize(
    "other",
    [
        {"capability": Plain(scale=2)},
        {"datasets": [Data("e")]},
        {"datasets": [Data("d"), Data("d")]},
        {"models": [Data("d")], "datasets": []},
        {"config": {"value": 2}},
        {"report_threshold": 0.6},
        {"store": AnalyticsStoreConfig(uri="/elsewhere")},
        {"overlay": '{"env_vars":{"A":"1"}}'},
    ],
    ids=lambda other: "+".join(other),
)
def test_whatever_could_change_the_result_or_its_place_makes_another_key(other: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"capability": Plain(scale=1), "datasets": [Data("d")], "config": {"value": 1}}
    assert _key(**usual) == _key(**usual | {"capability": Plain(scale=1)})
    assert _key(**usual | other) not in (None, _key(**usual))


def test_a_fingerprint_says_all_of_the_data_and_without_one_all_that_travels_counts() -> None:
    def data(value: float, fingerprint: Any = None) -> Data:
        made = Data("d", value)
        if fingerprint is not None:
            made.fingerprint = fingerprint  # type: ignore[attr-defined]
        return made

    assert _key(datasets=[data(1.0)]) == _key(datasets=[data(1.0)])
    assert _key(datasets=[data(1.0)]) != _key(datasets=[data(2.0)])
    assert _key(datasets=[data(1.0, "a")]) == _key(datasets=[data(2.0, "a")])
    keys = {_key(datasets=[data(1.0)]), _key(datasets=[data(1.0, "a")]), _key(datasets=[data(1.0, "b")])}
    assert len(keys) == 3
    assert None not in keys
    assert _key(datasets=[data(1.0, 7)]) is None

    in_metadata = data(1.0)
    in_metadata.metadata = {"id": "d", "fingerprint": "a"}  # type: ignore[assignment, typeddict-unknown-key]
    assert _key(datasets=[in_metadata]) == _key(datasets=[data(1.0, "a")])


def test_a_reference_is_known_by_its_id_its_fingerprint_and_what_is_loaded_how(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("same")
    other.write_text("same")
    loader = "project.data:load"
    references = [
        DatasetRef(id="d", uri=str(one), loader=loader),
        DatasetRef(id="e", uri=str(one), loader=loader),
        DatasetRef(id="d", uri=str(other), loader=loader),
        DatasetRef(id="d", uri=str(one), loader="project.data:load_anew"),
        DatasetRef(id="d", uri=str(one), loader=loader, fingerprint="1"),
        DatasetRef(id="d", uri=str(one), loader=lambda uri: (uri, 1)),
        DatasetRef(id="d", uri=str(one), loader=lambda uri: (uri, 2)),
    ]
    keys = {_key(datasets=[reference]) for reference in references}
    assert len(keys) == len(references)
    assert None not in keys
    assert _key(datasets=[references[0].model_copy()]) == _key(datasets=[references[0]])
    model = ModelRef(id="d", uri=str(one), loader=loader)
    assert _key(models=[model]) not in (None, _key(datasets=[references[0]]))


def _counter() -> Callable[[], int]:
    count = 0

    def step() -> int:
        return count

    return step


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        object(),
        {"deep": [{"er": threading.Lock()}]},
        memoryview(b"x"),
        type("Made", (), {"__module__": "no.such.module", "lock": threading.Lock()}),
    ],
    ids=["lock", "object", "nested", "memoryview", "class-with-a-lock"],
)
def test_what_cannot_be_told_is_never_shared(value: Any) -> None:
    assert _key(Plain(value=value)) is None
    assert _key(config={"value": value}) is None
    assert _key(datasets=[Plain(id=None)]) is None


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, True, "1", b"1", None, [1], (1,), {1}, {"1": 1}],
        [Colour.RED, Colour.BLUE, "RED", 1],
        [Point(1), Point(1, 2.0), Point(2), (1, 0.0)],
        [Path("a"), Path("b"), "a"],
        [Wide(), Wide(names=frozenset({"a"})), Wide(colour=Colour.BLUE)],
        [len, sorted, Colour, Point, logging.getLogger("a"), logging.getLogger("b")],
        [_counter(), lambda: 1, lambda: 2, lambda x: 1],
    ],
    ids=["scalars", "enums", "dataclasses", "paths", "models", "named", "functions"],
)
def test_different_attributes_make_different_work(values: list[Any]) -> None:
    keys = [_key(Plain(value=value)) for value in values]
    assert None not in keys
    assert len(set(keys)) == len(values)
    assert keys == [_key(Plain(value=value)) for value in values]


def test_order_counts_where_it_means_something_and_only_there() -> None:
    assert _key(Plain(value={"a": 1, "b": 2})) == _key(Plain(value={"b": 2, "a": 1})) is not None
    assert _key(Plain(value=[1, 2])) != _key(Plain(value=[2, 1]))
    shared = ["a"]
    assert _key(Plain(value=[shared, shared])) == _key(Plain(value=[["a"], ["a"]])) is not None


def test_a_circle_is_described_and_what_is_endless_is_not() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    assert _key(Plain(value=circle)) is not None
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert _key(Plain(value=deep)) is None
    assert _key(Plain(value=list(map(str, range(50))) * 10)) is not None
    assert _key(Plain(value=[[] for _ in range(200_000)])) is None


def test_keys_made_together_are_those_made_one_by_one() -> None:
    submissions = [
        prepare_submission({"capability": Plain(n=n % 3), "datasets": [Data("d")]}, backend="test", store=STORE)
        for n in range(9)
    ]
    together = run_keys(submissions, overlay="{}")
    assert together == [run_key(each, overlay="{}") for each in submissions]
    assert len({key.digest for key in together}) == 3


NOTEBOOK = """
import functools
import logging
import math
from dataclasses import dataclass, field
from pydantic import Field, field_validator
from checkmaite_core import Arity, Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Record

log = logging.getLogger(__name__)
FACTOR = 2
WORDS = {"alpha", "beta", "gamma", "delta"}

class BrightnessConfig(CapabilityConfig):
    bins: int = Field(default=16, ge=1)
    labels: frozenset[str] = frozenset({"a", "b", "c", "d"})

    @field_validator("bins")
    @classmethod
    def _even(cls, value: int) -> int:
        return value

@dataclass
class Options:
    depth: int = 3
    names: list[str] = field(default_factory=list)

class Row(Record, table_name="brightness"):
    value: float

class Outputs(CapabilityOutputs):
    values: list[float]

class Run(CapabilityRun[BrightnessConfig, Outputs]):
    def extract(self):
        return [Row(run_uid=self.run_uid, value=value) for value in self.outputs.values]

def scaled(value):
    return value * FACTOR if "alpha" in WORDS else math.nan

class Brightness(Capability[BrightnessConfig, Outputs]):
    config_class = BrightnessConfig
    run_class = Run
    takes_datasets = Arity(1, 1)

    def __init__(self, options=Options()):
        self.options = options

    @functools.cached_property
    def depth(self):
        return self.options.depth

    def evaluate(self, inputs, config):
        log.info("begins")
        try:
            return Outputs(values=[scaled(item) for item in inputs.datasets[0] if item in {"x", "y", "z"}])
        finally:
            pass
"""

TAIL = """
from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.identity import run_key
from checkmaite_core.submission import prepare_submission

class Data:
    metadata = {"id": "d"}

work = {"capability": Brightness(), "datasets": [Data()], "config": BrightnessConfig(bins=8)}
print(run_key(prepare_submission(work, backend="test", store=AnalyticsStoreConfig(uri="/s")), overlay="{}").digest)
"""


def _in_a_fresh_process(folder: Path, code: str, *, seed: int = 0, how: str = "script") -> str:
    """The key that a new Python process makes for what ``code`` defines."""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    script = folder / f"work-{seed}.py"
    script.write_text(code)
    arguments = [str(script)] if how == "script" else ["-c", code]
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=folder, env=environment
    )
    return done.stdout.strip()


def test_a_notebooks_work_has_one_key_in_all_processes(tmp_path: Path) -> None:
    keys = {_in_a_fresh_process(tmp_path, NOTEBOOK + TAIL, seed=seed) for seed in (0, 1, 42)}
    keys |= {_in_a_fresh_process(tmp_path, NOTEBOOK + TAIL, seed=7, how="command")}  # without any source to read
    (key,) = keys
    assert len(key) == 64


def _in_a_notebook(code: str) -> str | None:
    """The key of what cells of a notebook define, made in this process: they, too, run as ``__main__``."""
    cells: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "<cell>", "exec"), cells)
    return _key(cells["Brightness"](), datasets=[Data("d")], config=cells["BrightnessConfig"](bins=8))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("value * FACTOR", "value + FACTOR"),
        ("FACTOR = 2", "FACTOR = 3"),
        ('"delta"}', '"epsilon"}'),
        ('{"x", "y", "z"}', '{"x", "y"}'),
        ("default=16", "default=32"),
        ("ge=1", "ge=2"),
        ("depth: int = 3", "depth: int = 4"),
        ("return self.options.depth", "return 2 * self.options.depth"),
        ("return value\n", "return value + 1\n"),
        ("value=value) for", "value=-value) for"),
        ('table_name="brightness"', 'table_name="darkness"'),
        ("takes_datasets = Arity(1, 1)", "takes_datasets = Arity(1, 2)"),
    ],
)
def test_an_edit_of_what_a_notebooks_work_uses_makes_another_key(before: str, after: str) -> None:
    assert NOTEBOOK.count(before) == 1
    first, second = _in_a_notebook(NOTEBOOK), _in_a_notebook(NOTEBOOK.replace(before, after))
    assert second is not None
    assert first != second


def test_what_else_stands_in_a_notebook_does_not_matter() -> None:
    more = "# A remark.\nunused = open(__import__('os').devnull)\ndata = object()\n\ndef other():\n    return unused\n"
    assert _in_a_notebook(NOTEBOOK) == _in_a_notebook(more + NOTEBOOK) is not None


def test_a_notebook_whose_work_uses_what_cannot_be_told_never_shares_it() -> None:
    assert _in_a_notebook(NOTEBOOK.replace("FACTOR = 2", "FACTOR = object()")) is None
    assert _in_a_notebook(NOTEBOOK.replace("FACTOR = 2", "FACTOR = open(__import__('os').devnull)")) is None


MODULE = """
from {package}.helper import shift

class Own:
    id = "own"

    def run(self, **_):
        return shift(1)
"""

IMPORTING = """
import json, pathlib, sys
from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.identity import run_key
from checkmaite_core.submission import prepare_submission
from {package}.work import Own

keys = []
for files in json.loads(sys.argv[1]):
    for path, text in files.items():
        pathlib.Path(path).write_text(text)
    work = {{"capability": Own()}}
    submission = prepare_submission(work, backend="test", store=AnalyticsStoreConfig(uri="/s"))
    keys.append(run_key(submission, overlay="").digest)
print(json.dumps(keys))
"""


def _package(folder: Path, package: str, *states: dict[str, str]) -> list[str]:
    """Make a package, and the keys of its work after each of these changes to files."""
    inner = folder / package
    inner.mkdir()
    (inner / "__init__.py").touch()
    (inner / "work.py").write_text(MODULE.format(package=package))
    (inner / "helper.py").write_text(_shift(1))
    program = [sys.executable, "-c", IMPORTING.format(package=package), json.dumps(states)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=folder)
    keys: list[str] = json.loads(done.stdout)
    assert {len(key) for key in keys} == {64}
    return keys


def _shift(amount: int) -> str:
    return f"def shift(value):\n    return value + {amount}\n"


def test_code_that_is_not_installed_is_known_by_what_it_can_reach(tmp_path: Path) -> None:
    helper = "loose/helper.py"
    first, same, edited, unused = _package(
        tmp_path, "loose", {}, {helper: _shift(1)}, {helper: _shift(20)}, {helper: _shift(1), "loose/more.py": ""}
    )
    assert first == same == unused
    assert edited != first


def _recorded(package: str, **texts: str) -> str:
    """A RECORD of modules as an installer writes it."""
    rows = []
    for name, text in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{package}/{name}.py,sha256={digest},{len(text.encode())}")
    return "\n".join(rows)


def test_code_that_is_installed_is_known_by_its_record_and_by_its_files_where_these_were_edited(tmp_path: Path) -> None:
    write_distribution(tmp_path, {}, name="installed-project")
    helper, record = "installed/helper.py", "installed_project-1.0.dist-info/RECORD"
    work = MODULE.format(package="installed")
    listed = _recorded("installed", __init__="", work=work, helper=_shift(1))
    released = _recorded("installed", __init__="", work=work, helper=_shift(20))
    notes = ["../../bin/tool,sha256=z,1", "installed_project-1.0.dist-info/INSTALLER,sha256=y,1", "installed/x.pyc,,"]
    editable = "__editable__installed.py,sha256=e,1"  # lists a pointer to its code
    first, on_another_machine, upgraded, in_place, in_place_again, restored, pointed, edited = _package(
        tmp_path,
        "installed",
        {record: listed},
        {record: "\n".join([*reversed(listed.splitlines()), *notes])},
        {record: released, helper: _shift(20)},
        {record: listed},
        {helper: _shift(30)},  # as long as before
        {helper: _shift(1)},
        {record: editable},
        {helper: _shift(300)},
    )
    assert first == on_another_machine == restored
    assert len({first, upgraded, in_place, in_place_again, pointed, edited}) == 6
