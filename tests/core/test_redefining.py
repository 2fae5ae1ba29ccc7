"""A notebook's cell that is run again, and ids that are no text: taken where that is right, else said what to do."""

from __future__ import annotations

import sys
import types
import uuid
from pathlib import Path
from typing import Any

import numpy
import pytest

from checkmaite_core import AnalyticsStoreConfig, InvalidCapabilityError
from checkmaite_core.inputs import input_id
from checkmaite_core.submission import prepare_submission

CONFIG = """
from checkmaite_core import *
class Inner(CapabilityConfig):
    depth: int = 1
class Cfg(CapabilityConfig):
    threshold: {kind} = {default}
    inner: Inner = Inner()
"""
CAPABILITY = """
class Outputs(CapabilityOutputs):
    pass
class Run(CapabilityRun[Cfg, Outputs]):
    def extract(self):
        return []
class Work(Capability[Cfg, Outputs]):
    config_class = Cfg
    run_class = Run
    def evaluate(self, inputs, config):
        assert type(config) is self.config_class
        return Outputs()
"""


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs cells in one namespace."""
    module = types.ModuleType(f"notebook_{uuid.uuid4().hex}")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def run(cell: str) -> Any:
        exec(cell, module.__dict__)
        return module

    run(CONFIG.format(kind="float", default="0.5") + CAPABILITY)
    return run


def _submit(capability: Any, config: Any) -> Any:
    store = AnalyticsStoreConfig(uri="/nowhere")
    return prepare_submission({"capability": capability, "config": config}, backend="test", store=store)


def test_a_config_of_a_class_that_was_defined_again_the_same_is_taken(notebook: Any) -> None:
    cells = notebook("")
    work, before = cells.Work(), cells.Cfg
    notebook(CONFIG.format(kind="float", default="0.5"))
    config = cells.Cfg(threshold=0.75, inner=cells.Inner(depth=7))
    assert not isinstance(config, before)
    taken = _submit(work, config).payload.config
    assert type(taken) is before
    assert (taken.threshold, taken.inner.depth) == (0.75, 7)
    assert work.run(config=config).config == taken


def test_a_config_that_was_made_before_its_class_was_defined_again_is_taken(notebook: Any) -> None:
    cells = notebook("")
    config = cells.Cfg(threshold=0.75)
    notebook(CONFIG.format(kind="float", default="0.5") + CAPABILITY)
    assert _submit(cells.Work(), config).payload.config == cells.Cfg(threshold=0.75)


@pytest.mark.parametrize(
    ("changed", "what"),
    [({"kind": "int", "default": "1"}, "the type of threshold"), ({"kind": "float", "default": "0.6"}, "the default")],
)
def test_definitions_that_differ_are_told_with_which_is_older(notebook: Any, changed: Any, what: str) -> None:
    cells = notebook("")
    work, old = cells.Work(), cells.Cfg()
    notebook(CONFIG.format(**changed))
    with pytest.raises(InvalidCapabilityError, match=what) as caught:
        _submit(work, cells.Cfg())
    assert "defined twice, and Work refers to the older one" in caught.value.message
    assert "Run the cell that defines Work again" in caught.value.hint
    notebook(CONFIG.format(**changed) + CAPABILITY)
    with pytest.raises(InvalidCapabilityError, match="the config was made of the older one") as caught:
        _submit(cells.Work(), old)
    assert "Make the config again" in caught.value.hint


def test_a_config_of_another_name_is_no_second_definition(notebook: Any) -> None:
    cells = notebook("")
    with pytest.raises(InvalidCapabilityError, match="takes a Cfg as config, but a Inner was given"):
        _submit(cells.Work(), cells.Inner())


class _Input:
    def __init__(self, own: Any, *, metadata: bool) -> None:
        if metadata:
            self.metadata = {"id": own}
        else:
            self.id = own


def _ids() -> list[tuple[Any, str, str]]:
    number = uuid.UUID(int=7)
    return [
        (7, "7 as its id, which is a int", "'7'"),
        (numpy.int64(7), "which is a int64", "'7'"),
        (number, "which is a UUID", repr(str(number))),
        (Path("a/b"), "which is a PosixPath", "'a/b'"),
        ("", "'' as its id, which is empty", "'digits-test'"),
        (b"raw", "which is a bytes", "\"b'raw'\""),
    ]


@pytest.mark.parametrize("metadata", [True, False])
def test_an_id_that_is_no_text_is_told_as_just_that(metadata: bool) -> None:
    for own, said, write in _ids():
        with pytest.raises(InvalidCapabilityError, match="ids are text") as caught:
            input_id(_Input(own, metadata=metadata))
        assert said in caught.value.message
        place = "metadata['id']" if metadata else "id"
        assert f"{place} = {write}" in caught.value.hint


def test_an_input_without_an_id_is_still_told_to_have_none() -> None:
    for value in (object(), _Input(None, metadata=True), _Input(None, metadata=False)):
        with pytest.raises(InvalidCapabilityError, match="has no id"):
            input_id(value)
