"""One pass over a dataset, and what is made of it afterwards."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from checkmaite_capabilities._duplicates import near_duplicates
from checkmaite_capabilities._inputs import (
    Datum,
    as_array,
    class_names,
    index2label,
    label_of,
    read_datum,
    stop_if_cancelled,
)
from checkmaite_capabilities._outliers import FEWEST_FOR_OUTLIERS, robust_z
from checkmaite_capabilities._pixels import THUMBNAIL, PixelStatistics, digest, gray, thumbnail
from checkmaite_capabilities._quality_results import (
    ClassCount,
    DatasetQualityOutputs,
    Finding,
    FindingKind,
    QualitySummary,
)
from checkmaite_core import InputContractError, progress
from checkmaite_core.inputs import input_id

if TYPE_CHECKING:
    from maite.protocols import image_classification as ic
    from numpy.typing import NDArray

    from checkmaite_capabilities._quality_config import DatasetQualityConfig

__all__ = ["Scan"]

_KINDS: tuple[FindingKind, ...] = get_args(FindingKind)


class Scan:
    """Looks at one dataset.

    Args:
        dataset: The dataset.
        config: What counts as a finding.
    """

    def __init__(self, dataset: ic.Dataset, config: DatasetQualityConfig) -> None:
        self.dataset = dataset
        self.config = config
        self.findings: list[Finding] = []
        self.ids: dict[int, str | None] = {}
        self.labels: dict[int, int] = {}
        self.classes: int | None = None
        self.shapes: Counter[tuple[int, ...]] = Counter()
        self.digests: dict[bytes, list[int]] = defaultdict(list)
        self.measured: list[int] = []
        self.statistics: list[PixelStatistics] = []
        self.areas: list[tuple[int, int]] = []
        self.ranges: list[tuple[float, float] | None] = []
        self.thumbnails: list[NDArray[np.float64] | None] = []

    def run(self) -> DatasetQualityOutputs:
        """Read every image once, then judge."""
        images = len(self.dataset)
        for index in progress(range(images), description="images"):
            stop_if_cancelled()
            self._look_at(index)
        unreadable = [finding for finding in self.findings if finding.kind == "unreadable"]
        if images and len(unreadable) == images:
            raise InputContractError(
                f"none of the {images} images of dataset {input_id(self.dataset)!r} can be read; "
                f"image 0: {unreadable[0].detail}",
                hint="Let the dataset's __getitem__ return images as arrays of shape (channels, height, width).",
            )
        self._judge_duplicates()
        levels = self._levels()
        self._judge_levels(levels)
        counts = self._class_counts()
        order = {kind: position for position, kind in enumerate(_KINDS)}
        self.findings.sort(
            key=lambda found: (order[found.kind], found.group_index or 0, found.image_index, found.detail or "")
        )
        return DatasetQualityOutputs(
            summary=self._summary(images, levels, counts), findings=tuple(self.findings), classes=counts
        )

    def _find(self, index: int, kind: FindingKind, **more: Any) -> None:
        self.findings.append(Finding(image_index=index, image_id=self.ids.get(index), kind=kind, **more))

    # -- the pass

    def _look_at(self, index: int) -> None:
        try:
            datum = read_datum(self.dataset, index)
        except (ConnectionError, TimeoutError):
            raise  # that is no property of the image
        except (OSError, ValueError, SyntaxError) as error:
            self._find(index, "unreadable", detail=f"{type(error).__name__}: {error}")
            return
        self.ids[index] = datum.id
        self._look_at_label(datum)
        try:
            image = _as_image(datum.image)
        except InputContractError as error:
            self._find(index, "unreadable", detail=error.message)
            return
        self.shapes[image.shape] += 1
        self.digests[digest(image)].append(index)
        finite = np.isfinite(image)
        if not finite.all():
            self._find(index, "non_finite", score=1 - float(finite.mean()))
            return
        values = gray(image)
        self.measured.append(index)
        self.statistics.append(PixelStatistics.of(values))
        self.areas.append((image.shape[1], image.shape[2]))
        self.ranges.append(self._range_of(image))
        self.thumbnails.append(thumbnail(values))

    def _look_at_label(self, datum: Datum) -> None:
        what = f"image {datum.index} of dataset {input_id(self.dataset)!r}"
        label, classes, ambiguous = label_of(datum.target, what)
        if self.classes is None:
            self.classes = classes
        elif classes != self.classes:
            raise InputContractError(
                f"the target of {what} has {classes} classes, but those before it have {self.classes}.",
                hint="Give every target one element per class.",
            )
        if label is None:
            self._find(datum.index, "ambiguous_label" if ambiguous else "missing_label")
        else:
            self.labels[datum.index] = label

    def _range_of(self, image: NDArray[Any]) -> tuple[float, float] | None:
        """Black and white of an image, or None where only all images together can tell."""
        if self.config.value_range is not None:
            return self.config.value_range
        if image.dtype in (np.uint8, np.uint16):
            return 0.0, float(np.iinfo(image.dtype).max)
        return (0.0, 1.0) if image.dtype == np.bool_ else None

    # -- afterwards

    def _judge_duplicates(self) -> None:
        copies: set[int] = set()
        for group in self.digests.values():
            if len(group) == 1:
                continue
            copies.update(group[1:])
            labels = {self.labels[index] for index in group if index in self.labels}
            for index in group:
                nearest = group[0] if index != group[0] else group[1]
                self._find(index, "exact_duplicate", group_index=group[0], related_index=nearest, score=1.0)
                if len(labels) > 1:
                    label = self.labels.get(index)
                    self._find(
                        index,
                        "conflicting_label",
                        group_index=group[0],
                        detail="no label" if label is None else self._names()[label],
                    )
        kept = [
            (index, small)
            for index, small in zip(self.measured, self.thumbnails, strict=True)
            if small is not None and index not in copies
        ]
        stacked = np.stack([small for _, small in kept]) if kept else np.empty((0, *THUMBNAIL))
        for match in near_duplicates(
            stacked,
            distance=self.config.near_duplicate_distance,
            similarity=self.config.near_duplicate_similarity,
        ):
            self._find(
                kept[match.index][0],
                "near_duplicate",
                group_index=kept[match.group][0],
                related_index=kept[match.nearest][0],
                score=match.similarity,
            )

    def _levels(self) -> dict[str, NDArray[np.float64]]:
        """The statistics of all measured images, with brightness from 0 to 1."""
        names = ("least", "greatest", "low", "high", "brightness", "contrast", "sharpness")
        raw = {name: np.array([getattr(one, name) for one in self.statistics]) for name in names}
        open_ones = np.array([given is None for given in self.ranges], dtype=bool)
        black = np.array([0.0 if given is None else given[0] for given in self.ranges])
        white = np.array([1.0 if given is None else given[1] for given in self.ranges])
        if open_ones.any():
            least, greatest = float(raw["least"][open_ones].min()), float(raw["greatest"][open_ones].max())
            if least < 0 or greatest > 1:
                black[open_ones], white[open_ones] = least, greatest
        span = np.where(white > black, white - black, 1.0)
        places = {name: (raw[name] - black) / span for name in ("least", "greatest", "low", "high", "brightness")}
        return {**places, **{name: raw[name] / span for name in ("contrast", "sharpness")}}

    def _judge_levels(self, levels: dict[str, NDArray[np.float64]]) -> None:
        config = self.config
        spread = levels["greatest"] - levels["least"]
        inner = levels["high"] - levels["low"]
        blank = spread <= config.blank_range
        dark = ~blank & (levels["high"] <= config.dark_level)
        flat = ~blank & (inner <= config.low_contrast_range)
        kinds: tuple[tuple[FindingKind, NDArray[np.bool_], NDArray[np.float64]], ...] = (
            ("blank", blank, spread),
            ("dark", dark, levels["high"]),
            ("low_contrast", flat, inner),
        )
        for kind, which, score in kinds:
            for position in np.flatnonzero(which):
                self._find(self.measured[position], kind, score=float(score[position]))
        sizes = np.array(self.areas, dtype=np.float64).reshape(-1, 2)
        statistics = {
            "brightness": levels["brightness"],
            "contrast": levels["contrast"],
            "sharpness": levels["sharpness"],
            # Sizes differ by factors: twice as large is as unusual as half as large.
            "area": np.log(sizes.prod(axis=1)),
            "aspect ratio": np.log(sizes[:, 1] / sizes[:, 0]),
        }
        for name, values in statistics.items():
            scores = robust_z(values)
            for position in np.flatnonzero((np.abs(scores) > config.outlier_z) & ~blank):
                self._find(self.measured[position], "outlier", detail=name, score=float(scores[position]))

    def _names(self) -> list[str]:
        known = index2label(self.dataset)
        if self.classes is None:
            # No target says how many classes there are.
            classes = max(known, default=-1) + 1 if self.config.class_names is None else len(self.config.class_names)
        else:
            classes = self.classes
        return class_names((self.dataset,), self.config.class_names, classes)

    def _class_counts(self) -> tuple[ClassCount, ...]:
        counts = Counter(self.labels.values())
        largest = max(counts.values(), default=0)
        return tuple(
            ClassCount(
                class_index=index,
                class_label=name,
                images=counts[index],
                share=counts[index] / len(self.labels) if largest else None,
                relative_to_largest=counts[index] / largest if largest else None,
            )
            for index, name in enumerate(self._names())
        )

    def _summary(
        self, images: int, levels: dict[str, NDArray[np.float64]], classes: tuple[ClassCount, ...]
    ) -> QualitySummary:
        affected: dict[str, set[int]] = defaultdict(set)
        groups: dict[str, set[int | None]] = defaultdict(set)
        for finding in self.findings:
            affected[finding.kind].add(finding.image_index)
            groups[finding.kind].add(finding.group_index)
        shares = [count.share for count in classes if count.share]
        looked = len(self.measured)
        entropy = math.fsum(share * math.log2(1 / share) for share in shares) if shares else None
        channels, heights, widths = zip(*self.shapes, strict=True) if self.shapes else ((), (), ())
        return QualitySummary(
            images=images,
            unreadable_images=len(affected["unreadable"]),
            non_finite_images=len(affected["non_finite"]),
            exact_duplicate_groups=len(groups["exact_duplicate"]),
            exact_duplicates=len(affected["exact_duplicate"]) - len(groups["exact_duplicate"]),
            near_duplicate_groups=len(groups["near_duplicate"]) if looked else None,
            near_duplicates=len(affected["near_duplicate"]) - len(groups["near_duplicate"]) if looked else None,
            blank_images=len(affected["blank"]) if looked else None,
            dark_images=len(affected["dark"]) if looked else None,
            low_contrast_images=len(affected["low_contrast"]) if looked else None,
            outlier_images=len(affected["outlier"]) if looked >= FEWEST_FOR_OUTLIERS else None,
            missing_labels=len(affected["missing_label"]),
            ambiguous_labels=len(affected["ambiguous_label"]),
            conflicting_labels=len(affected["conflicting_label"]),
            classes=len(classes),
            classes_present=len(shares),
            label_entropy_bits=entropy,
            label_evenness=None if entropy is None or len(classes) < 2 else entropy / math.log2(len(classes)),
            imbalance_ratio=max(shares) / min(shares) if shares else None,
            distinct_shapes=len(self.shapes),
            height_min=min(heights, default=None),
            height_max=max(heights, default=None),
            width_min=min(widths, default=None),
            width_max=max(widths, default=None),
            channels_min=min(channels, default=None),
            channels_max=max(channels, default=None),
            brightness_mean=float(levels["brightness"].mean()) if self.measured else None,
            contrast_mean=float(levels["contrast"].mean()) if self.measured else None,
            warning=self._warning(images),
        )

    def _warning(self, images: int) -> str | None:
        """What a reader of the figures must know; None if there is nothing."""
        if not images:
            return "the dataset is empty"
        notes = []
        looked = len(self.measured)
        if not looked:
            notes.append("no image has pixels that can be measured: nothing is known of their brightness and likeness")
        else:
            if looked < images:
                notes.append(f"the pixels of {images - looked} of {images} images could not be measured")
            if looked < FEWEST_FOR_OUTLIERS:
                notes.append(f"outliers were not looked for among fewer than {FEWEST_FOR_OUTLIERS} images")
        if not self.labels:
            notes.append("no image has a label")
        return "; ".join(notes) or None


def _as_image(value: Any) -> NDArray[Any]:
    image = as_array(value, "the image")
    if image.ndim != 3 or image.size == 0:
        raise InputContractError(
            f"the image has shape {image.shape}, not (channels, height, width).",
            hint="Give grayscale images a channel axis of length 1: image[None].",
        )
    return image
