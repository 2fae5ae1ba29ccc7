"""Simple statistics of one image, and the small picture that near duplicates are found by."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["THUMBNAIL", "PixelStatistics", "digest", "gray", "thumbnail"]

THUMBNAIL = (8, 9)
"""Rows and columns of a thumbnail: one column more than the hash has bits in a row."""

_LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in brightness: Recommendation ITU-R BT.601."""


@dataclass(frozen=True, slots=True)
class PixelStatistics:
    """Statistics of an image's brightness, in the image's own unit.

    Attributes:
        least: Least value.
        greatest: Greatest value.
        low: 1st percentile.
        high: 99th percentile.
        brightness: Mean.
        contrast: Standard deviation.
        sharpness: Mean absolute difference of neighbouring pixels; 0 for a single pixel.
    """

    least: float
    greatest: float
    low: float
    high: float
    brightness: float
    contrast: float
    sharpness: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> PixelStatistics:
        """Measure an image.

        Args:
            values: Brightness, shape (H, W), finite, with at least one pixel.
        """
        low, high = np.percentile(values, (1, 99))
        steps = values[1:] - values[:-1], values[:, 1:] - values[:, :-1]
        pairs = sum(part.size for part in steps)
        return cls(
            least=float(values.min()),
            greatest=float(values.max()),
            low=float(low),
            high=float(high),
            brightness=float(values.mean()),
            contrast=float(values.std()),
            sharpness=sum(float(np.abs(part).sum()) for part in steps) / pairs if pairs else 0.0,
        )


def gray(image: NDArray[Any]) -> NDArray[np.float64]:
    """Brightness of an image of shape (C, H, W): BT.601 luma of three channels, else the channels' mean."""
    channels = image.astype(np.float64)
    values: NDArray[np.float64] = np.tensordot(_LUMA, channels, axes=1) if len(channels) == 3 else channels.mean(axis=0)
    return values


def digest(image: NDArray[Any]) -> bytes:
    """Digest of an image's pixels, shape and type; equal only for exact duplicates."""
    state = hashlib.blake2b(f"{image.dtype.str}{image.shape}".encode(), digest_size=16)
    state.update(np.ascontiguousarray(image).data)
    return state.digest()


def thumbnail(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Shrink brightness to 8 x 9 by averaging areas, with mean 0 and length 1; None where nothing is left of it.

    The result does not depend on brightness and contrast, and hardly on size; the product of two is their
    correlation.
    """
    rows, columns = (_area_weights(size, wanted) for size, wanted in zip(values.shape, THUMBNAIL, strict=True))
    small: NDArray[np.float64] = rows @ values @ columns.T
    small -= small.mean()
    length = float(np.linalg.norm(small))
    # Below this it is rounding error of an even image, or detail too fine for the thumbnail.
    if length <= 1e-6 * max(1.0, float(np.abs(values).max())):
        return None
    return small / length


@functools.lru_cache(maxsize=64)
def _area_weights(size: int, wanted: int) -> NDArray[np.float64]:
    """Matrix that averages ``size`` pixels into ``wanted`` by how far each old one overlaps each new one."""
    edges = np.arange(wanted + 1) * (size / wanted)
    pixels = np.arange(size)
    overlap = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    weights: NDArray[np.float64] = np.clip(overlap, 0, None) * (wanted / size)
    return weights
