"""Datasets, models and metrics behind MAITE's protocols, made from plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from checkmaite_capabilities import (
    DatasetQuality,
    DatasetQualityConfig,
    DatasetQualityRun,
    ModelEvaluation,
    ModelEvaluationConfig,
    ModelEvaluationRun,
)


class ListDataset:
    """A dataset of whatever it is given; an exception in place of an image is raised when it is read."""

    def __init__(self, images: Sequence[Any], targets: Sequence[Any], metadata: Mapping[str, Any]) -> None:
        self.metadata = dict(metadata)
        self._images = images
        self._targets = targets

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> tuple[Any, Any, dict[str, Any]]:
        image = self._images[index]
        if isinstance(image, Exception):
            raise image
        return image, self._targets[index], {"id": f"datum-{index}"}


class ScriptedModel:
    """A model that answers with prepared scores, in order, whatever the images are."""

    def __init__(self, scores: Sequence[Any], metadata: Mapping[str, Any]) -> None:
        self.metadata = dict(metadata)
        self.batches: list[list[Any]] = []
        self._scores = list(scores)

    def __call__(self, batch: Sequence[Any], /) -> list[Any]:
        self.batches.append(list(batch))
        answer, self._scores = self._scores[: len(batch)], self._scores[len(batch) :]
        return answer


class ScriptedMetric:
    """A metric that computes what it is told to, and remembers what it was given."""

    def __init__(self, computed: Any, metric_id: str) -> None:
        self.metadata = {"id": metric_id}
        self.updates: list[tuple[Any, Any, Any]] = [("left from before", None, None)]
        self._computed = computed

    def reset(self) -> None:
        self.updates = []

    def update(self, pred_batch: Any, target_batch: Any, metadata_batch: Any, /) -> None:
        self.updates.append((pred_batch, target_batch, metadata_batch))

    def compute(self) -> Any:
        return self._computed


@dataclass
class Monitor:
    """Stands in for a backend's end of a run: it writes down what it hears, and may ask to stop."""

    stop_after: int | None = None
    reports: list[tuple[int, int | None]] = field(default_factory=list)
    asked: int = 0

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        self.reports.append((done, total))

    def cancel_requested(self) -> bool:
        self.asked += 1
        return self.stop_after is not None and self.asked > self.stop_after

    def report_waiting(self, reason: str | None) -> None:
        pass


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., ListDataset]:
    """Make a dataset from images (or their number), and labels, targets or nothing."""

    def make(
        images: Sequence[Any] | int,
        labels: Sequence[int] | None = None,
        *,
        targets: Sequence[Any] | None = None,
        classes: int = 2,
        name: str = "data",
        **metadata: Any,
    ) -> ListDataset:
        if isinstance(images, int):
            images = [np.full((1, 2, 2), index % 256, dtype=np.uint8) for index in range(images)]
        if targets is None:
            targets = np.eye(classes)[list(labels) if labels is not None else [0] * len(images)]
        return ListDataset(images, targets, {"id": name, **metadata})

    return make


@pytest.fixture(scope="session")
def make_model() -> Callable[..., ScriptedModel]:
    """Make a model that answers with the given scores."""

    def make(scores: Sequence[Any], *, name: str = "model", **metadata: Any) -> ScriptedModel:
        return ScriptedModel(scores, {"id": name, **metadata})

    return make


@pytest.fixture(scope="session")
def make_metric() -> Callable[..., ScriptedMetric]:
    """Make a metric that computes the given value."""

    def make(computed: Any, *, name: str = "metric") -> ScriptedMetric:
        return ScriptedMetric(computed, name)

    return make


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., ModelEvaluationRun]:
    """Run a model evaluation directly."""

    def run(model: Any, dataset: Any, *metrics: Any, **config: Any) -> ModelEvaluationRun:
        result = ModelEvaluation().run(
            models=[model], datasets=[dataset], metrics=list(metrics), config=ModelEvaluationConfig(**config)
        )
        assert isinstance(result, ModelEvaluationRun)
        return result

    return run


@pytest.fixture(scope="session")
def scores_of(
    make_dataset: Callable[..., ListDataset],
    make_model: Callable[..., ScriptedModel],
    evaluate: Callable[..., ModelEvaluationRun],
) -> Callable[..., ModelEvaluationRun]:
    """Evaluate given scores against given labels."""

    def run(labels: Sequence[int], rows: Any, /, **config: Any) -> ModelEvaluationRun:
        table = np.asarray(rows, dtype=np.float64)
        dataset = make_dataset(len(labels), labels, classes=table.shape[1])
        return evaluate(make_model(table), dataset, **config)

    return run


@pytest.fixture(scope="session")
def inspect_quality() -> Callable[..., DatasetQualityRun]:
    """Run a look at a dataset's quality directly."""

    def run(dataset: Any, **config: Any) -> DatasetQualityRun:
        result = DatasetQuality().run(datasets=[dataset], config=DatasetQualityConfig(**config))
        assert isinstance(result, DatasetQualityRun)
        return result

    return run


@pytest.fixture
def make_monitor() -> Callable[..., Monitor]:
    """Make a monitor, optionally one that asks to stop after so many questions."""
    return Monitor
