"""Rows that SQL can use alone, reports that a person can read, and runs that can be watched and stopped."""

from __future__ import annotations

import math
import subprocess
import sys
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from checkmaite_capabilities import DatasetQuality, DatasetQualityRun, ModelEvaluation, ModelEvaluationRun
from checkmaite_core import JobCancelledError
from checkmaite_core.context import monitored
from checkmaite_core.provenance import Provenance
from checkmaite_core.run import bundle_run

Make = Callable[..., Any]
Evaluate = Callable[..., ModelEvaluationRun]
Inspect = Callable[..., DatasetQualityRun]

UGLY = "a|b <script>*x*</script>\n# [h](javascript:0) `c` $m$"


def rows_of(run: Any) -> dict[str, list[dict[str, Any]]]:
    """What would be committed, by table."""
    bundle = bundle_run(run, event_id="job-1", provenance=Provenance(), store_uri="file:///store")
    return {table.table: [dict(row) for row in table.rows] for table in bundle.tables}


def test_an_evaluation_leaves_its_tables_with_rows_that_stand_alone(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, make_metric: Make
) -> None:
    scores = [[0.9, 0.1], [0.2, 0.8], [math.nan, 0.0]]
    run = evaluate(make_model(scores), make_dataset(3, [0, 0, 1]), make_metric({"x": math.inf, "y": [1, 2]}))
    tables = rows_of(run)
    sizes = {name: len(rows) for name, rows in tables.items()}
    assert sizes == {
        "model_evaluation": 1,
        "model_evaluation_classes": 2,
        "confusion": 3,
        "calibration_bins": 15,
        "metric_values": 3,
    }
    every = [row for rows in tables.values() for row in rows]
    assert {(row["run_uid"], row["dataset_id"], row["model_id"]) for row in every} == {(run.run_uid, "data", "model")}
    assert all(math.isfinite(cell) for row in every for cell in row.values() if isinstance(cell, float))
    assert tables["model_evaluation"][0]["accuracy"] == pytest.approx(1 / 3)


def test_a_look_at_quality_leaves_its_tables_with_rows_that_stand_alone(
    inspect_quality: Inspect, make_dataset: Make
) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    run = inspect_quality(make_dataset([image, image, image[:, ::-1]], [0, 1, 0]))
    tables = rows_of(run)
    assert {name: len(rows) for name, rows in tables.items()} == {
        "dataset_quality": 1,
        "dataset_quality_findings": len(run.outputs.findings),
        "dataset_quality_classes": 2,
    }
    every = [row for rows in tables.values() for row in rows]
    assert {(row["run_uid"], row["dataset_id"]) for row in every} == {(run.run_uid, "data")}
    assert {row["image_id"] for row in tables["dataset_quality_findings"]} >= {"datum-0", "datum-1"}


def test_equal_work_has_equal_rows_but_for_the_times(
    evaluate: Evaluate, inspect_quality: Inspect, make_dataset: Make, make_model: Make
) -> None:
    rng = np.random.default_rng(0)
    scores, dataset = rng.normal(size=(40, 2)), make_dataset(list(rng.random((40, 1, 9, 9))))
    one, two = (rows_of(evaluate(make_model(scores), dataset)) for _ in range(2))
    for tables in (one, two):
        for name in [column for column in tables["model_evaluation"][0] if column.endswith(("_s", "_per_second"))]:
            del tables["model_evaluation"][0][name]
    assert one == two
    assert rows_of(inspect_quality(dataset)) == rows_of(inspect_quality(dataset))


def cells(line: str) -> int:
    """Number of cells in a table's line, as a Markdown parser counts them."""
    return line.replace("\\|", "").count("|") - 1


def assert_harmless(report: str) -> None:
    lines = report.splitlines()
    tables = defaultdict(list)
    for number, line in enumerate(lines):
        if line.startswith("|"):
            start = number
            while start and lines[start - 1].startswith("|"):
                start -= 1
            tables[start].append(cells(line))
        else:
            assert line.startswith(("# ", "## ")) or "# " not in line
    assert all(len(set(counts)) == 1 for counts in tables.values())
    for active in ("<", "](", "*x*", "`c`", "$m$"):
        assert active not in report
    assert "javascript" in report, "the name is shown, not dropped"


def test_names_in_an_evaluation_report_are_only_text(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, make_metric: Make
) -> None:
    labels = {0: UGLY, 1: UGLY + "2"}
    run = evaluate(
        make_model([[0.9, 0.1], [0.8, 0.2]], name=UGLY, index2label=labels),
        make_dataset(2, [0, 1], name=UGLY, index2label=labels),
        make_metric({UGLY: 1.0}, name=UGLY),
    )
    assert_harmless(run.collect_md_report(0.5))


