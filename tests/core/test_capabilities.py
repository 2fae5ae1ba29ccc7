"""Writing a capability, running it directly, and the helper that checks one."""

from __future__ import annotations

import itertools
import pickle
import threading
from typing import Any

import pytest

from checkmaite_core import Arity, Capability, CapabilityConfig, CapabilityOutputs, DatasetRef, Inputs, Resources
from checkmaite_core.errors import InvalidCapabilityError, PayloadError, SubmissionError
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.submission import Submission, prepare_submission
from checkmaite_core.testing import check_capability
from checkmaite_core.testing._foreign import VIOLATIONS, ForeignCapability
from checkmaite_core.testing._workloads import Data, Raise, RaiseConfig, Write, WriteConfig


class Sized(Write):
    """Asks for more than one CPU."""

    resources = Resources(num_cpus=2, num_gpus=1, custom={"licence": 1})


class SizedForeign(ForeignCapability):
    """A foreign one that says what it needs."""

    resources = {"num_cpus": 3}  # noqa: RUF012 - a foreign class's own business


def _submission(capability: Any = None, **arguments: Any) -> Submission:
    work = {"capability": capability or Write(), "datasets": [Data("d")], **arguments}
    return prepare_submission(work, backend="test", store=AnalyticsStoreConfig(uri="/nowhere"))


def test_a_capability_runs_directly_with_its_defaults() -> None:
    run = Write().run(datasets=[Data("digits", 2.0)])
    assert (run.capability_id, run.config) == ("checkmaite_core.testing._workloads.Write", WriteConfig())
    assert [item["id"] for item in run.dataset_metadata] == ["digits"]
    (row,) = run.extract()
    assert row.run_uid == run.run_uid
    assert run.run_uid == Write().run(datasets=[Data("digits", 7.0)]).run_uid
    assert run.run_uid != Write().run(datasets=[Data("other")]).run_uid
    assert run.run_uid != Write().run(datasets=[Data("digits")], config=WriteConfig(value=3)).run_uid


def test_where_something_runs_is_not_part_of_what_it_is() -> None:
    plain = Write().run(datasets=[Data("d")])
    sized = Write().run(datasets=[Data("d")], config=WriteConfig(resources=Resources(num_gpus=1)))
    assert plain.run_uid == sized.run_uid


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "takes 1 dataset; given: 0"),
        ({"datasets": [Data("a"), Data("b")]}, "given: 2"),
        ({"datasets": [Data("a")], "metrics": [Data("m")]}, "takes no metrics; given: 1"),
        ({"datasets": [object()]}, "has no id"),
        ({"datasets": Data("a")}, "is a Data, not a list"),
        ({"datasets": [Data("a")], "config": CapabilityConfig()}, "takes a WriteConfig"),
        ({"datasets": [Data("a")], "config": {"value": 1}}, "but a dict was given"),
        ({"datasets": [Data("a")], "use_cache": True}, "has no cache"),
    ],
)
def test_what_does_not_fit_is_refused_and_said(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidCapabilityError) as caught:
        Write().run(**arguments)
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("arity", "allowed", "text"),
    [
        (Arity(), [0], "no models"),
        (Arity(1, 1), [1], "1 model"),
        (Arity(2, 2), [2], "2 models"),
        (Arity(0, 2), [0, 1, 2], "0 to 2 models"),
        (Arity(1, None), [1, 2, 3, 4], "at least 1 model"),
        (Arity(0, None), [0, 1, 2, 3, 4], "any number of models"),
    ],
)
def test_an_arity_allows_what_it_says(arity: Arity, allowed: list[int], text: str) -> None:
    assert [count for count in range(5) if arity.allows(count)] == allowed
    assert arity.of("models") == text


class _Plain(Capability[CapabilityConfig, CapabilityOutputs]):
    def evaluate(self, inputs: Inputs, config: CapabilityConfig) -> CapabilityOutputs:
        return CapabilityOutputs()


def test_a_capability_without_settings_names_no_config_class() -> None:
    assert _Plain().run().config == CapabilityConfig()


def test_a_demand_is_the_submissions_then_the_configs_then_the_capabilitys_then_one_cpu() -> None:
    assert _submission().resources == Resources(num_cpus=1)
    assert _submission(Sized()).resources == Resources(num_cpus=2, num_gpus=1, custom={"licence": 1})
    config = WriteConfig(resources=Resources(num_cpus=4, custom={"licence": 2, "other": 1}))
    with_config = Resources(num_cpus=4, num_gpus=1, custom={"licence": 2, "other": 1})
    assert _submission(Sized(), config=config).resources == with_config
    given = {"num_cpus": 0, "memory": 10, "custom": {"other": 5}}
    assert _submission(Sized(), config=config, resources=given).resources == Resources(
        num_cpus=0, num_gpus=1, memory=10, custom={"licence": 2, "other": 5}
    )
    assert _submission(SizedForeign()).resources == Resources(num_cpus=3)


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        ({"num_cpu": 1}, "num_cpu"),
        ({"num_cpus": -1}, "num_cpus"),
        ({"num_gpus": float("nan")}, "num_gpus"),
        ({"memory": 1.5}, "memory"),
        ({"custom": {"x": "many"}}, "custom.x"),
        ("lots", "resources"),
    ],
)
def test_a_demand_that_cannot_be_understood_is_refused(demand: Any, words: str) -> None:
    with pytest.raises(SubmissionError, match="submit_capability") as caught:
        _submission(resources=demand)
    assert words in caught.value.message


