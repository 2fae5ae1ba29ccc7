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

_COMPARED_AT_ONCE = 4_000_000
"""Pairs in one matrix product: 16 MB."""

_ROUNDING = np.float32(1e-5)
"""More than the error of a product of two unit vectors of 72 numbers in single precision."""

_CHECKED_AT_ONCE = 50_000
"""Pairs looked at in full precision: 29 MB for each side."""


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
    bits = difference_hash(thumbnails)
    flat = thumbnails.reshape(len(thumbnails), math.prod(THUMBNAIL))
    matches = _Matches(len(thumbnails))
    keys = [_keys(band) for band in np.array_split(bits, distance + 1, axis=1)]
    for number, key in enumerate(keys):
        for bucket in _buckets(key):
            for left, right, at_most in _alike(flat[bucket].astype(np.float32), similarity):
                one, other = bucket[left], bucket[right]
                matters = matches.may_change(one, other, at_most)
                one, other = one[matters], other[matters]
                passed = (bits[one] != bits[other]).sum(axis=1) <= distance
                for earlier in keys[:number]:
                    passed &= earlier[one] != earlier[other]  # such a pair has been seen
                one, other = one[passed], other[passed]
                likeness = np.minimum((flat[one] * flat[other]).sum(axis=1), 1.0)
                exact = likeness >= similarity
                matches.add(one[exact], other[exact], likeness[exact])
    return matches.result()


def _keys(band: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A number for each row: equal for equal rows."""
    _, key = np.unique(np.packbits(band, axis=1), axis=0, return_inverse=True)
    return key.reshape(-1).astype(np.int64)


def _buckets(key: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Sets of at least two positions with one key, each in ascending order."""
    order = np.argsort(key, kind="stable")
    for bucket in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        if len(bucket) > 1:
            yield bucket


def _alike(
    thumbnails: NDArray[np.float32], similarity: float
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]]:
    """Pairs whose correlation may reach ``similarity``, and the most it can be, a bounded number at a time.

    A matrix product sifts fast, but rounds: what passes has to be looked at again in full precision.
    """
    rows = max(1, _COMPARED_AT_ONCE // len(thumbnails))
    for start in range(0, len(thumbnails), rows):
        stop_if_cancelled()
        rough = thumbnails[start : start + rows] @ thumbnails[start:].T
        rough += _ROUNDING
        one, other = np.nonzero(rough >= similarity)
        above = one < other
        one, other = one[above], other[above]
        at_most = rough[one, other]
        for begin in range(0, len(one), _CHECKED_AT_ONCE):
            part = slice(begin, begin + _CHECKED_AT_ONCE)
            yield one[part] + start, other[part] + start, at_most[part]


class _Matches:
    """Gathers pairs: who is nearest to whom, and which images are linked."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)
        self._nearest = np.full(count, -1, dtype=np.int64)
        self._best = np.full(count, -np.inf)

    def may_change(
        self, left: NDArray[np.int64], right: NDArray[np.int64], at_most: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Which pairs can tell anything new: most pairs of a large group of equals cannot."""
        apart = self._parent[left] != self._parent[right]
        result: NDArray[np.bool_] = apart | (at_most >= np.minimum(self._best[left], self._best[right]))
        return result

    def add(self, left: NDArray[np.int64], right: NDArray[np.int64], likeness: NDArray[np.float64]) -> None:
        """Take in pairs of positions with their correlation."""
        here, there = np.concatenate([left, right]), np.concatenate([right, left])
        value = np.concatenate([likeness, likeness])
        better = value >= self._best[here]
        here, there, value = here[better], there[better], value[better]
        # Of equally near images the first counts; the one known so far takes part.
        known = np.unique(here)
        known = known[self._nearest[known] >= 0]
        here, there = np.concatenate([here, known]), np.concatenate([there, self._nearest[known]])
        value = np.concatenate([value, self._best[known]])
        order = np.lexsort((there, -value, here))
        first = order[np.flatnonzero(np.diff(here[order], prepend=-1))]
        self._nearest[here[first]], self._best[here[first]] = there[first], value[first]
        self._link(left, right)

    def _link(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        """Give both ends of every pair, and all that they are linked to, the least root among them."""
        while True:
            one, other = self._parent[left], self._parent[right]
            apart = one != other
            if not apart.any():
                return
            left, right = left[apart], right[apart]
            low, high = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
            np.minimum.at(self._parent, high, low)
            # Roots point to roots now: follow them until each position points to one that points to itself.
            while (self._parent[self._parent] != self._parent).any():
                self._parent = self._parent[self._parent]

    def result(self) -> list[Match]:
        """Every image with a near duplicate, in order."""
        return [
            Match(index, int(self._parent[index]), int(self._nearest[index]), float(self._best[index]))
            for index in np.flatnonzero(self._nearest >= 0).tolist()
        ]
