"""What counts as a finding about a dataset."""

from __future__ import annotations

from pydantic import Field, field_validator

from checkmaite_core import CapabilityConfig

__all__ = ["DatasetQualityConfig"]


class DatasetQualityConfig(CapabilityConfig):
    """What counts as a finding. Brightness runs from 0 to 1.

    Attributes:
        class_names: Names of the classes, by index; by default those in ``index2label`` of the dataset's metadata.
        value_range: Pixel values that mean black and white. By default those of the type for ``uint8``, ``uint16``
            and booleans, and 0 to 1 for floats that all lie there; the least and greatest value of all images
            otherwise.
        near_duplicate_distance: Most bits of 64 in which the perceptual hashes of near duplicates differ.
        near_duplicate_similarity: Least correlation of their thumbnails.
        blank_range: Greatest range of brightness in a blank image.
        dark_level: 99th percentile of brightness up to which an image is dark.
        low_contrast_range: Distance from the 1st to the 99th percentile of brightness up to which contrast is low.
        outlier_z: Robust z-score above which a statistic is unusual; 3.5 is Iglewicz and Hoaglin's (1993).
    """

    class_names: tuple[str, ...] | None = None
    value_range: tuple[float, float] | None = None
    near_duplicate_distance: int = Field(default=4, ge=0, le=16)
    near_duplicate_similarity: float = Field(default=0.99, ge=0.0, le=1.0)
    blank_range: float = Field(default=0.01, ge=0.0, le=1.0)
    dark_level: float = Field(default=0.2, ge=0.0, le=1.0)
    low_contrast_range: float = Field(default=0.05, ge=0.0, le=1.0)
    outlier_z: float = Field(default=3.5, gt=0.0)

    @field_validator("value_range")
    @classmethod
    def _not_empty(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("value_range must be (black, white) with black < white, such as (0, 255)")
        return value
