"""Perturbed datasets: the changes are what they are called, the same everywhere, and only made when read."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from maite.protocols import image_classification as ic
from numpy.typing import NDArray
from scipy import ndimage

from checkmaite_capabilities import (
    GaussianBlur,
    GaussianNoise,
    Occlusion,
    Perturbation,
    PerturbedDataset,
    Rotation,
)
from checkmaite_core import ConfigurationError, InputContractError

Make = Callable[..., Any]

EVERY = [GaussianNoise(0.1), GaussianBlur(1.5), Rotation(30), Occlusion(0.25)]


@pytest.fixture
def picture() -> NDArray[np.float64]:
    return np.random.default_rng(0).random((3, 20, 30))


def perturb(make_dataset: Make, image: Any, perturbation: Perturbation, **options: Any) -> NDArray[Any]:
    return np.asarray(PerturbedDataset(make_dataset([image]), perturbation, **options)[0][0])


@pytest.mark.parametrize(
    ("perturbation", "seed", "expected"),
    [
        (GaussianBlur(1.5), 0, "digits+blur(1.5)"),
        (GaussianBlur(2), 7, "digits+blur(2)"),
        (GaussianNoise(0.1), 0, "digits+noise(0.1)"),
        (GaussianNoise(0.1), 7, "digits+noise(0.1,seed=7)"),
        (Occlusion(0.25), 7, "digits+occlusion(0.25,seed=7)"),
        (Rotation(-15), 0, "digits+rotation(-15)"),
    ],
)
def test_the_id_says_what_was_done(make_dataset: Make, perturbation: Perturbation, seed: int, expected: str) -> None:
    dataset = PerturbedDataset(make_dataset(1, name="digits", index2label={0: "cat"}), perturbation, seed=seed)
    assert dataset.metadata == {"id": expected, "index2label": {0: "cat"}}


def test_different_parameters_never_share_an_id() -> None:
    assert GaussianBlur(1.0000001).name != GaussianBlur(1.0).name
    assert GaussianNoise(1 / 3).name != GaussianNoise(0.333333).name


def test_perturbations_add_up(make_dataset: Make, picture: NDArray[Any]) -> None:
    once = PerturbedDataset(make_dataset([picture], name="d"), GaussianBlur(1))
    twice = PerturbedDataset(once, Rotation(10))
    assert twice.metadata["id"] == "d+blur(1)+rotation(10)"
    assert np.array_equal(twice[0][0], perturb(make_dataset, once[0][0], Rotation(10)))


def test_it_is_a_maite_dataset_with_targets_and_metadata_as_they_were(make_dataset: Make) -> None:
    inner = make_dataset(3, [1, 0, 1])
    dataset = PerturbedDataset(inner, GaussianBlur(1))
    assert isinstance(dataset, ic.Dataset)
    assert len(dataset) == 3
    assert [datum[2] for datum in dataset] == [{"id": "datum-0"}, {"id": "datum-1"}, {"id": "datum-2"}]
    assert dataset[1][1] is inner[1][1] or np.array_equal(dataset[1][1], inner[1][1])
    assert np.array_equal(dataset[-1][0], dataset[2][0])
    for index in (3, -4):
        with pytest.raises(IndexError, match=r"data\+blur\(1\)"):
            dataset[index]


def test_an_image_is_changed_when_it_is_read_and_not_in_place(make_dataset: Make, picture: NDArray[Any]) -> None:
    dataset = PerturbedDataset(make_dataset([picture, OSError("not read")]), Occlusion(0.5))
    before = picture.copy()
    assert not np.array_equal(dataset[0][0], picture)
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("perturbation", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16, np.bool_])
@given(data=st.data())
def test_shape_type_and_range_stay(
    make_dataset: Make, perturbation: Perturbation, dtype: type[np.generic], data: st.DataObject
) -> None:
    shape = data.draw(st_numpy.array_shapes(min_dims=3, max_dims=3, max_side=6))
    width = {np.float16: 16, np.float32: 32}.get(dtype, 64)
    elements = st.floats(0, 1, width=width) if issubclass(dtype, np.floating) else None
    image = data.draw(st_numpy.arrays(dtype, shape, elements=elements))
    changed = perturb(make_dataset, image, perturbation)
    assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
    if issubclass(dtype, np.floating):
        assert changed.min() >= 0
        assert changed.max() <= 1


@pytest.mark.parametrize("perturbation", EVERY, ids=lambda one: one.name)
def test_bytes_and_floats_are_changed_alike(make_dataset: Make, perturbation: Perturbation) -> None:
    image = np.random.default_rng(0).integers(256, size=(3, 12, 9)).astype(np.uint8)
    as_bytes = perturb(make_dataset, image, perturbation)
    as_floats = perturb(make_dataset, image / 255, perturbation)
    assert np.abs(as_bytes - as_floats * 255).max() <= 0.5 + 1e-9
    as_integers = perturb(make_dataset, image.astype(np.int64), perturbation, value_range=(0, 255))
    assert np.array_equal(as_integers, as_bytes)


@pytest.mark.parametrize("perturbation", EVERY, ids=lambda one: one.name)
def test_a_value_range_scales_the_change(make_dataset: Make, perturbation: Perturbation, picture: NDArray[Any]) -> None:
    scaled = perturb(make_dataset, picture * 16, perturbation, value_range=(0, 16))
    assert np.allclose(scaled, perturb(make_dataset, picture, perturbation) * 16)


def test_noise_has_the_standard_deviation_and_is_new_for_every_image_and_seed(make_dataset: Make) -> None:
    images = [np.full((3, 100, 100), 0.5)] * 2
    dataset = PerturbedDataset(make_dataset(images), GaussianNoise(0.1))
    noise = [dataset[index][0] - 0.5 for index in (0, 1)]
    assert noise[0].std() == pytest.approx(0.1, rel=0.02)
    assert noise[0].mean() == pytest.approx(0, abs=0.003)
    others = [noise[1], PerturbedDataset(make_dataset(images), GaussianNoise(0.1), seed=1)[0][0] - 0.5, noise[0][[1]]]
    for other in others:
        assert abs(np.corrcoef(noise[0][0].ravel(), other[0].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 4.0])
def test_blur_is_that_of_scipy(make_dataset: Make, picture: NDArray[Any], sigma: float) -> None:
    radius = int(np.ceil(3 * sigma))
    expected = ndimage.gaussian_filter(picture, (0, sigma, sigma), mode="nearest", truncate=radius / sigma)
    assert np.allclose(perturb(make_dataset, picture, GaussianBlur(sigma)), expected)


@pytest.mark.parametrize("degrees", [0, 7, -30, 45, 90, 180, 213.5, 360])
def test_rotation_is_that_of_scipy(make_dataset: Make, picture: NDArray[Any], degrees: float) -> None:
    turned = perturb(make_dataset, picture, Rotation(degrees))
    expected = ndimage.rotate(picture, degrees, axes=(2, 1), reshape=False, order=1, mode="grid-constant")
    assert np.allclose(turned, expected, atol=1e-6)


def test_a_quarter_turn_is_counter_clockwise_and_exact(make_dataset: Make) -> None:
    image = np.random.default_rng(0).random((3, 9, 9))
    assert np.allclose(perturb(make_dataset, image, Rotation(90)), np.rot90(image, axes=(1, 2)), atol=1e-8)


@pytest.mark.parametrize(("fraction", "covered"), [(0, 0), (0.25, 10 * 15), (0.5, 14 * 21), (1, 20 * 30)])
def test_occlusion_covers_the_fraction_of_the_image(make_dataset: Make, fraction: float, covered: int) -> None:
    changed = perturb(make_dataset, np.ones((3, 20, 30)), Occlusion(fraction))
    assert ((changed == 0).sum(axis=(1, 2)) == covered).all()
    assert set(np.unique(changed)) <= {0.0, 1.0}


def test_occlusions_lie_at_different_places(make_dataset: Make) -> None:
    dataset = PerturbedDataset(make_dataset([np.ones((1, 20, 20))] * 30), Occlusion(0.25))
    places = {tuple(np.argwhere(dataset[index][0][0] == 0)[0]) for index in range(30)}
    assert len(places) > 15
    assert all(0 <= row <= 10 and 0 <= column <= 10 for row, column in places)


@pytest.mark.parametrize("perturbation", EVERY, ids=lambda one: one.name)
def test_a_pickled_dataset_gives_the_same_pixels_in_any_order(
    make_dataset: Make, picture: NDArray[Any], perturbation: Perturbation
) -> None:
    dataset = PerturbedDataset(Plain([picture] * 3), perturbation, seed=5)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.metadata == dataset.metadata
    forward = [dataset[index][0] for index in range(3)]
    backward = [copy[index][0] for index in (2, 1, 0)][::-1]
    assert np.array_equal(forward, backward)


def test_another_process_gives_the_same_pixels() -> None:
    program = """
