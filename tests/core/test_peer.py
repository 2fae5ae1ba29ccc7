"""The capabilities of PyPI's checkmaite 0.6.1 run unmodified: the real thing in `soak`, its shape always."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from checkmaite_core import InlineTextReport
from checkmaite_core.testing import CheckedRun, check_capability
from checkmaite_core.testing._workloads import Data

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "packages" / "core" / "src"


@pytest.mark.soak
def test_the_real_model_evaluation_of_checkmaite_0_6_1_runs_unmodified(tmp_path: Path) -> None:
    python = tmp_path / "peer" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "peer"], check=True)
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "torch==2.13.0"], check=True)
    subprocess.run([*install, "--no-deps", "torchvision==0.28.0", "-r", HERE / "peer_requirements.txt"], check=True)
    result = subprocess.run(
        [python, HERE / "peer_evaluation.py"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(CORE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    reference = found["reference"]
    assert reference["capability_id"].endswith("maite_evaluation_capability.MaiteEvaluation")
    assert (reference["dataset_ids"], reference["model_ids"]) == (["toy-images"], ["toy-model"])
    (row,) = found["tables"]["maite_evaluation"]
    assert (row["run_uid"], row["output_key"], row["output_value"]) == (reference["run_uid"], "accuracy", 1.0)
    assert "toy-accuracy" in found["report"]


# From here on a double: written from the public shape of 0.6.1 (a pydantic run with a cached identity, records with a
# time of their own, reports of its own classes), since the real thing takes minutes to install.


class DoubleConfig(BaseModel):
    batch_size: int = 1


class DoubleOutputs(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    score: float


class DoubleReport(BaseModel):
    kind: Literal["inline_text"] = "inline_text"
    media_type: str
    filename: str
    content: str


class DoubleRecord(BaseModel):
    table_name: ClassVar[str] = "double_evaluation"

    run_uid: str
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    dataset_id: str
    output_value: float
    class_name: str | None = None


class DoubleRun(BaseModel):
    model_config = ConfigDict(frozen=True)

    capability_id: str
    config: DoubleConfig
    dataset_metadata: list[dict[str, Any]]
    model_metadata: list[dict[str, Any]]
    metric_metadata: list[dict[str, Any]]
    outputs: DoubleOutputs

    @cached_property
    def run_uid(self) -> str:
        return f"double-{self.dataset_metadata[0]['id']}-{self.config.batch_size}"

    def extract(self) -> Sequence[DoubleRecord]:
        value = self.outputs.score
        return [DoubleRecord(run_uid=self.run_uid, dataset_id=self.dataset_metadata[0]["id"], output_value=value)]

    def collect_md_report(self, threshold: float) -> DoubleReport:
        return DoubleReport(media_type="text/markdown", filename="double.md", content=f"# {threshold}")


class Double:
    def __init__(self, run: type[DoubleRun] = DoubleRun) -> None:
        self.run_class = run

    @property
    def id(self) -> str:
        return f"{type(self).__module__}.{type(self).__name__}"

    def run(
        self,
        models: list[Any] | None = None,
        datasets: list[Any] | None = None,
        metrics: list[Any] | None = None,
        config: DoubleConfig | None = None,
        use_cache: bool = True,
    ) -> DoubleRun:
        assert not use_cache
        return self.run_class(
            capability_id=self.id,
            config=config or DoubleConfig(),
            dataset_metadata=[each.metadata for each in datasets or []],
            model_metadata=[each.metadata for each in models or []],
            metric_metadata=[each.metadata for each in metrics or []],
            outputs=DoubleOutputs(score=0.5),
        )


class NoReportRun(DoubleRun):
    def collect_md_report(self, threshold: float) -> DoubleReport:
        raise NotImplementedError


def _check(capability: Any, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> CheckedRun:
    """A class of a test module cannot be pickled by name, so the work is handed over as it is."""
    works: list[Any] = []

    def dumps(work: Any) -> bytes:
        works.append(work)
        return b""

    monkeypatch.setattr(pickle, "loads", lambda _: works[-1])
    return check_capability(capability, dumps=dumps, **arguments)


def test_a_double_of_its_shape_runs_unmodified(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = _check(Double(), monkeypatch, datasets=[Data("d")], models=[Data("m")], config=DoubleConfig(batch_size=8))
    assert (checked.reference.run_uid, checked.reference.model_ids) == ("double-d-8", ("m",))
    (row,) = checked.tables["double_evaluation"]
    assert (row["output_value"], row["class_name"]) == (0.5, None)
    created = row["created_at"]
    assert isinstance(created, datetime)
    assert created.tzinfo is UTC
    assert checked.reference.report == InlineTextReport(filename="double.md", content="# 0.5")


def test_a_double_without_a_report_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _check(Double(NoReportRun), monkeypatch, datasets=[Data("d")]).report is None
