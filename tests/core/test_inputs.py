"""Inputs by reference, and what identifies an input."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from checkmaite_core import DatasetRef, Inputs, ModelRef
from checkmaite_core.errors import InvalidCapabilityError, RunContractError
from checkmaite_core.inputs import input_id, label, load_inputs
from checkmaite_core.testing import _workloads
from checkmaite_core.testing._workloads import Data, load_data

BY_NAME = "checkmaite_core.testing._workloads:load_data"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "data.txt"
    path.write_text("digits 3.5")
    return path


def test_a_function_that_can_be_imported_is_kept_by_its_name() -> None:
    assert DatasetRef(id="d", uri="u", loader=load_data).loader == BY_NAME
    assert ModelRef(id="d", uri="u", loader=BY_NAME).loader == BY_NAME


def test_a_function_of_a_notebook_or_a_closure_travels_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def local(uri: str) -> str:
        return uri

    assert DatasetRef(id="d", uri="u", loader=local).loader is local
    assert DatasetRef(id="d", uri="u", loader=local).load() == "u"
    monkeypatch.setattr(load_data, "__module__", "__main__")
    assert DatasetRef(id="d", uri="u", loader=load_data).loader is load_data


@pytest.mark.parametrize("loader", ["", "module", "module:", ":function", "module:a.b", "module:a b", 7])
def test_a_loader_of_another_form_is_refused(loader: Any) -> None:
    with pytest.raises(ValueError, match="loader"):
        DatasetRef(id="d", uri="u", loader=loader)


@pytest.mark.parametrize("arguments", [{"id": ""}, {"uri": ""}, {"path": "x"}])
def test_a_reference_needs_an_id_and_a_place(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        DatasetRef(**{"id": "d", "uri": "u", "loader": BY_NAME, **arguments})


def test_references_travel_as_a_few_bytes_and_load_in_place(source: Path) -> None:
    reference = DatasetRef(id="digits", uri=str(source), loader=BY_NAME, fingerprint="sha256:1")
    data = pickle.dumps(reference)
    assert len(data) < 600
    assert pickle.loads(data) == reference
    assert reference.locations() == [str(source)]
    plain = Data("other")
    loaded = load_inputs(Inputs.of(models=[plain], datasets=[reference, plain]))
    assert loaded.models == (plain,)
    assert (loaded.datasets[0].value, loaded.datasets[1]) == (3.5, plain)


@pytest.mark.parametrize("loader", ["no_such_module_anywhere:load", "checkmaite_core:no_such_function"])
def test_a_loader_that_is_not_there_is_named(loader: str) -> None:
    with pytest.raises(RunContractError, match="cannot be imported here") as caught:
        DatasetRef(id="digits", uri="u", loader=loader).load()
    assert "'digits'" in caught.value.message


def test_what_was_loaded_must_be_what_was_meant_and_the_uri_stays_private(source: Path) -> None:
    secret = f"{source.parent}/../{source.parent.name}/{source.name}"
    with pytest.raises(RunContractError, match="'digits'") as caught:
        DatasetRef(id="other", uri=secret, loader=BY_NAME).load()
    assert secret not in str(caught.value)


def test_an_id_is_the_metadatas_or_ones_own() -> None:
    class Own:
        id = "own"

    class Both(Own):
        metadata = {"id": "metadata"}  # noqa: RUF012 - MAITE's shape

    class Hollow(Own):
        metadata = {"id": ""}  # noqa: RUF012

    assert [input_id(value) for value in (Own(), Both(), Data("d"))] == ["own", "metadata", "d"]
    assert label(Hollow()) == "Hollow"
    for nothing in (Hollow(), object(), 7, None):
        with pytest.raises(InvalidCapabilityError, match=r"has no id|as its id"):
            input_id(nothing)


def test_inputs_come_in_lists() -> None:
    assert Inputs.of() == Inputs((), (), ())
    assert Inputs.of(models=[1], datasets=(2, 3)) == Inputs((1,), (2, 3), ())
    for wrong in ("text", {"a": 1}, Data("d"), iter([1])):
        with pytest.raises(InvalidCapabilityError, match="metrics is a"):
            Inputs.of(metrics=wrong)  # type: ignore[arg-type]


def test_the_loader_of_these_tests_is_the_one_that_is_named() -> None:
    assert _workloads.load_data is load_data
