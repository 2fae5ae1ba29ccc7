"""What a look at a dataset's quality found, and the rows that it leaves."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from checkmaite_core import CapabilityOutputs, Record

__all__ = [
    "ClassCount",
    "DatasetQualityClassRecord",
    "DatasetQualityFindingRecord",
    "DatasetQualityOutputs",
    "DatasetQualityRecord",
    "Finding",
    "FindingKind",
    "QualitySummary",
]

FindingKind = Literal[
    "unreadable",
    "non_finite",
    "missing_label",
    "ambiguous_label",
    "conflicting_label",
    "exact_duplicate",
    "near_duplicate",
    "blank",
    "dark",
    "low_contrast",
    "outlier",
]


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QualitySummary(_Figures):
    """Figures of one dataset. Where a figure is not defined it is None, never NaN.

    Attributes:
        images: Images in the dataset.
        unreadable_images: Images that could not be read, or are no array of shape (C, H, W).
        non_finite_images: Images with NaN or infinite pixels; they are not looked at further, except for exact
            duplicates.
        exact_duplicate_groups: Groups of images with equal pixels, shape and type.
        exact_duplicates: Images in them, beyond the first of each.
        near_duplicate_groups: Groups of images that look alike; exact duplicates count as one image.
        near_duplicates: Images in them, beyond the first of each.
        blank_images: Images of one even brightness.
        dark_images: Images that are dark almost everywhere.
        low_contrast_images: Images whose brightness hardly varies.
        outlier_images: Images with at least one unusual statistic.
        missing_labels: Images whose target is all zero or not finite.
        ambiguous_labels: Images whose target shares its maximum among classes.
        conflicting_labels: Images that have an exact duplicate with another label.
        classes: Number of classes.
        classes_present: Classes with at least one image.
        label_entropy_bits: Entropy of the distribution of labels: Shannon, "A Mathematical Theory of Communication",
            1948. None without labels.
        label_evenness: That entropy over the greatest it can be, log2 of ``classes``: 1 if all classes are equally
            frequent, 0 if there is only one (Pielou, "The measurement of diversity in different types of biological
            collections", 1966). None without labels, or with fewer than two classes.
        imbalance_ratio: Images of the largest class over those of the smallest class that is present. None without
            labels.
        distinct_shapes: Number of different shapes (C, H, W).
        height_min: Least height in pixels.
        height_max: Greatest height in pixels.
        width_min: Least width in pixels.
        width_max: Greatest width in pixels.
        channels_min: Least number of channels.
        channels_max: Greatest number of channels.
        brightness_mean: Mean over images of their mean brightness, from 0 to 1.
        contrast_mean: Mean over images of the standard deviation of their brightness.
        warning: What a reader of these figures must know, such as why some are None. None if there is nothing.

    What is found by looking at pixels is None if no image has pixels that can be measured, and ``outlier_images`` also
    with fewer than 10 such images, which do not tell what is usual.
    """

    images: int
    unreadable_images: int
    non_finite_images: int
    exact_duplicate_groups: int
    exact_duplicates: int
    near_duplicate_groups: int | None
    near_duplicates: int | None
    blank_images: int | None
    dark_images: int | None
    low_contrast_images: int | None
    outlier_images: int | None
    missing_labels: int
    ambiguous_labels: int
    conflicting_labels: int
    classes: int
    classes_present: int
    label_entropy_bits: float | None
    label_evenness: float | None
    imbalance_ratio: float | None
    distinct_shapes: int
    height_min: int | None
    height_max: int | None
    width_min: int | None
    width_max: int | None
    channels_min: int | None
    channels_max: int | None
    brightness_mean: float | None
    contrast_mean: float | None
    warning: str | None = None


class Finding(_Figures):
    """One thing about one image that deserves a look.

    Attributes:
        image_index: Position of the image in the dataset, from 0.
        image_id: Its id in the datum's metadata, as text; None where it has none.
        kind: What it is.
        detail: For an outlier the statistic, for an unreadable image the error, for a conflicting label the image's
            own label.
        group_index: For duplicates and conflicting labels: position of the first image of the group.
        related_index: For duplicates: position of the image most like it.
        score: How much of it. Duplicates: similarity, 1 for exact ones. Blank: range of brightness. Dark: its 99th
            percentile. Low contrast: from its 1st to its 99th percentile. Outlier: robust z-score. Non-finite:
            share of the pixels. Brightness runs from 0 to 1. None for the others.
    """

    image_index: int
    image_id: str | None
    kind: FindingKind
    detail: str | None = None
    group_index: int | None = None
    related_index: int | None = None
    score: float | None = None


class ClassCount(_Figures):
    """How often one class occurs.

    Attributes:
        class_index: Index of the class.
        class_label: Its name; the index as text where it has none.
        images: Images labelled with it.
        share: Share of the labelled images; None if there are none.
        relative_to_largest: Images over those of the largest class; None if no image is labelled.
    """

    class_index: int
    class_label: str
    images: int
    share: float | None
    relative_to_largest: float | None


class DatasetQualityOutputs(CapabilityOutputs):
    """All that was found.

    Attributes:
        summary: Figures of the dataset.
        findings: By kind, in the order of :data:`FindingKind`, then by group and image.
        classes: Label counts, by class.
    """

    summary: QualitySummary
    findings: tuple[Finding, ...]
    classes: tuple[ClassCount, ...]


class _DatasetRow(Record):
    dataset_id: str


class DatasetQualityRecord(QualitySummary, _DatasetRow, table_name="dataset_quality"):
    """Row of ``dataset_quality``: one per run."""


class DatasetQualityFindingRecord(Finding, _DatasetRow, table_name="dataset_quality_findings"):
    """Row of ``dataset_quality_findings``: one per finding."""


class DatasetQualityClassRecord(ClassCount, _DatasetRow, table_name="dataset_quality_classes"):
    """Row of ``dataset_quality_classes``: one per class."""
