"""Read MAITE inputs: whatever breaks the protocol is explained, naming the image or batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from checkmaite_core import InputContractError, InvalidCapabilityError, JobCancelledError, cancelled
from checkmaite_core.inputs import InputRef, Inputs, input_id

if TYPE_CHECKING:
    from maite.protocols import image_classification as ic
    from numpy.typing import NDArray

__all__ = [
    "Datum",
    "as_array",
    "check_protocols",
    "class_names",
    "explain",
    "label_of",
    "read_datum",
    "stop_if_cancelled",
]

_NEEDS = {
    "models": ("__call__", "a MAITE model is called with a batch of images and returns a batch of class scores"),
    "datasets": ("__getitem__", "a MAITE dataset has __len__, and __getitem__ returning (image, target, metadata)"),
    "metrics": ("update", "a MAITE metric has reset, update and compute"),
}
_METHODS = {"models": ("__call__",), "datasets": ("__len__", "__getitem__"), "metrics": ("reset", "update", "compute")}


@dataclass(frozen=True, slots=True)
class Datum:
    """One element of a dataset, as the dataset gave it.

    Attributes:
        index: Its position in the dataset, from 0.
        image: The image, of shape (C, H, W).
        target: The target, of shape (classes,).
        metadata: The datum's metadata, with an ``id``.
    """

    index: int
    image: Any
    target: Any
    metadata: Any

    @property
    def id(self) -> str | None:
        """The datum's own id as text, where it has one."""
        found = self.metadata.get("id") if isinstance(self.metadata, Mapping) else None
        return None if found is None else str(found)


def check_protocols(inputs: Inputs) -> None:
    """Refuse objects that lack a method of their protocol; references are passed over until they are loaded.

    Raises:
        InvalidCapabilityError: Naming the object and the method.
    """
    for kind, methods in _METHODS.items():
        for value in getattr(inputs, kind):
            if isinstance(value, InputRef):
                continue
            missing = [name for name in methods if not callable(getattr(value, name, None))]
            if missing:
                raise InvalidCapabilityError(
                    f"{kind[:-1]} {input_id(value)!r} is a {type(value).__name__}, which has no "
                    f"{' and no '.join(missing)}.",
                    hint=f"Give it what the protocol asks for: {_NEEDS[kind][1]}.",
                )


def stop_if_cancelled() -> None:
    """End the run soon after somebody has asked for it.

    Raises:
        JobCancelledError: The job that this runs in is to stop.
    """
    if cancelled():
        raise JobCancelledError(
            "the run stopped because its job was cancelled.",
            hint="Submit it again if its results are wanted.",
            job_id="",
        )


@contextmanager
def explain(what: str) -> Iterator[None]:
    """Let an exception of the user's code pass as it is, with a note that says what was being done."""
    try:
        yield
    except Exception as error:  # passes on whatever the user's code raises
        error.add_note(f"This happened while {what}.")
        raise


def read_datum(dataset: ic.Dataset, index: int) -> Datum:
    """Read one element.

    Raises:
        InputContractError: It is not an (image, target, metadata) tuple.
    """
    with explain(f"reading image {index} of dataset {input_id(dataset)!r}"):
        element: Any = dataset[index]
    if not isinstance(element, tuple | list) or len(element) != 3:
        size = f" of {len(element)}" if isinstance(element, tuple | list) else ""
        raise InputContractError(
            f"image {index} of dataset {input_id(dataset)!r} is a {type(element).__qualname__}{size}, not the "
            "three of MAITE's protocol.",
            hint="Let __getitem__ return (image, target, metadata).",
        )
    return Datum(index, *element)


def as_array(value: Any, what: str) -> NDArray[Any]:
    """Turn what a model or dataset gave into a real-valued array.

    Args:
        value: An array, tensor or nested sequence of numbers.
        what: What it is, for the error.

    Raises:
        InputContractError: NumPy cannot read it as numbers, or it is complex.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a device or with a gradient
        raise InputContractError(
            f"{what} is a {type(value).__qualname__} that NumPy cannot read: {error}",
            hint="Return NumPy arrays; for a torch tensor that is tensor.detach().cpu().numpy().",
        ) from error
    if np.ma.is_masked(value):  # NumPy would go on with what lies under the mask
        raise InputContractError(
            f"{what} is a masked array with masked values, which are no numbers.",
            hint="Fill them with value.filled(numpy.nan), which counts as missing, or with what is meant.",
        )
    if array.dtype.kind not in "biuf":
        raise InputContractError(
            f"{what} is a {type(value).__qualname__} of type {array.dtype}, not of real numbers.",
            hint="Return a NumPy array of integers or floats.",
        )
    return array


def label_of(target: Any, what: str) -> tuple[int | None, int, bool]:
    """Class of a one-hot or probability target.

    Args:
        target: Array of shape (classes,).
        what: What it is the target of, for the error.

    Returns:
        The class's index, or None where there is no single one: the target is all zero, holds NaN or infinity, or
        its maximum is shared by several classes; the number of classes; whether the maximum is shared.

    Raises:
        InputContractError: It is not of shape (classes,).
    """
    array = as_array(target, f"the target of {what}")
    if array.ndim != 1 or array.size == 0:
        raise InputContractError(
            f"the target of {what} has shape {array.shape}, not (classes,).",
            hint="MAITE's targets are one-hot or probability arrays with one element per class: "
            "turn a class index into numpy.eye(classes)[index].",
        )
    if not np.isfinite(array).all() or array.max() <= 0:
        return None, array.size, False
    best = np.flatnonzero(array == array.max())
    return (int(best[0]), array.size, False) if best.size == 1 else (None, array.size, True)


def class_names(sources: Sequence[Any], configured: Sequence[str] | None, classes: int) -> list[str]:
    """Names of the classes 0 to ``classes`` - 1.

    Args:
        sources: Dataset and model; the first with a name for a class gives it, from ``metadata["index2label"]``.
        configured: Names that come before those.
        classes: Number of classes.

    A class without a name is named by its index. Names of a whole ``index2label`` are only looked at where
    ``configured`` is None.

    Raises:
        InputContractError: There are more or fewer configured names than classes, or the sources call one class
            by different names: then their indices mean different things.
    """
    if configured is not None:
        if len(configured) != classes:
            raise InputContractError(
                f"{len(configured)} class names are configured, but there are {classes} classes.",
                hint="Give class_names one name per class, in the order of their indices.",
            )
        return list(configured)
    names: dict[int, tuple[str, Any]] = {}
    for source in sources:
        for index, name in index2label(source).items():
            known, owner = names.setdefault(index, (name, source))
            if known != name and index < classes:
                raise InputContractError(
                    f"class {index} is {known!r} for {input_id(owner)!r}, but {name!r} for {input_id(source)!r}.",
                    hint="Bring the classes of both into one order, or, if it is only the wording that differs, "
                    "say which names to use with config class_names=(...).",
                )
    return [names[index][0] if index in names else str(index) for index in range(classes)]


def index2label(source: Any) -> dict[int, str]:
    """The names that MAITE metadata gives to classes; empty where it gives none.

    Raises:
        InputContractError: It is not a mapping from integers to strings.
    """
    metadata = getattr(source, "metadata", None)
    given = metadata.get("index2label") if isinstance(metadata, Mapping) else None
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(
        isinstance(key, int | np.integer) and isinstance(name, str) for key, name in given.items()
    ):
        raise InputContractError(
            f"index2label of {input_id(source)!r} is not a mapping from integers to strings.",
            hint="Give it as {0: 'cat', 1: 'dog'}.",
        )
    return {int(key): name for key, name in given.items()}
