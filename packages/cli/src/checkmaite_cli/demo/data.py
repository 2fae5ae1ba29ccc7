"""The data: 1,797 real scans of handwritten digits behind MAITE's dataset protocol, clean and perturbed.

It is used on the workers. The command itself only sends a :class:`~checkmaite_core.DatasetRef`, which names
``load_digits_dataset`` and what to hand to it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from checkmaite_capabilities import PerturbedDataset
from checkmaite_cli.demo.plan import PERTURBATIONS

if TYPE_CHECKING:
    from maite.protocols import DatasetMetadata, DatumMetadata
    from maite.protocols import image_classification as ic
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[np.integer[Any]]

__all__ = ["CLASSES", "DigitsDataset", "load_digits_dataset", "training_data"]

CLASSES = {digit: str(digit) for digit in range(10)}
TEST_IMAGES = 797
"""The other 1,000 are for training."""


class DigitsDataset:
    """Scans of digits as MAITE wants a dataset for image classification.

    Args:
        dataset_id: Identity of the dataset; results are found again by it.
        images: Grey values from 0 to 1, of shape (images, 8, 8).
        labels: The digit on each image.

    Attributes:
        metadata: The dataset's id and the names of the classes.
    """

    def __init__(self, dataset_id: str, images: Floats, labels: Labels) -> None:
        self.metadata: DatasetMetadata = {"id": dataset_id, "index2label": CLASSES}
        self._images = images[:, np.newaxis].astype(np.float32)  # MAITE's order is channel, height, width
        self._targets = np.eye(len(CLASSES), dtype=np.float32)[labels]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> tuple[Floats, Floats, DatumMetadata]:
        """One image, its label as a one-hot vector, and its metadata."""
        return self._images[index], self._targets[index], {"id": index}


def load_digits_dataset(uri: str) -> ic.Dataset:
    """Load what a :class:`~checkmaite_core.DatasetRef` of the demo names.

    Args:
        uri: ``sklearn:digits`` for all scans, ``sklearn:digits-test`` for those that no model has seen, and
            ``sklearn:digits-test+noise(0.3)`` for the latter under a perturbation of the plan.
    """
    name, _, perturbation = uri.removeprefix("sklearn:").partition("+")
    if name == "digits":
        return DigitsDataset(name, *_scans())
    _, images, _, labels = _split()
    dataset = DigitsDataset(name, images, labels)
    return PerturbedDataset(dataset, PERTURBATIONS[perturbation]) if perturbation else dataset


def training_data() -> tuple[Floats, Labels]:
    """Images of shape (1000, 8, 8) and their labels; none of them is a test image."""
    images, _, labels, _ = _split()
    return images, labels


@functools.cache
def _scans() -> tuple[Floats, Labels]:
    digits = load_digits()
    return digits.images / 16.0, digits.target


@functools.cache
def _split() -> tuple[Floats, Floats, Labels, Labels]:
    images, labels = _scans()
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=TEST_IMAGES, stratify=labels, random_state=0
    )
    return train, test, train_labels, test_labels
