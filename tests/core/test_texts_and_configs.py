"""What could not be stored is refused when work is submitted; what can be is stored as valid JSON, exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, Field, ValidationError

from checkmaite_core import Arity, Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, DatasetRef, ModelRef
from checkmaite_core.errors import ConfigurationError, InvalidCapabilityError, RunContractError
from checkmaite_core.inputs import Inputs
from checkmaite_core.naming import compute_run_uid
from checkmaite_core.provenance import Provenance, configure_provenance, resolve_provenance
from checkmaite_core.report import as_report
from checkmaite_core.run import bundle_run, config_text
from checkmaite_core.store import AnalyticsStoreConfig
from checkmaite_core.submission import prepare_submission
from checkmaite_core.work import Work

SURROGATE = "caf\udce9"


class Config(CapabilityConfig):
    label: str = "plain"
    number: float = 0.0
    seed: int = 0
    anything: Any = None
    several: list[int] = Field(default_factory=list)
    by_name: dict[str, float] = Field(default_factory=dict)


class Inner(BaseModel):
    seed: int
    anything: Any = None


class Sized(Capability[Config, CapabilityOutputs]):
    """Does nothing."""

    id = "tests.sized"
    config_class = Config
    takes_models = takes_datasets = takes_metrics = Arity(0, None)
    run_class = CapabilityRun[Config, CapabilityOutputs]

    def evaluate(self, inputs: Inputs, config: Config) -> CapabilityOutputs:
        return CapabilityOutputs()


class Renamed(Sized):
    id = SURROGATE


@dataclass
class Thing:
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return 0


def _work(**changes: Any) -> Work:
    return replace(Work(capability=Sized(), config=Config()), **changes)


UNFIT: dict[str, tuple[Callable[[], Work], str]] = {
    "dataset": (lambda: _work(datasets=[Thing({"id": SURROGATE})]), r"the id of datasets\[0\]"),
    "second model": (lambda: _work(models=[Thing({"id": "m"}), Thing({"id": SURROGATE})]), r"the id of models\[1\]"),
    "metric": (lambda: _work(metrics=[Thing({"id": SURROGATE})]), r"the id of metrics\[0\]"),
    "capability": (lambda: _work(capability=Renamed()), "the capability's id"),
    "name": (lambda: _work(name=SURROGATE), "the job's name"),
    "config": (lambda: _work(config=Config(anything=SURROGATE)), "field 'anything' of Config"),
    "config's key": (lambda: _work(config=Config(anything={SURROGATE: 1})), "field 'anything' of Config"),
    "deep in a config": (lambda: _work(config=Config(anything=[{"a": (SURROGATE,)}])), "field 'anything' of Config"),
    "foreign config": (lambda: _work(config={"label": [SURROGATE]}, capability=Foreign()), "in the config"),
}


class Foreign:
    id = "tests.foreign"

    def run(self, **_: Any) -> None: ...


@pytest.mark.parametrize("what", UNFIT)
def test_text_that_utf_8_cannot_encode_is_refused_at_submit_by_name(what: str) -> None:
    make, words = UNFIT[what]
    with pytest.raises(InvalidCapabilityError, match=words) as caught:
        prepare_submission(make(), backend="threads", store=AnalyticsStoreConfig(uri="memory://x"))
    assert r"'\udce9' at position 3" in caught.value.message
    assert "backslashreplace" in caught.value.hint
    str(caught.value).encode()


@pytest.mark.parametrize("kind", [DatasetRef, ModelRef])
@pytest.mark.parametrize("field", ["id", "uri"])
def test_so_it_is_where_a_reference_is_made(kind: type[DatasetRef], field: str) -> None:
    with pytest.raises(ValidationError, match=rf"{field}\n.*lone surrogate.*at position 3.*backslashreplace"):
        kind(**{"id": "d", "uri": "x:", "loader": "os:listdir", field: SURROGATE})


def test_so_is_provenance_given_or_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"user_id.*lone surrogate"):
        configure_provenance(user_id=SURROGATE)
    monkeypatch.setenv("CHECKMAITE_PROVENANCE_USER_ID", SURROGATE)
    with pytest.raises(ConfigurationError, match=r"user_id.*lone surrogate"):
        resolve_provenance()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"capability_id": SURROGATE}, "capability_id"),
        ({"dataset_metadata": [{"id": SURROGATE}]}, "an id among the datasets"),
        ({"config": Config(label="plain").model_copy(update={"label": SURROGATE})}, "in the config"),
    ],
)
def test_a_run_made_without_a_job_is_refused_as_plainly(changes: dict[str, Any], words: str) -> None:
    parts: dict[str, Any] = {"dataset_metadata": [], "model_metadata": [], "metric_metadata": [], **changes}
    config = parts.pop("config", Config())
    run = CapabilityRun[Config, CapabilityOutputs].model_construct(
        capability_id=parts.pop("capability_id", "c"), config=config, outputs=CapabilityOutputs(), **parts
    )
    with pytest.raises(RunContractError, match=words):
        bundle_run(run, event_id="e", provenance=Provenance(), store_uri="memory://x")
    with pytest.raises(RunContractError, match="an id among the datasets"):
        compute_run_uid("c", {}, {"datasets": [SURROGATE]})


def test_a_report_is_refused_by_the_part_that_cannot_be_stored() -> None:
    with pytest.raises(RunContractError, match=r"the text of the report.*lone surrogate"):
        as_report(SURROGATE)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (Config(number=math.inf), {"number": "Infinity"}),
        (Config(number=-math.inf, by_name={"a": math.nan}), {"number": "-Infinity", "by_name": {"a": "NaN"}}),
        (Config(anything=[math.nan, {"deep": (math.inf,)}]), {"anything": ["NaN", {"deep": ["Infinity"]}]}),
        (Config(anything=np.int64(2**60 + 1)), {"anything": 2**60 + 1}),
        (Config(anything=np.float32("nan")), {"anything": "NaN"}),
        ({"number": math.inf, "seed": np.int64(2**60 + 1)}, {"number": "Infinity", "seed": 2**60 + 1}),
        (Inner(seed=1, anything=[math.nan]), {"seed": 1, "anything": ["NaN"]}),
        (None, None),
    ],
)
def test_a_config_is_told_in_valid_json(config: Any, told: Any) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    read = json.loads(config_text(config), parse_constant=refuse)
    assert read == told or {name: read[name] for name in told} == told


def test_numpy_numbers_reach_a_config_unchanged_and_so_does_its_identity() -> None:
    large = np.int64(2**60 + 1)
    config = Config(seed=large, several=[large], by_name={"a": np.float32(0.5)})
    assert (config.seed, config.several, config.by_name) == (2**60 + 1, [2**60 + 1], {"a": 0.5})
    assert type(config.seed) is int
    submission = prepare_submission(
        _work(config=Config(anything=large)), backend="threads", store=AnalyticsStoreConfig(uri="memory://x")
    )
    assert submission.payload.config.anything == large
    with pytest.raises(ValueError, match="number"):
        Config(number=np.longdouble("0.1"))


class Tree(CapabilityConfig):
    seed: int = 0
    below: tuple[Tree, ...] = ()


def test_a_config_that_contains_itself_works_as_before() -> None:
    tree = Tree(seed=np.int64(2**60 + 1), below=(Tree(seed=1, below=(Tree(),)),))
    assert tree.seed == 2**60 + 1
    assert tree.below[0].below[0].seed == 0