def test_names_in_a_quality_report_are_only_text(inspect_quality: Inspect, make_dataset: Make) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    images = [image, image, ValueError(UGLY)]
    run = inspect_quality(make_dataset(images, [0, 1, 0], name=UGLY, index2label={0: UGLY, 1: "dog"}))
    assert_harmless(run.collect_md_report(0.5))


def test_the_threshold_marks_the_weak_classes(evaluate: Evaluate, make_dataset: Make, make_model: Make) -> None:
    names = {0: "cat", 1: "dog"}
    run = evaluate(make_model([[1.0, 0.0]] * 4), make_dataset(4, [0, 0, 0, 1], index2label=names))
    marked = [line.split("|")[1].strip() for line in run.collect_md_report(0.8).splitlines() if "⚠ |" in line]
    assert marked == ["dog ⚠"], "cat has an F1 of 0.86"
    assert "2 of 2 classes have an F1 below 0.9" in run.collect_md_report(0.9)


def test_the_threshold_marks_the_rare_classes(inspect_quality: Inspect, make_dataset: Make) -> None:
    run = inspect_quality(make_dataset(4, [0, 0, 0, 1], index2label={0: "cat", 1: "dog"}))
    assert "dog ⚠" in run.collect_md_report(0.5)
    assert "⚠ |" not in run.collect_md_report(0.3)


def test_a_long_report_is_cut_and_says_where_the_rest_is(scores_of: Evaluate) -> None:
    rng = np.random.default_rng(0)
    report = scores_of(rng.integers(300, size=3000).tolist(), rng.random((3000, 300))).collect_md_report(0.5)
    assert "in table `model_evaluation_classes`" in report
    assert "in table `confusion`" in report
    assert len(report) < 20_000


@pytest.mark.parametrize("capability", [ModelEvaluation, DatasetQuality])
def test_progress_reaches_its_end(capability: Any, make_dataset: Make, make_model: Make, make_monitor: Make) -> None:
    monitor = make_monitor()
    models = [make_model([[1.0, 0.0]] * 70)] if capability is ModelEvaluation else []
    with monitored(monitor):
        capability().run(models=models, datasets=[make_dataset(70)])
    done, total = zip(*monitor.reports, strict=True)
    assert list(done) == sorted(done)
    assert done[0] == 0
    assert done[-1] == total[-1] == (3 if capability is ModelEvaluation else 70)
    assert set(total) == {total[-1]}


@pytest.mark.parametrize("capability", [ModelEvaluation, DatasetQuality])
def test_a_cancelled_run_stops_before_it_reads_on(
    capability: Any, make_dataset: Make, make_model: Make, make_monitor: Make
) -> None:
    dataset = make_dataset([*[np.zeros((1, 2, 2))] * 64, AssertionError("read on")], [0] * 65)
    models = [make_model([[1.0, 0.0]] * 65)] if capability is ModelEvaluation else []
    stop_after = 2 if capability is ModelEvaluation else 64
    with monitored(make_monitor(stop_after)), pytest.raises(JobCancelledError):
        capability().run(models=models, datasets=[dataset])


class Counted(np.ndarray[Any, np.dtype[np.uint8]]):
    """An array that weak references can follow."""


class Streaming:
    """A dataset that knows how many of its images are alive."""

    metadata = {"id": "streaming"}  # noqa: RUF012 - as MAITE's examples have it

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most = 0

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> Any:
        image = np.full((1, 16, 16), index, dtype=np.uint8).view(Counted)
        token = Token()
        image.token = token  # type: ignore[attr-defined]
        self.alive.add(token)
        self.most = max(self.most, len(self.alive))
        return image, np.eye(2)[0], {"id": index}


class Token:
    """Lives as long as its image: arrays are not hashable."""


@pytest.mark.parametrize(("capability", "most"), [(ModelEvaluation, 8), (DatasetQuality, 2)])
def test_only_the_images_at_work_are_in_memory(capability: Any, most: int) -> None:
    class Forgetful:
        metadata = {"id": "forgetful"}  # noqa: RUF012 - as MAITE's examples have it

        def __call__(self, batch: Any) -> Any:
            return np.zeros((len(batch), 2))

    dataset = Streaming()
    config = capability.config_class(**({"batch_size": 4} if capability is ModelEvaluation else {}))
    models = [Forgetful()] if capability is ModelEvaluation else []
    capability().run(models=models, datasets=[dataset], config=config)
    assert dataset.most <= most


def test_importing_the_package_loads_numpy_maite_and_core_alone() -> None:
    program = """
import sys, checkmaite_core, numpy, maite.protocols.image_classification
before = {name.partition('.')[0] for name in sys.modules}
import checkmaite_capabilities
print(*sorted({name.partition('.')[0] for name in sys.modules} - before - set(sys.stdlib_module_names)))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["checkmaite_capabilities"]
