"""Capabilities for image classifiers and datasets behind MAITE's protocols; they need numpy alone."""

from checkmaite_capabilities.dataset_quality import DatasetQuality, DatasetQualityConfig, DatasetQualityRun
from checkmaite_capabilities.model_evaluation import ModelEvaluation, ModelEvaluationConfig, ModelEvaluationRun
from checkmaite_capabilities.perturbations import (
    GaussianBlur,
    GaussianNoise,
    Occlusion,
    Perturbation,
    PerturbedDataset,
    Rotation,
)

__all__ = [
    "DatasetQuality",
    "DatasetQualityConfig",
    "DatasetQualityRun",
    "GaussianBlur",
    "GaussianNoise",
    "ModelEvaluation",
    "ModelEvaluationConfig",
    "ModelEvaluationRun",
    "Occlusion",
    "Perturbation",
    "PerturbedDataset",
    "Rotation",
]
