"""The plan: which models meet which images, submitted as jobs.

Nothing is loaded here. Models and datasets travel as references of a few bytes, and each worker loads what its job
names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from checkmaite_capabilities import (
    DatasetQuality,
    GaussianBlur,
    GaussianNoise,
    ModelEvaluation,
    ModelEvaluationConfig,
    Occlusion,
    Perturbation,
    Rotation,
)
from checkmaite_core import DatasetRef, Job, JobBackend, ModelRef, submit_capability

__all__ = ["FULL", "PERTURBATIONS", "QUICK", "Plan", "submit_plan"]

PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation
    for perturbation in (
        GaussianNoise(0.15),
        GaussianNoise(0.3),
        GaussianBlur(0.6),
        GaussianBlur(1.0),
        Rotation(15),
        Rotation(30),
        Occlusion(0.06),
        Occlusion(0.14),
    )
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo does: one run on the quality of the data, and every model on every kind of test images.

    Attributes:
        models: Ids of the models.
        perturbations: Names of the perturbations; the clean test images come on top.
    """

    models: tuple[str, ...]
    perturbations: tuple[str, ...]

    @property
    def jobs(self) -> int:
        """How many jobs that makes."""
        return 1 + len(self.models) * (1 + len(self.perturbations))


FULL = Plan(
    models=("logistic-regression", "nearest-neighbours", "random-forest", "support-vectors"),
    perturbations=tuple(PERTURBATIONS),
)
QUICK = Plan(models=FULL.models[:2], perturbations=("noise(0.3)", "rotation(30)"))


def submit_plan(plan: Plan, backend: JobBackend, *, force: bool = False) -> Iterator[Job]:
    """Submit the jobs one by one.

    Args:
        plan: What is to be done.
        backend: Where.
        force: Start a new job also where the backend has one of equal work.

    Raises:
        SubmissionError: One of them was not accepted.
    """
    yield submit_capability(DatasetQuality(), datasets=[_dataset("digits")], force=force, backend=backend)
    for images in ("digits-test", *(f"digits-test+{name}" for name in plan.perturbations)):
        for model in plan.models:
            yield submit_capability(
                ModelEvaluation(),
                models=[_model(model)],
                datasets=[_dataset(images)],
                config=ModelEvaluationConfig(batch_size=256),
                name=f"{model} on {images}",
                force=force,
                backend=backend,
            )


def _dataset(name: str) -> DatasetRef:
    loader = f"{__package__}.data:load_digits_dataset"
    return DatasetRef(id=name, uri=f"sklearn:{name}", loader=loader, fingerprint=_fingerprint())


def _model(name: str) -> ModelRef:
    loader = f"{__package__}.models:load_classifier"
    return ModelRef(id=name, uri=f"sklearn:{name}", loader=loader, fingerprint=_fingerprint())


def _fingerprint() -> str:
    """What tells whether scans and classifiers are what they were: both come with scikit-learn."""
    return f"scikit-learn {metadata.version('scikit-learn')}"
