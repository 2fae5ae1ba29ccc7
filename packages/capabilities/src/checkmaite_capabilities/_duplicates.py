"""Find images that look alike among tens of thousands, without comparing all pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from checkmaite_capabilities._inputs import stop_if_cancelled
from checkmaite_capabilities._pixels import THUMBNAIL

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HASH_BITS", "Match", "difference_hash", "near_duplicates"]

HASH_BITS = 64

_DEAD_BAND = 0.2
"""Share of the thumbnail's standard deviation by which a pixel must be brighter than its left neighbour."""

_PAIRS_AT_ONCE = 4_000_000
"""Bounds the memory of one comparison (16 MB)."""


@dataclass(frozen=True, slots=True)
class Match:
    """An image with near duplicates.

    Attributes:
        index: Position of the image.
        group: Least position in its group: images that are linked by near duplicates share one.
        nearest: Position of the image most like it.
        similarity: Correlation with that one.
    """

    index: int
    group: int
    nearest: int
    similarity: float


def difference_hash(thumbnails: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Difference hash (dHash) of each thumbnail: is a pixel brighter than its left neighbour?

    Args:
        thumbnails: Shape (images, 8, 9), each with mean 0 and length 1.

    Returns:
        Shape (images, 64).

    The method is Neal Krawetz's ("Kind of Like That", The Hacker Factor Blog, 2013). Different from there, a pixel
    has to be brighter by a fifth of the thumbnail's standard deviation, since in even areas noise alone would
    decide.
    """
    # Of mean 0 and length 1, a thumbnail has this standard deviation.
    margin = _DEAD_BAND / math.sqrt(math.prod(THUMBNAIL))
    bits: NDArray[np.bool_] = np.diff(thumbnails, axis=2) > margin
    return bits.reshape(len(thumbnails), HASH_BITS)


def near_duplicates(thumbnails: NDArray[np.float64], *, distance: int, similarity: float) -> list[Match]:
    """Find near duplicates.

    Args:
        thumbnails: Shape (images, 8, 9), each with mean 0 and length 1.
        distance: Most bits in which the hashes of two may differ (Hamming distance).
        similarity: Least correlation of their thumbnails: on small or simple images the hash alone agrees by
            chance.

    The hashes are cut into ``distance + 1`` bands. Two that differ in at most ``distance`` bits agree in at least
    one whole band (the pigeonhole principle, as in Manku, Jain and Das Sarma, "Detecting Near-Duplicates for Web
    Crawling", WWW 2007), so only images that share a band are compared, and none is missed. The time grows with
    the size of the largest such bucket: it is quadratic only where the images really look alike.
    """
    count = len(thumbnails)
    bits = difference_hash(thumbnails)
    flat = thumbnails.reshape(count, math.prod(THUMBNAIL))
    groups = _Groups(count)
    nearest = np.full(count, -1, dtype=np.int64)
    best = np.full(count, -np.inf)
    for bucket in _buckets(bits, distance + 1):
        for left, right, likeness in _alike(bucket, bits, flat, distance, similarity):
            for one, other, value in zip(left.tolist(), right.tolist(), likeness.tolist(), strict=True):
                groups.join(one, other)
                for here, there in ((one, other), (other, one)):
                    if (value, -there) > (best[here], -nearest[here]):
                        best[here], nearest[here] = value, there
    return [
        Match(index, groups.root(index), int(nearest[index]), float(best[index]))
        for index in np.flatnonzero(nearest >= 0).tolist()
    ]


def _buckets(bits: NDArray[np.bool_], bands: int) -> Iterator[NDArray[np.int64]]:
    """Sets of at least two images that agree in one band of the hash, each in ascending order."""
    for band in np.array_split(bits, bands, axis=1):
        packed = np.packbits(band, axis=1)
        _, key = np.unique(packed, axis=0, return_inverse=True)
        key = key.reshape(-1)
        order = np.argsort(key, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            if len(bucket) > 1:
                yield bucket


def _alike(
    bucket: NDArray[np.int64],
    bits: NDArray[np.bool_],
    flat: NDArray[np.float64],
    distance: int,
    similarity: float,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Pairs of a bucket that are near duplicates, with their correlation, a bounded number at a time."""
    rows = max(1, _PAIRS_AT_ONCE // len(bucket))
    small = flat[bucket].astype(np.float32)
    for start in range(0, len(bucket), rows):
        stop_if_cancelled()
        # A matrix product sifts fast but rounds; what passes is looked at again in full precision.
        rough = small[start : start + rows] @ small[start:].T
        one, other = np.nonzero(rough >= similarity - 1e-4)
        one, other = one[one < other], other[one < other]
        for part in range(0, len(one), rows):
            left, right = bucket[start + one[part : part + rows]], bucket[start + other[part : part + rows]]
            likeness = np.minimum((flat[left] * flat[right]).sum(axis=1), 1.0)
            passed = (likeness >= similarity) & ((bits[left] != bits[right]).sum(axis=1) <= distance)
            yield left[passed], right[passed], likeness[passed]


class _Groups:
    """Disjoint sets of positions; the least one stands for its set."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, index: int) -> int:
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low
