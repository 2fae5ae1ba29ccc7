"""Duplicates, blank, dark, flat, unusual and broken images are found, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats

from checkmaite_capabilities import DatasetQuality, DatasetQualityConfig, DatasetQualityRun
from checkmaite_core import InputContractError, InvalidCapabilityError

Make = Callable[..., Any]
Inspect = Callable[..., DatasetQualityRun]


def textured(seed: int, shape: tuple[int, int, int] = (3, 40, 40)) -> NDArray[np.uint8]:
    """A picture of its own: smooth random blobs over the whole range of brightness."""
    rng = np.random.default_rng(seed)
    channels, height, width = shape
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    picture = sum(
        rng.normal() * np.cos(2 * np.pi * (fy * y + fx * x) + rng.uniform(0, 2 * np.pi))
        for fy in range(5)
        for fx in range(5)
        if fy + fx
    )
    picture = np.asarray((picture - np.min(picture)) / np.ptp(picture))
    return np.stack([np.rint(255 * picture).astype(np.uint8)] * channels)


def found(run: DatasetQualityRun, kind: str) -> list[int]:
    return [finding.image_index for finding in run.outputs.findings if finding.kind == kind]


@pytest.fixture(scope="module")
def plain() -> list[NDArray[Any]]:
    """Twenty healthy pictures."""
    return [textured(seed) for seed in range(20)]


def test_a_healthy_dataset_has_no_findings(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]]
) -> None:
    run = inspect_quality(make_dataset(plain))
    assert [finding for finding in run.outputs.findings if finding.kind != "outlier"] == []


def test_exact_duplicates_agree_in_pixels_shape_and_type(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]]
) -> None:
    images = [
        *plain,
        plain[3].copy(),
        plain[3].astype(np.uint16),
        plain[5].reshape(3, 20, 80),
        plain[3][:, ::-1][:, ::-1],
    ]
    run = inspect_quality(make_dataset(images))
    duplicates = [finding for finding in run.outputs.findings if finding.kind == "exact_duplicate"]
    assert [(one.image_index, one.group_index, one.related_index, one.score) for one in duplicates] == [
        (3, 3, 20, 1.0),
        (20, 3, 3, 1.0),
        (23, 3, 3, 1.0),
    ]
    assert (run.outputs.summary.exact_duplicate_groups, run.outputs.summary.exact_duplicates) == (1, 2)


def test_equal_images_with_different_labels_conflict(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]]
) -> None:
    names = {0: "cat", 1: "dog"}
    images = [plain[0], plain[0], plain[1], plain[1]]
    run = inspect_quality(make_dataset(images, [0, 1, 1, 1], index2label=names))
    conflicts = [finding for finding in run.outputs.findings if finding.kind == "conflicting_label"]
    assert [(one.image_index, one.group_index, one.detail) for one in conflicts] == [(0, 0, "cat"), (1, 0, "dog")]
    assert run.outputs.summary.conflicting_labels == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.clip(image * 0.7 + 20, 0, 255).astype(np.uint8),
        lambda image: np.clip(image + np.random.default_rng(1).normal(0, 5, image.shape), 0, 255).astype(np.uint8),
        lambda image: image.repeat(2, axis=1).repeat(2, axis=2),
        lambda image: image.reshape(3, 20, 2, 20, 2).mean(axis=(2, 4)).astype(np.uint8),
        lambda image: image[:1],
        lambda image: image / 255,
        lambda image: (image // 16) * 16,
    ],
    ids=["darker", "noisy", "twice as large", "half as large", "grayscale", "floats", "fewer levels"],
)
def test_a_changed_copy_is_a_near_duplicate(
    inspect_quality: Inspect,
    make_dataset: Make,
    plain: list[NDArray[Any]],
    change: Callable[[NDArray[Any]], NDArray[Any]],
) -> None:
    run = inspect_quality(make_dataset([*plain, change(plain[7])]))
    near = [finding for finding in run.outputs.findings if finding.kind == "near_duplicate"]
    assert [(one.image_index, one.group_index, one.related_index) for one in near] == [(7, 7, 20), (20, 7, 7)]
    assert all(one.score is not None and 0.99 <= one.score <= 1 for one in near)
    assert (run.outputs.summary.near_duplicate_groups, run.outputs.summary.near_duplicates) == (1, 1)
    assert found(run, "exact_duplicate") == []


def test_an_exact_duplicate_is_no_near_duplicate_as_well(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]]
) -> None:
    run = inspect_quality(make_dataset([plain[0], plain[0], plain[0] // 2]))
    assert found(run, "exact_duplicate") == [0, 1]
    assert found(run, "near_duplicate") == [0, 2]


def test_a_few_bright_pixels_neither_light_a_dark_image_nor_give_it_contrast(
    inspect_quality: Inspect, make_dataset: Make
) -> None:
    night, fog, lamps = (np.full((1, 40, 40), level, dtype=np.uint8) for level in (10, 120, 10))
    night[0, 0, :8] = fog[0, 0, :8] = 255  # half a per cent
    lamps[0, 0] = 255  # two and a half
    run = inspect_quality(make_dataset([night, fog, lamps]))
    assert found(run, "dark") == [0]
    assert found(run, "low_contrast") == [0, 1]


def test_dim_floats_are_dark_not_stretched(inspect_quality: Inspect, make_dataset: Make) -> None:
    images = [textured(seed) / 255 * 0.15 for seed in range(3)]
    assert found(inspect_quality(make_dataset(images)), "dark") == [0, 1, 2]


def test_a_blank_image_is_only_blank(inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]]) -> None:
    run = inspect_quality(make_dataset([*plain, np.zeros((3, 40, 40), dtype=np.uint8)]))
    assert [one.kind for one in run.outputs.findings if one.image_index == 20] == ["blank"]


def test_levels_are_judged_by_the_documented_limits(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]]
) -> None:
    base = textured(50).astype(float)
    images = [
        *plain,
        np.full((3, 40, 40), 90, dtype=np.uint8),  # 20: blank
        np.zeros((1, 5, 7), dtype=np.uint8),  # 21: blank, and black
        (base * 0.15).astype(np.uint8),  # 22: dark
        (120 + base * 0.04).astype(np.uint8),  # 23: low contrast
        (base * 0.04).astype(np.uint8),  # 24: both
        np.full((1, 1, 1), 200, dtype=np.uint8),  # 25: one pixel
    ]
    run = inspect_quality(make_dataset(images))
    assert found(run, "blank") == [20, 21, 25]
    assert found(run, "dark") == [22, 24]
    assert found(run, "low_contrast") == [23, 24]
    summary = run.outputs.summary
    assert (summary.blank_images, summary.dark_images, summary.low_contrast_images) == (3, 2, 2)


@pytest.mark.parametrize(
    "convert",
    [
        lambda image: image,
        lambda image: image / 255,
        lambda image: (image / 255).astype(np.float32),
        lambda image: image.astype(np.uint16) * 257,
        lambda image: image.astype(float),
        lambda image: image.astype(np.int64),
        lambda image: image.tolist(),
        lambda image: image / 255 * 4 - 2,
    ],
    ids=["uint8", "floats to 1", "half floats", "uint16", "floats to 255", "integers", "lists", "standardised"],
)
def test_every_usual_range_of_values_is_understood(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]], convert: Callable[[Any], Any]
) -> None:
    # The first picture reaches from black to white, as does every one of `plain`.
    dark = (textured(50) * 0.15).astype(np.uint8)
    run = inspect_quality(make_dataset([convert(image) for image in [*plain, dark]]))
    assert found(run, "dark") == [20]
    assert run.outputs.summary.brightness_mean == pytest.approx(
        np.mean([image[0].mean() / 255 for image in [*plain, dark]]), abs=1e-3
    )


def test_a_configured_range_comes_before_everything(inspect_quality: Inspect, make_dataset: Make) -> None:
    images = [textured(seed) // 16 for seed in range(12)]
    assert found(inspect_quality(make_dataset(images)), "dark") == list(range(12))
    assert found(inspect_quality(make_dataset(images), value_range=(0, 15)), "dark") == []


def test_black_and_white_images_are_understood(inspect_quality: Inspect, make_dataset: Make) -> None:
    image = np.eye(8, dtype=bool)[None]
    run = inspect_quality(make_dataset([image, ~image]))
    assert run.outputs.summary.brightness_mean == 0.5


def test_an_unusual_statistic_makes_an_outlier_with_its_robust_z(inspect_quality: Inspect, make_dataset: Make) -> None:
    rng = np.random.default_rng(0)
    images = [rng.normal(0.5, 0.05, (1, 16, 16)).clip(0, 1) for _ in range(30)]
    images.append(images[0] + 0.3)
    run = inspect_quality(make_dataset(images))
    brightness = np.array([image.mean() for image in images])
    median = np.median(brightness)
    score = 0.6745 * (brightness[30] - median) / stats.median_abs_deviation(brightness)
    outliers = [one for one in run.outputs.findings if one.kind == "outlier" and one.detail == "brightness"]
    assert [one.image_index for one in outliers] == [30]
    assert outliers[0].score == pytest.approx(score)
    assert found(inspect_quality(make_dataset(images), outlier_z=score + 1), "outlier") == []


def test_one_image_of_another_size_is_an_outlier_among_equal_ones(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]]
) -> None:
    run = inspect_quality(make_dataset([*plain, textured(60, (3, 40, 120))]))
    assert [one.detail for one in run.outputs.findings if one.kind == "outlier" and one.image_index == 20] == [
        "area",
        "aspect ratio",
    ]
    summary = run.outputs.summary
    assert (summary.distinct_shapes, summary.width_min, summary.width_max, summary.height_max) == (2, 40, 120, 40)


def test_few_images_have_no_outliers(inspect_quality: Inspect, make_dataset: Make) -> None:
    images = [textured(seed) for seed in range(8)] + [textured(9, (3, 40, 400))]
    run = inspect_quality(make_dataset(images))
    assert found(run, "outlier") == []
    assert run.outputs.summary.outlier_images is None
    for told in (run.outputs.summary.warning or "", run.collect_md_report(0.5)):
        assert "utliers were not looked for among fewer than 10 images" in told


def test_where_no_pixel_can_be_measured_nothing_is_counted(inspect_quality: Inspect, make_dataset: Make) -> None:
    run = inspect_quality(make_dataset([np.full((1, 4, 4), np.nan)] * 12))
    summary = run.outputs.summary
    assert (summary.non_finite_images, summary.exact_duplicates) == (12, 11)
    assert {summary.blank_images, summary.dark_images, summary.low_contrast_images, summary.near_duplicates} == {None}
    assert (summary.outlier_images, summary.brightness_mean) == (None, None)
    for told in (summary.warning or "", run.collect_md_report(0.5)):
        assert "o image has pixels that can be measured" in told


@pytest.mark.parametrize(
    "broken",
    [
        OSError("truncated file"),
        ValueError("bad header"),
        SyntaxError("broken PNG"),
        np.zeros((4, 4)),
        np.zeros((3, 0, 5)),
        np.zeros((1, 3, 4, 4)),
        np.array(["a"]),
        None,
        [[1, 2], [3]],
    ],
)
def test_an_image_that_cannot_be_read_is_a_finding(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]], broken: Any
) -> None:
    run = inspect_quality(make_dataset([plain[0], broken, plain[1]]))
    unreadable = [finding for finding in run.outputs.findings if finding.kind == "unreadable"]
    assert [finding.image_index for finding in unreadable] == [1]
    assert unreadable[0].detail
    assert (run.outputs.summary.images, run.outputs.summary.unreadable_images) == (3, 1)


def test_a_dataset_without_a_readable_image_is_an_error(inspect_quality: Inspect, make_dataset: Make) -> None:
    with pytest.raises(
        InputContractError, match=r"none of the 2 images of dataset 'data' can be read; .*shape \(4, 4\)"
    ):
        inspect_quality(make_dataset([np.zeros((4, 4))] * 2))


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), TimeoutError("slow"), KeyError("bug"), MemoryError()])
def test_what_is_no_property_of_an_image_is_no_finding(
    inspect_quality: Inspect, make_dataset: Make, plain: list[NDArray[Any]], error: Exception
) -> None:
    with pytest.raises(type(error)) as caught:
        inspect_quality(make_dataset([plain[0], error]))
    assert caught.value.__notes__ == ["This happened while reading image 1 of dataset 'data'."]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_pixels_that_are_not_finite_are_a_finding_and_spoil_nothing_else(
    inspect_quality: Inspect, make_dataset: Make, value: float
) -> None:
    images = [textured(seed) / 255 for seed in range(12)]
    spoiled = images[0].copy()
    spoiled[0, 0, :4] = value
    run = inspect_quality(make_dataset([*images, spoiled, spoiled.copy()]))
    findings = [one for one in run.outputs.findings if one.kind == "non_finite"]
    assert [(one.image_index, one.score) for one in findings] == [
        (12, pytest.approx(4 / 4800)),
        (13, findings[1].score),
    ]
    assert found(run, "exact_duplicate") == [12, 13]
    assert run.outputs.summary.brightness_mean == pytest.approx(
        inspect_quality(make_dataset(images)).outputs.summary.brightness_mean
    )


def test_labels_are_counted_and_their_balance_measured(inspect_quality: Inspect, make_dataset: Make) -> None:
    run = inspect_quality(make_dataset(7, [0, 0, 0, 0, 1, 1, 3], classes=4, index2label={0: "cat", 3: "owl"}))
    assert [(one.class_label, one.images) for one in run.outputs.classes] == [
        ("cat", 4),
        ("1", 2),
        ("2", 0),
        ("owl", 1),
    ]
    assert [one.share for one in run.outputs.classes] == pytest.approx([4 / 7, 2 / 7, 0, 1 / 7])
    assert [one.relative_to_largest for one in run.outputs.classes] == [1, 0.5, 0, 0.25]
    summary = run.outputs.summary
    entropy = stats.entropy([4, 2, 1], base=2)
    assert summary.label_entropy_bits == pytest.approx(entropy)
    assert summary.label_evenness == pytest.approx(entropy / 2)
    assert (summary.classes, summary.classes_present, summary.imbalance_ratio) == (4, 3, pytest.approx(4))


def test_missing_and_ambiguous_labels_are_told_apart(inspect_quality: Inspect, make_dataset: Make) -> None:
    targets = [[0.0, 0.0], [1.0, 0.0], [0.5, 0.5], [math.nan, 1.0], [0.1, 0.9]]
    run = inspect_quality(make_dataset(5, targets=targets))
    assert found(run, "missing_label") == [0, 3]
    assert found(run, "ambiguous_label") == [2]
    assert [one.images for one in run.outputs.classes] == [1, 1]


def test_one_class_has_no_entropy_and_no_evenness(inspect_quality: Inspect, make_dataset: Make) -> None:
    summary = inspect_quality(make_dataset(3, [0, 0, 0], classes=1)).outputs.summary
    assert (summary.label_entropy_bits, summary.label_evenness, summary.imbalance_ratio) == (0.0, None, 1.0)
    assert str(summary.label_entropy_bits) == "0.0", "not minus zero"


def test_without_labels_nothing_is_said_about_balance(inspect_quality: Inspect, make_dataset: Make) -> None:
    run = inspect_quality(make_dataset(2, targets=[[0.0, 0.0]] * 2))
    summary = run.outputs.summary
    assert (summary.label_entropy_bits, summary.label_evenness, summary.imbalance_ratio) == (None, None, None)
    assert [one.share for one in run.outputs.classes] == [None, None]
    assert "No image has a label" in run.collect_md_report(0.5)


def test_an_empty_dataset_has_counts_of_zero(inspect_quality: Inspect, make_dataset: Make) -> None:
    run = inspect_quality(make_dataset(0, index2label={0: "cat", 1: "dog"}))
    summary = run.outputs.summary
    assert (summary.images, summary.classes, summary.distinct_shapes, summary.brightness_mean) == (0, 2, 0, None)
    assert [one.class_label for one in run.outputs.classes] == ["cat", "dog"]
    assert run.outputs.findings == ()
    assert "The dataset is empty" in run.collect_md_report(0.5)


@pytest.mark.parametrize(
    ("target", "message"),
    [(1, r"image 1 of dataset 'data' has shape \(\)"), ([1.0, 0.0, 0.0], "image 1 of dataset 'data' has 3 classes")],
)
def test_a_target_of_the_wrong_form_is_explained(
    inspect_quality: Inspect, make_dataset: Make, target: Any, message: str
) -> None:
    with pytest.raises(InputContractError, match=message):
        inspect_quality(make_dataset(2, targets=[[1.0, 0.0], target]))


@pytest.mark.parametrize("wrong", [{"value_range": (1, 1)}, {"near_duplicate_distance": -1}, {"outlier_z": 0}])
def test_a_config_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DatasetQualityConfig(**wrong)


def test_a_model_is_not_wanted(make_dataset: Make, make_model: Make) -> None:
    with pytest.raises(InvalidCapabilityError, match="takes no models"):
        DatasetQuality().run(models=[make_model([])], datasets=[make_dataset(0)])
