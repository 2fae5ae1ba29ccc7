"""Digests of what an object holds that are equal for equal contents in every process; numpy and torch stay unimported.

Large leaves (arrays, tensors, flat lists) are digested as bytes, without a copy where their memory is one piece. What
has too many parts to be described one by one is digested as its pickle, in which classes and functions are replaced
by their descriptions: pickles name the code of a class, or hold bytecode with ids of the process.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

__all__ = ["large_leaf", "pickled", "reduced"]

_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_FLAT_FROM = 256
"""The shortest list that is digested as a whole instead of item by item."""
_PROTOCOL = 5


def large_leaf(value: Any, *, ordered: bool) -> list[Any] | None:
    """The description of a leaf by its bytes; None if it is none.

    Args:
        value: What is to be described.
        ordered: Whether the order of a mapping counts.
    """
    kind = type(value)
    if kind in (list, tuple, dict, set, frozenset):
        return _flat(value, ordered) if len(value) > _FLAT_FROM else None
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name == "numpy.ndarray":
        return _array(value)
    if name in ("torch.Tensor", "torch.nn.parameter.Parameter"):
        return _tensor(value, name)
    return None


def _flat(value: Any, ordered: bool) -> list[Any] | None:
    kind = type(value)
    if kind is dict:
        if not set(map(type, value)) <= {str} or not set(map(type, value.values())) <= _SCALARS:
            return None
        content: Any = list(value.items() if ordered else sorted(value.items()))
    elif kind in (set, frozenset):
        if set(map(type, value)) not in ({str}, {int}, {bytes}):
            return None
        content = sorted(value)
    elif set(map(type, value)) <= _SCALARS:
        content = value
    else:
        return None
    sink = _Sink()
    pickler = pickle.Pickler(sink, _PROTOCOL)
    pickler.fast = True  # without a memo: equal texts count as equal, whether they are one object or two
    pickler.dump(content)
    return ["flat", kind.__name__, len(value), sink.digest.hexdigest()]


def _array(value: Any) -> list[Any] | None:
    if value.dtype.hasobject:
        return None
    whole = value if value.flags.c_contiguous else value.copy(order="C")
    return ["array", repr(value.dtype), list(value.shape), _of_memory(whole, whole.tobytes)]


def _tensor(value: Any, name: str) -> list[Any] | None:
    try:
        flat = value.detach().cpu().contiguous().reshape(-1).view(sys.modules["torch"].uint8).numpy()
    except (RuntimeError, TypeError, AttributeError, KeyError):  # sparse, quantized, on no device: by its reduction
        return None
    facts = [str(value.dtype), list(value.shape), str(value.device), bool(value.requires_grad)]
    return [name, *facts, _of_memory(flat, flat.tobytes)]


def _of_memory(whole: Any, copied: Callable[[], bytes]) -> str:
    try:
        return hashlib.sha256(pickle.PickleBuffer(whole).raw()).hexdigest()
    except (ValueError, BufferError):  # types that the buffer protocol has no letter for, such as datetime64
        return hashlib.sha256(copied()).hexdigest()


def reduced(value: Any) -> str | tuple[Any, ...]:
    """What ``value`` is made anew from, as ``pickle`` and ``copyreg`` have it.

    Raises:
        Exception: Whatever its class raises, such as a TypeError where it cannot be pickled.
    """
    reduce = copyreg.dispatch_table.get(type(value))
    if reduce is not None:
        return reduce(value)
    found: str | tuple[Any, ...] = value.__reduce_ex__(_PROTOCOL)
    return found


def pickled(value: Any, describe: Callable[[Any], str], leaf: Callable[[Any], Any]) -> str:
    """The digest of the pickle of ``value``, and of the code of all that is in it.

    Args:
        value: What is to be digested.
        describe: The description of a class or a function.
        leaf: The description of a leaf, or None.

    Raises:
        Exception: Whatever pickling raises.
    """
    pickler = _Hashing(describe, leaf)
    pickler.dump(value)
    return pickler.hexdigest()


class _Sink(io.RawIOBase):
    """Digests what is written."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)


class _Hashing(pickle.Pickler):
    """A pickler that keeps digests alone: of the stream, and of each buffer that is beside it."""

    def __init__(self, describe: Callable[[Any], str], leaf: Callable[[Any], Any]) -> None:
        self._sink = _Sink()
        self._buffers: list[str] = []
        self._describe = describe
        self._leaf = leaf
        super().__init__(self._sink, _PROTOCOL, buffer_callback=self._beside)

    def _beside(self, buffer: pickle.PickleBuffer) -> bool:
        self._buffers.append(hashlib.sha256(buffer.raw()).hexdigest())
        return False

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | types.FunctionType) and value.__module__ != "builtins":
            return str, (self._describe(value),)
        leaf = self._leaf(value)
        return NotImplemented if leaf is None else (str, (repr(leaf),))

    def hexdigest(self) -> str:
        return hashlib.sha256(" ".join((self._sink.digest.hexdigest(), *self._buffers)).encode()).hexdigest()
