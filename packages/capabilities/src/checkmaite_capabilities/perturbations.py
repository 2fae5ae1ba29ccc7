"""Datasets under perturbation: noise, blur, rotation and occlusion, applied when an image is read.

    PerturbedDataset(digits, GaussianBlur(1.5)).metadata["id"]  ->  "digits+blur(1.5)"

Everything is deterministic: the same dataset, perturbation and seed give the same pixels in every process, also
where images are read in another order. Perturbed datasets can be perturbed again, and pickled if what they wrap
can be.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from checkmaite_capabilities._inputs import as_array, read_datum
from checkmaite_core import ConfigurationError, InputContractError
from checkmaite_core.inputs import input_id

if TYPE_CHECKING:
    from maite.protocols import DatasetMetadata, DatumMetadata
    from maite.protocols import image_classification as ic
    from numpy.typing import NDArray

__all__ = ["GaussianBlur", "GaussianNoise", "Occlusion", "Perturbation", "PerturbedDataset", "Rotation"]


class Perturbation(ABC):
    """A change to one image. Subclass it for one of your own; it must be picklable.

    Attributes:
        random: Whether the change depends on the random numbers; then a dataset's seed is part of its id.
    """

    random: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name with its parameters, such as ``blur(1.5)``: part of the perturbed dataset's id."""

    @abstractmethod
    def apply(self, image: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
        """Change an image.

        Args:
            image: Shape (C, H, W), values from 0 to 1; it must not be written to.
            generator: Random numbers that depend on the seed and the image's index only.

        Returns:
            The changed image, of the same shape; values outside 0 to 1 are clipped afterwards.
        """


@dataclass(frozen=True)
class GaussianNoise(Perturbation):
    """Add independent normal noise to every pixel and channel.

    Attributes:
        std: Standard deviation, as a share of the range of values.
    """

    std: float
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require(0 <= self.std < math.inf, "GaussianNoise", "std", self.std, "a finite number of at least 0")

    @property
    def name(self) -> str:
        """``noise(std)``."""
        return f"noise({_exactly(self.std)})"

    def apply(self, image: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
        """Change an image; see :meth:`Perturbation.apply`."""
        return image + generator.normal(0.0, self.std, image.shape)


@dataclass(frozen=True)
class GaussianBlur(Perturbation):
    """Blur with a Gaussian kernel cut off at three standard deviations; the border pixels are repeated outwards.

    Attributes:
        sigma: Standard deviation of the kernel, in pixels.
    """

    sigma: float

    def __post_init__(self) -> None:
        _require(0 < self.sigma < math.inf, "GaussianBlur", "sigma", self.sigma, "a finite number above 0")

    @property
    def name(self) -> str:
        """``blur(sigma)``."""
        return f"blur({_exactly(self.sigma)})"

    def apply(self, image: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
        """Change an image; see :meth:`Perturbation.apply`."""
        radius = math.ceil(3 * self.sigma)
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / self.sigma) ** 2)
        kernel /= kernel.sum()
        for axis in (1, 2):
            length = image.shape[axis]
            padding = [(radius, radius) if other == axis else (0, 0) for other in range(3)]
            padded = np.pad(image, padding, mode="edge")
            image = sum(
                (weight * padded.take(range(shift, shift + length), axis=axis) for shift, weight in enumerate(kernel)),
                start=np.zeros_like(image),
            )
        return image


@dataclass(frozen=True)
class Rotation(Perturbation):
    """Rotate about the centre, counter-clockwise, with bilinear interpolation; what comes from outside is 0.

    Attributes:
        degrees: Angle in degrees.
    """

    degrees: float

    def __post_init__(self) -> None:
        _require(math.isfinite(self.degrees), "Rotation", "degrees", self.degrees, "a finite number")

    @property
    def name(self) -> str:
        """``rotation(degrees)``."""
        return f"rotation({_exactly(self.degrees)})"

    def apply(self, image: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
        """Change an image; see :meth:`Perturbation.apply`."""
        _, height, width = image.shape
        y, x = np.mgrid[:height, :width].astype(np.float64)
        y -= (height - 1) / 2
        x -= (width - 1) / 2
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        # Where each pixel comes from; rows count downwards, so this turns counter-clockwise for the eye. Rounding
        # keeps a turn by 90 degrees from falling between pixels by 1e-16.
        source_y = np.round(cos * y + sin * x + (height - 1) / 2, 9)
        source_x = np.round(cos * x - sin * y + (width - 1) / 2, 9)
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        top, left = np.floor(source_y), np.floor(source_x)
        down, right = source_y - top, source_x - left

        def at(row: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float64]:
            rows = np.clip(row + 1, 0, height + 1).astype(np.intp)
            columns = np.clip(column + 1, 0, width + 1).astype(np.intp)
            return padded[:, rows, columns]

        upper = (1 - right) * at(top, left) + right * at(top, left + 1)
        lower = (1 - right) * at(top + 1, left) + right * at(top + 1, left + 1)
        turned: NDArray[np.float64] = (1 - down) * upper + down * lower
        return turned


@dataclass(frozen=True)
class Occlusion(Perturbation):
    """Cover a rectangle at a random place with 0; it has the image's aspect ratio.

    Attributes:
        fraction: Share of the image's area that is covered, from 0 to 1; the sides are rounded to whole pixels.
    """

    fraction: float
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require(0 <= self.fraction <= 1, "Occlusion", "fraction", self.fraction, "a number from 0 to 1")

    @property
    def name(self) -> str:
        """``occlusion(fraction)``."""
        return f"occlusion({_exactly(self.fraction)})"

    def apply(self, image: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
        """Change an image; see :meth:`Perturbation.apply`."""
        _, height, width = image.shape
        rows, columns = (round(side * math.sqrt(self.fraction)) for side in (height, width))
        top = int(generator.integers(height - rows + 1))
        left = int(generator.integers(width - columns + 1))
        covered = image.copy()
        covered[:, top : top + rows, left : left + columns] = 0.0
        return covered


class PerturbedDataset:
    """A MAITE image-classification dataset whose images are changed when they are read.

    Targets and datum metadata stay as they are; so do the images' shape and type (integers are rounded).

    Args:
        dataset: The dataset to change.
        perturbation: What to do to each image.
        seed: Seed of the random numbers. A random perturbation's seed other than 0 becomes part of the id.
        value_range: Least and greatest value of a pixel; by default those of the type for ``uint8`` and ``uint16``,
            and 0 to 1 for floats and booleans. Other integers need it.

    Raises:
        ConfigurationError: When made: the seed or range cannot be used.
        InputContractError: When an image is read: it is not of shape (C, H, W), or its values lie outside the range.

    Attributes:
        metadata: The wrapped dataset's, with ``+`` and the perturbation's name after the id.
    """

    def __init__(
        self,
        dataset: ic.Dataset,
        perturbation: Perturbation,
        *,
        seed: int = 0,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        if value_range is not None and not (value_range[0] < value_range[1]):
            raise ConfigurationError(
                f"value_range {value_range!r} is empty.", hint="Pass (least, greatest), such as (0, 255)."
            )
        _require(seed >= 0, "PerturbedDataset", "seed", seed, "an integer of at least 0")
        self._dataset = dataset
        self._perturbation = perturbation
        self._seed = seed
        self._value_range = value_range
        name = perturbation.name
        if perturbation.random and seed:
            name = f"{name.removesuffix(')')},seed={seed})"
        known = getattr(dataset, "metadata", {})
        self.metadata = cast("DatasetMetadata", {**known, "id": f"{input_id(dataset)}+{name}"})

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int, /) -> tuple[Any, Any, DatumMetadata]:
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"image {index} of dataset {self.metadata['id']!r}, which has {length}")
        index %= length
        datum = read_datum(self._dataset, index)
        what = f"image {index} of dataset {input_id(self._dataset)!r}"
        image = as_array(datum.image, what)
        if image.ndim != 3:
            raise InputContractError(
                f"{what} has shape {image.shape}, not (channels, height, width).",
                hint="Give grayscale images a channel axis of length 1: image[None].",
            )
        low, high = self._range_of(image, what)
        generator = np.random.default_rng((self._seed, index))
        changed = self._perturbation.apply((image.astype(np.float64) - low) / (high - low), generator)
        values = np.clip(changed, 0.0, 1.0) * (high - low) + low
        if image.dtype.kind in "biu":
            if np.isnan(values).any():
                raise InputContractError(
                    f"{what} has pixels that are NaN under {self._perturbation.name}, which {image.dtype} cannot hold.",
                    hint="Let the perturbation's apply() return numbers for every pixel.",
                )
            values = np.rint(values)
        return values.astype(image.dtype), datum.target, datum.metadata

    def __repr__(self) -> str:
        return f"<PerturbedDataset {self.metadata['id']}: {len(self)} images>"

    def _range_of(self, image: NDArray[Any], what: str) -> tuple[float, float]:
        if self._value_range is not None:
            low, high = self._value_range
        elif image.dtype in (np.uint8, np.uint16):
            low, high = 0.0, float(np.iinfo(image.dtype).max)
        elif image.dtype.kind in "iu":
            raise InputContractError(
                f"{what} has pixels of type {image.dtype}, which does not tell which values are black and white.",
                hint="Pass value_range=(least, greatest) to PerturbedDataset, such as (0, 255).",
            )
        else:
            low, high = 0.0, 1.0
        if image.size and not (low <= image.min() and image.max() <= high):
            raise InputContractError(
                f"{what} has values from {image.min():g} to {image.max():g}, outside {low:g} to {high:g}.",
                hint="Pass value_range=(least, greatest) to PerturbedDataset, such as (0, 255).",
            )
        return low, high


def _exactly(value: float) -> str:
    """A number as short as it can be without becoming another: it is part of an identity."""
    return repr(float(value)).removesuffix(".0")


def _require(holds: bool, owner: str, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise ConfigurationError(f"{owner}: {name} is {value!r}.", hint=f"Pass {wanted}.")