def test_a_submission_is_checked_before_it_is_named_and_carries_everything() -> None:
    submission = _submission(name="mine", report_threshold=1)
    assert submission.name == "mine"
    assert submission.order.provenance.job_id == submission.order.job_id
    assert submission.order.provenance.submitted_at == submission.submitted_at
    assert submission.order.environment.versions["checkmaite-core"]
    nameless = _submission(ForeignCapability(), datasets=[object()])
    assert nameless.name == "ForeignCapability(object)"
    for odd in (3, b"mine", "x" * 1001):
        with pytest.raises(SubmissionError, match="name is"):
            _submission(name=odd)
    for wrong in (True, "0.5", None, float("nan")):
        with pytest.raises(SubmissionError, match="report_threshold"):
            _submission(report_threshold=wrong)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"datasets": [Data("a")], "capability": "locked"}, "the capability"),
        ({"datasets": ["locked"]}, r"datasets\[0\] \(Data\)"),
    ],
)
def test_what_cannot_be_pickled_is_named(arguments: dict[str, Any], part: str) -> None:
    locked = Data("locked")
    locked.lock = threading.Lock()  # type: ignore[attr-defined]
    capability = Write()
    if arguments.pop("capability", None):
        capability.lock = threading.Lock()  # type: ignore[attr-defined]
    datasets = [locked if value == "locked" else value for value in arguments["datasets"]]
    with pytest.raises(PayloadError, match=part):
        _submission(capability, datasets=datasets).pickle(pickle.dumps)


def test_checking_a_good_capability_gives_what_it_left() -> None:
    checked = check_capability(Write(), datasets=[Data("d", 4.0)], config=WriteConfig(rows=2, report="text"))
    assert [row["value"] for row in checked.tables["conformance_rows"]] == [4.0, 4.0]
    assert checked.report == "# Report\nthreshold 0.5"
    assert checked.reference.dataset_ids == ("d",)
    foreign = check_capability(ForeignCapability(), datasets=[Data("d")], report_threshold=0.25)
    assert foreign.report == "# Foreign\n0.25"


@pytest.mark.parametrize("violation", sorted(VIOLATIONS))
def test_checking_finds_what_breaks_the_contract(violation: str) -> None:
    with pytest.raises(AssertionError, match="RunContractError"):
        check_capability(ForeignCapability(**VIOLATIONS[violation]), datasets=[Data("d")])


def test_checking_shows_where_a_capability_raised() -> None:
    with pytest.raises(AssertionError, match="in evaluate") as caught:
        check_capability(Raise(), datasets=[Data("d")], config=RaiseConfig(what="value"))
    assert "the seventh image is empty" in str(caught.value)


class Restless(ForeignCapability):
    """Has another identity each time."""

    count = itertools.count()

    def run(self, *args: Any, **named: Any) -> Any:
        run = super().run(*args, **named)
        assert run is not None
        run.run_uid = f"run-{next(Restless.count)}"
        return run


def test_checking_finds_an_identity_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    keep: dict[bytes, Any] = {}

    def dumps(work: Any) -> bytes:
        keep[b"work"] = work
        return b""

    # A class of a test module cannot be pickled by name, so the work is handed over.
    monkeypatch.setattr("checkmaite_core.testing._check.pickle.loads", lambda _: keep[b"work"])
    with pytest.raises(AssertionError, match="two runs of the same work have the identities"):
        check_capability(Restless(), datasets=[Data("d")], dumps=dumps)


def test_checking_finds_work_that_does_not_travel() -> None:
    data = Data("d")
    data.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(PayloadError, match=r"datasets\[0\]"):
        check_capability(Write(), datasets=[data])


def test_references_are_loaded_before_a_foreign_capability_sees_them(tmp_path: Any) -> None:
    source = tmp_path / "data.txt"
    source.write_text("digits 3.5")
    reference = DatasetRef(id="digits", uri=str(source), loader="checkmaite_core.testing._workloads:load_data")
    for capability in (ForeignCapability(), Write()):
        assert check_capability(capability, datasets=[reference]).reference.dataset_ids == ("digits",)
    assert Inputs.of(datasets=[reference]).datasets == (reference,)
