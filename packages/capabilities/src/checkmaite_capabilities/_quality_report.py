"""The report on a dataset's quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from checkmaite_capabilities._markdown import bar, escape, number, percent, table
from checkmaite_capabilities._quality_results import DatasetQualityOutputs, Finding, FindingKind

__all__ = ["quality_report"]

_MOST_CLASSES = 50
_MOST_FINDINGS = 15

_TITLES: dict[FindingKind, str] = {
    "unreadable": "Unreadable images",
    "non_finite": "Images with pixels that are not finite",
    "missing_label": "Images without a label",
    "ambiguous_label": "Images with several labels",
    "conflicting_label": "Equal images with different labels",
    "exact_duplicate": "Exact duplicates",
    "near_duplicate": "Near duplicates",
    "blank": "Blank images",
    "dark": "Dark images",
    "low_contrast": "Images of low contrast",
    "outlier": "Outliers",
}


def quality_report(outputs: DatasetQualityOutputs, *, dataset_id: str, threshold: float) -> str:
    """Write the report as Markdown.

    Args:
        outputs: What was found.
        dataset_id: The dataset's id.
        threshold: Classes with fewer images than this share of the largest class are marked.
    """
    return "\n\n".join(_sections(outputs, dataset_id, threshold)) + "\n"


def _sections(outputs: DatasetQualityOutputs, dataset_id: str, threshold: float) -> Iterator[str]:
    summary = outputs.summary
    yield f"# Quality of {escape(dataset_id)}"
    if summary.warning is not None:
        yield f"**{summary.warning[0].upper()}{summary.warning[1:]}.**"
    if not summary.images:
        return
    yield (
        f"{summary.images:,} images; {_span(summary.channels_min, summary.channels_max)} channels, "
        f"{_span(summary.height_min, summary.height_max)} pixels high, "
        f"{_span(summary.width_min, summary.width_max)} wide, in {summary.distinct_shapes:,} shapes. "
        f"Mean brightness {number(summary.brightness_mean)}, mean contrast {number(summary.contrast_mean)} "
        "(0 to 1)."
    )
    counts = {
        "unreadable": summary.unreadable_images,
        "not finite": summary.non_finite_images,
        "exact duplicates (beyond the first)": summary.exact_duplicates,
        "near duplicates (beyond the first)": summary.near_duplicates,
        "blank": summary.blank_images,
        "dark": summary.dark_images,
        "low contrast": summary.low_contrast_images,
        "outliers": summary.outlier_images,
        "label missing": summary.missing_labels,
        "label ambiguous": summary.ambiguous_labels,
        "label conflicts with a duplicate's": summary.conflicting_labels,
    }
    yield table(
        ["finding", "share", "images", "of all"],
        [
            [name, bar(None), "-", "-"]
            if count is None
            else [name, bar(count / summary.images), f"{count:,}", percent(count / summary.images)]
            for name, count in counts.items()
        ],
        left=2,
    )
    yield from _balance(outputs, threshold)
    yield from _findings(outputs)


def _balance(outputs: DatasetQualityOutputs, threshold: float) -> Iterator[str]:
    summary = outputs.summary
    yield "## Label balance"
    if summary.label_entropy_bits is None:
        yield "No image has a label."
        return
    rare = sum((count.relative_to_largest or 0.0) < threshold for count in outputs.classes)
    yield (
        f"{summary.classes_present} of {summary.classes} classes occur. "
        f"Entropy {number(summary.label_entropy_bits)} bits, evenness {number(summary.label_evenness)}; the largest "
        f"class has {number(summary.imbalance_ratio, 1)} times the images of the smallest that occurs. "
        f"{rare} classes have fewer than {threshold:g} times the images of the largest (marked ⚠)."
    )
    ordered = sorted(outputs.classes, key=lambda count: (count.images, count.class_index))
    yield table(
        ["class, rarest first", "relative to the largest", "images", "share"],
        [
            [
                escape(count.class_label) + (" ⚠" if (count.relative_to_largest or 0.0) < threshold else ""),
                bar(count.relative_to_largest),
                f"{count.images:,}",
                percent(count.share),
            ]
            for count in ordered[:_MOST_CLASSES]
        ],
        left=2,
    )
    if len(ordered) > _MOST_CLASSES:
        yield f"... and {len(ordered) - _MOST_CLASSES:,} more frequent ones, in table `dataset_quality_classes`."


def _findings(outputs: DatasetQualityOutputs) -> Iterator[str]:
    for kind in get_args(FindingKind):
        findings = [finding for finding in outputs.findings if finding.kind == kind]
        if not findings:
            continue
        if kind == "outlier":
            findings.sort(key=lambda finding: -abs(finding.score or 0.0))
        yield f"## {_TITLES[kind]}"
        yield table(
            ["image", "id", "detail", "group", "most like", "score"],
            [_row(finding) for finding in findings[:_MOST_FINDINGS]],
            left=3,
        )
        if len(findings) > _MOST_FINDINGS:
            yield f"... and {len(findings) - _MOST_FINDINGS:,} more, in table `dataset_quality_findings`."


def _row(finding: Finding) -> list[str]:
    return [
        str(finding.image_index),
        escape(finding.image_id or ""),
        escape(finding.detail or ""),
        "" if finding.group_index is None else str(finding.group_index),
        "" if finding.related_index is None else str(finding.related_index),
        "" if finding.score is None else number(finding.score),
    ]


def _span(least: int | None, greatest: int | None) -> str:
    return "no" if least is None else f"{least}" if least == greatest else f"{least} to {greatest}"
