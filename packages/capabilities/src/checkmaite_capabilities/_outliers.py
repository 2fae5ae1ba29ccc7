"""Robust outlier scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEWEST_FOR_OUTLIERS", "robust_z"]

FEWEST_FOR_OUTLIERS = 10
"""With fewer values than these there is no saying what is usual, and every score is 0."""

_ROUNDING = 1e-9
"""Differences below this share of the largest value are rounding errors."""


def robust_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modified z-score of each value: 0.6745 (x - median) / MAD.

    Args:
        values: Finite values, shape (n,).

    The score, and 3.5 as the limit from which a value is an outlier, are from B. Iglewicz and D. C. Hoaglin, "How to
    Detect and Handle Outliers", ASQC Quality Press, 1993. Where more than half of the values are equal, the median
    absolute deviation (MAD) is 0; then the mean absolute deviation times 1.253314 takes the place of MAD / 0.6745,
    both of which estimate the standard deviation of normal values. Equal values all have the score 0.
    """
    if len(values) < FEWEST_FOR_OUTLIERS:
        return np.zeros(len(values))
    away = values - np.median(values)
    away[np.abs(away) <= _ROUNDING * np.abs(values).max()] = 0.0
    spread = np.median(np.abs(away)) / 0.6745 or np.abs(away).mean() * 1.253314
    scores: NDArray[np.float64] = away / spread if spread else away
    return scores
