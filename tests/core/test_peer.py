"""The capabilities of PyPI's checkmaite 0.6.1 run unmodified: the real thing in `soak`, its shape always."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from checkmaite_core import InlineTextReport
from checkmaite_core.input_identity import covering_uid
from checkmaite_core.testing import CheckedRun, check_capability
from checkmaite_core.testing._workloads import Data
from image_layers import build_wheels

HERE = Path(__file__).parent


OURS = ("core", "storage", "ledger", "analytics-store", "ray-simple", "ray")
BESIDE = ("ray[client]==2.60.0", "pyarrow==26.0.0", "duckdb==2.0.1")
"""What our backends need there. 0.6.1 runs with the NumPy that this pyarrow wants, whatever it declares."""


OPERATORS = """
import torch
if torch.version.cuda is None:
    _declared = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the real thing, and our packages beside it as wheels; its ``python``."""
    folder = tmp_path_factory.mktemp("peer")
    python = folder / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "torch==2.13.0"], check=True)
    subprocess.run([*install, "--no-deps", "torchvision==0.28.0", "-r", HERE / "peer_requirements.txt"], check=True)
    subprocess.run([*install, *BESIDE], check=True)
    build_wheels(HERE.parents[1], OURS, folder / "wheels")
    subprocess.run([*install, "--no-deps", *(folder / "wheels").glob("*.whl")], check=True)
    # The public torchvision wheel is built for CUDA, and against a CPU-only torch it fails to import for want of two
    # operators, in workers too. Nobody calls them here: declaring them is enough.
    (torchvision,) = (folder / "env").glob("lib/python*/site-packages/torchvision/__init__.py")
    torchvision.write_text(f"{OPERATORS}\n{torchvision.read_text()}")
    return python


def _run(python: Path, folder: Path, *arguments: str | Path) -> Any:
    # Ray puts sockets into its folder, so its path must be short.
    with tempfile.TemporaryDirectory(prefix="cmp-", dir="/tmp") as temporary:
        result = subprocess.run(
            [python, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "RAY_TMPDIR": temporary,
                "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            },
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.soak
def test_the_real_model_evaluation_of_checkmaite_0_6_1_runs_unmodified(peer: Path, tmp_path: Path) -> None:
    found = _run(peer, tmp_path, HERE / "peer_evaluation.py")
    reference = found["reference"]
    assert reference["capability_id"].endswith("maite_evaluation_capability.MaiteEvaluation")
    assert (reference["dataset_ids"], reference["model_ids"]) == (["toy-images"], ["toy-model"])
    (row,) = found["tables"]["maite_evaluation"]
    assert (row["run_uid"], row["output_key"], row["output_value"]) == (reference["run_uid"], "accuracy", 1.0)
    assert "toy-accuracy" in found["report"]


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["ray-simple", "ray"])
def test_the_real_model_evaluation_of_checkmaite_0_6_1_runs_unmodified_as_a_job(
    peer: Path, tmp_path: Path, kind: str
) -> None:
    found = _run(peer, tmp_path, HERE / "peer_backends.py", kind, tmp_path)
    reference = found["reference"]
    assert reference["capability_id"].endswith("maite_evaluation_capability.MaiteEvaluation")
    assert (reference["dataset_ids"], reference["model_ids"]) == (["toy-images"], ["toy-model"])
    (row,) = found["rows"]
    assert (row["run_uid"], row["output_key"], row["output_value"]) == (reference["run_uid"], "accuracy", 1.0)
    assert (row["job_id"], row["backend"]) == (reference["event_id"], kind)
    assert found["report"], "its own report came along"
    assert "maite_evaluation" in found["tables"]


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
    assert checked.reference.model_ids == ("m",)
    # Its own run_uid says the ids of its inputs; the one that is stored covers what they are.
    assert checked.reference.run_uid == covering_uid("double-d-8", checked.reference.inputs)
    (row,) = checked.tables["double_evaluation"]
    assert row["run_uid"] == checked.reference.run_uid
    assert (row["output_value"], row["class_name"]) == (0.5, None)
    created = row["created_at"]
    assert isinstance(created, datetime)
    assert created.tzinfo is UTC
    assert checked.reference.report == InlineTextReport(filename="double.md", content="# 0.5")


def test_a_double_without_a_report_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _check(Double(NoReportRun), monkeypatch, datasets=[Data("d")]).report is None