import hashlib, numpy as np
from checkmaite_capabilities import *
class Plain:
    metadata = {"id": "plain"}
    def __len__(self): return 2
    def __getitem__(self, index): return np.arange(300, dtype=np.uint8).reshape(3, 10, 10), np.eye(2)[0], {"id": index}
data = Plain()
for one in (GaussianNoise(0.1), GaussianBlur(1.5), Rotation(30), Occlusion(0.25)):
    data = PerturbedDataset(data, one, seed=3)
print(hashlib.sha256(b"".join(data[i][0].tobytes() for i in range(2))).hexdigest())
"""
    digests = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4)), r"image 0 of dataset 'data' has shape \(4, 4\)"),
        (np.full((1, 2, 2), 2.0), "values from 2 to 2, outside 0 to 1"),
        (np.full((1, 2, 2), np.nan), "outside 0 to 1"),
        (np.zeros((1, 2, 2), dtype=np.int64), "pixels of type int64"),
        ("cat", "not of real numbers"),
    ],
)
def test_an_image_that_cannot_be_changed_is_explained(make_dataset: Make, image: Any, message: str) -> None:
    with pytest.raises(InputContractError, match=message):
        perturb(make_dataset, image, GaussianBlur(1))


@pytest.mark.parametrize(
    "make",
    [
        lambda data: GaussianNoise(-1),
        lambda data: GaussianBlur(0),
        lambda data: GaussianBlur(float("inf")),
        lambda data: GaussianNoise(float("nan")),
        lambda data: Rotation(float("inf")),
        lambda data: Occlusion(1.5),
        lambda data: PerturbedDataset(data, GaussianBlur(1), seed=-1),
        lambda data: PerturbedDataset(data, GaussianBlur(1), value_range=(1, 1)),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make_dataset: Make, make: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigurationError):
        make(make_dataset(1))


def test_a_perturbation_of_ones_own_is_a_small_class(make_dataset: Make, picture: NDArray[Any]) -> None:
    @dataclass(frozen=True)
    class Negative(Perturbation):
        @property
        def name(self) -> str:
            return "negative()"

        def apply(self, image: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
            return 1 - image

    assert np.allclose(perturb(make_dataset, picture, Negative()), 1 - picture)


class Plain:
    """A dataset that pickles: its class can be imported, since it is not made in a fixture."""

    def __init__(self, images: list[Any]) -> None:
        self.metadata = {"id": "plain"}
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> tuple[Any, Any, Any]:
        return self._images[index], np.eye(2)[0], {"id": index}
