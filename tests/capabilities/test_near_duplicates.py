"""The banded search finds exactly what comparing all pairs finds."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from checkmaite_capabilities._duplicates import difference_hash, near_duplicates
from checkmaite_capabilities._outliers import robust_z
from checkmaite_capabilities._pixels import PixelStatistics, digest, gray, thumbnail


def normalised(pictures: NDArray[Any]) -> NDArray[Any]:
    pictures = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    return pictures / np.linalg.norm(pictures, axis=(1, 2), keepdims=True)


@st.composite
def families(draw: st.DrawFn) -> NDArray[Any]:
    """Thumbnails in families of more or less changed copies."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parents = rng.normal(size=(draw(st.integers(1, 5)), 8, 9))
    noise = draw(st.sampled_from([1e-6, 0.03, 0.1, 0.3]))
    children = parents[rng.integers(len(parents), size=draw(st.integers(2, 30)))]
    return normalised(children + rng.normal(scale=noise, size=children.shape))


@given(thumbnails=families(), distance=st.integers(0, 16), similarity=st.sampled_from([0.5, 0.9, 0.99]))
def test_the_search_finds_what_comparing_all_pairs_finds(
    thumbnails: NDArray[Any], distance: int, similarity: float
) -> None:
    bits = difference_hash(thumbnails)
    alike: dict[int, dict[int, float]] = {}
    for one, other in combinations(range(len(thumbnails)), 2):
        correlation = float((thumbnails[one] * thumbnails[other]).sum())
        if (bits[one] != bits[other]).sum() <= distance and correlation >= similarity:
            alike.setdefault(one, {})[other] = alike.setdefault(other, {})[one] = correlation
    group = {index: index for index in alike}
    for _ in alike:
        group = {index: min(group[index], *(group[other] for other in alike[index])) for index in alike}
    matches = near_duplicates(thumbnails, distance=distance, similarity=similarity)
    assert {match.index: match.group for match in matches} == group
    for match in matches:
        assert match.similarity == pytest.approx(max(alike[match.index].values()))
        assert alike[match.index][match.nearest] == pytest.approx(match.similarity)


def test_planted_copies_are_found_among_thirty_thousand_images() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(30_000, 8, 9))
    pictures[20_000:20_100] = pictures[:100] + rng.normal(scale=0.02, size=(100, 8, 9))
    matches = near_duplicates(normalised(pictures), distance=4, similarity=0.99)
    assert [(match.index, match.nearest) for match in matches[:100]] == [(i, 20_000 + i) for i in range(100)]
    assert len(matches) == 200


def test_a_bucket_of_thousands_is_searched_piece_by_piece() -> None:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.arange(9.0), (8, 1))
    pictures = normalised(ramp + rng.normal(scale=0.3, size=(4_000, 8, 9)))
    pictures[3_999] = pictures[0]
    matches = near_duplicates(pictures, distance=4, similarity=0.999999)
    assert [(match.index, match.nearest) for match in matches] == [(0, 3_999), (3_999, 0)]


def test_thousands_of_images_that_are_all_alike_are_one_group() -> None:
    rng = np.random.default_rng(0)
    pictures = normalised(rng.normal(size=(1, 8, 9)) + rng.normal(scale=0.02, size=(1_500, 8, 9)))
    matches = near_duplicates(pictures, distance=4, similarity=0.99)
    assert [(match.index, match.group) for match in matches] == [(index, 0) for index in range(1_500)]
    correlation = (pictures.reshape(1_500, -1) @ pictures.reshape(1_500, -1).T) - 2 * np.eye(1_500)
    bits = difference_hash(pictures).astype(np.float32)
    apart = bits @ (1 - bits).T + (1 - bits) @ bits.T
    expected = np.where(apart <= 4, correlation, -2).max(axis=1)
    assert [match.similarity for match in matches] == pytest.approx(expected)


def test_a_thumbnail_averages_areas() -> None:
    values = np.random.default_rng(0).random((32, 45))
    blocks = values.reshape(8, 4, 9, 5).mean(axis=(1, 3))
    small = thumbnail(values)
    assert small is not None
    assert np.allclose(small, normalised(blocks[None])[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 5), (8, 9), (100, 7)])
def test_a_thumbnail_of_any_size_ignores_brightness_and_contrast(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(size)
    small, brighter = thumbnail(values), thumbnail(values * 3 + 100)
    if size == (1, 1):
        assert small is None
    else:
        assert small is not None
        assert brighter is not None
        assert np.allclose(small, brighter)
        assert (small.mean(), np.linalg.norm(small)) == (pytest.approx(0), pytest.approx(1))


def test_an_even_image_has_no_thumbnail() -> None:
    assert thumbnail(np.full((37, 53), 0.1)) is None
    assert thumbnail(np.zeros((5, 5))) is None


def test_brightness_follows_bt_601() -> None:
    colours = np.zeros((3, 1, 4))
    colours[0, 0, 0] = colours[1, 0, 1] = colours[2, 0, 2] = 1
    colours[:, 0, 3] = 1
    assert gray(colours)[0] == pytest.approx([0.299, 0.587, 0.114, 1])
    assert gray(np.full((4, 1, 1), 7, dtype=np.uint8)).tolist() == [[7.0]]


def test_a_digest_tells_pixels_shapes_and_types_apart() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    others = [image + np.uint8(1), image.reshape(1, 4, 3), image.astype(np.int8), image.astype(">u2")]
    assert len({digest(one) for one in [image, image.copy(), np.asfortranarray(image), *others]}) == 5


def test_statistics_are_what_they_are_called() -> None:
    values = np.random.default_rng(0).random((7, 9))
    measured = PixelStatistics.of(values)
    steps = np.concatenate([np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)])
    assert measured.sharpness == pytest.approx(steps.mean())
    assert (measured.low, measured.high) == pytest.approx(tuple(np.quantile(values, [0.01, 0.99])))
    assert (measured.brightness, measured.contrast) == pytest.approx((values.mean(), values.std()))


def test_robust_scores_follow_iglewicz_and_hoaglin() -> None:
    values = np.array([2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3])
    scores = robust_z(values)
    # Median 2.45, median absolute deviation 0.15.
    assert scores == pytest.approx(0.6745 * (values - 2.45) / 0.15)


def test_robust_scores_of_mostly_equal_values_use_the_mean_deviation() -> None:
    values = np.array([1.0] * 19 + [3.0])
    assert robust_z(values) == pytest.approx([0.0] * 19 + [2.0 / (1.253314 * 0.1)])


@pytest.mark.parametrize("values", [[0.1 + 0.2] * 6 + [0.3] * 6, [5.0] * 12, [0.0] * 12, [1.0, 900.0], []])
def test_rounding_errors_and_few_values_are_nothing_unusual(values: list[float]) -> None:
    assert not robust_z(np.array(values)).any()
