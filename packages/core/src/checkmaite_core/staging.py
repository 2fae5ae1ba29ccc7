"""Staged outputs: a run as bytes that a worker takes up again, with its code as it is by then.

A run is pickled as a payload is, but for classes: that of the run, and those that travel by value because nobody can
import them (a notebook's), are named in it and looked up when it is read. So a class that has been mended since takes
the place of the one that failed. Of those that travel, the class as it was lies beside it.

Layout: magic, length of the header, header (JSON), the pickled run, then each class that travelled. Only workers
unpickle it; whoever can write to the store can have code run there.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from checkmaite_core.errors import CorruptObjectError, StoreFormatError
from checkmaite_core.evolving import Evolving
from checkmaite_core.input_identity import InputIdentity
from checkmaite_core.provenance import Provenance, UtcTime

if TYPE_CHECKING:
    from checkmaite_core.submission import WorkOrder

__all__ = ["Header", "StagedRun", "class_name", "find_class", "pack", "read_header", "unpack"]

_MAGIC = b"cms1"
_LENGTH = struct.Struct(">4sQ")
_VERSION = 1
Resolver = Callable[[str], type]
_resolver: ContextVar[Resolver | None] = ContextVar("checkmaite_staged_classes", default=None)


class Header(Evolving):
    """What is known of staged outputs without unpickling them.

    Attributes:
        version: Of this format.
        job_id: The job that computed them.
        capability_id: What was run.
        module: The module of the capability.
        report_threshold: What its report was to be made with.
        provenance: Where the run comes from.
        inputs: What the inputs were.
        completed_at: When the capability had returned (UTC).
        took_s: Seconds that it had taken.
        payload: SHA-256 of the payload that it was computed from: another start of the same job has the same.
        run_class: The class of the run, as ``module:Name``.
        classes: Classes that travelled by value, and their sizes in bytes, in order.
        size: Bytes of the pickled run.
        sha256: Of everything after the header.
    """

    version: int = _VERSION
    job_id: str
    capability_id: str
    module: str | None = None
    report_threshold: float
    provenance: Provenance
    completed_at: UtcTime
    took_s: float
    payload: str
    run_class: str = ""
    classes: tuple[tuple[str, int], ...] = ()
    inputs: tuple[InputIdentity, ...] = ()
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class StagedRun:
    """A run that was staged, as it would be had it just been returned."""

    header: Header
    run: Any

    def provenance_in(self, order: WorkOrder) -> Provenance:
        """Where the run comes from, once this job commits it: as it was asked for, by whom and when."""
        return self.header.provenance.model_copy(
            update={
                "job_id": order.job_id,
                "backend": order.provenance.backend,
                "completed_at": self.header.completed_at,
                "recovers": order.recovers,
            }
        )


def pack(run: Any, header: Header, pickler: type[pickle.Pickler]) -> tuple[bytes, Header]:
    """A run as bytes.

    Args:
        run: What the capability returned.
        header: What is known of it; the rest is filled in.
        pickler: Such as ``ray.cloudpickle.Pickler``.

    Raises:
        Exception: Something in it cannot be pickled.
    """
    found: dict[str, type] = {}
    body = _dumped(run, _naming(pickler, type(run), found))
    copies = {name: _dumped(one, pickler) for name, one in found.items() if not _can_be_imported(one)}
    rest = b"".join((body, *copies.values()))
    full = header.model_copy(
        update={
            "run_class": class_name(type(run)),
            "classes": tuple((name, len(copy)) for name, copy in copies.items()),
            "size": len(body),
            "sha256": hashlib.sha256(rest).hexdigest(),
        }
    )
    text = full.model_dump_json().encode()
    return b"".join((_LENGTH.pack(_MAGIC, len(text)), text, rest)), full


def read_header(data: bytes, where: str) -> Header:
    """What is known of staged outputs; their bytes are compared with their checksum.

    Raises:
        CorruptObjectError: They are damaged, or something else.
        StoreFormatError: A newer version has written them.
    """
    try:
        magic, length = _LENGTH.unpack_from(data)
        header = Header.model_validate_json(data[_LENGTH.size : _LENGTH.size + length])
    except (struct.error, ValidationError, ValueError) as error:
        raise _corrupt(where, f"they have no header of ours ({type(error).__name__})") from error
    if header.version > _VERSION:
        raise StoreFormatError(
            f"the staged outputs {where} were written by a newer version of checkmaite-core.",
            hint="Update checkmaite-core on the workers to the version that ran the job.",
        )
    start = _LENGTH.size + length
    if magic != _MAGIC or hashlib.sha256(memoryview(data)[start:]).hexdigest() != header.sha256:
        raise _corrupt(where, "their checksum does not fit")
    return header


def unpack(
    data: bytes,
    where: str,
    loads: Callable[[bytes], Any],
    *,
    classes: Mapping[str, type] | None = None,
    run_class: type | None = None,
) -> StagedRun:
    """The run, with its classes as they are now.

    Args:
        data: What :func:`pack` made.
        where: Where it lies, for messages.
        loads: Unpickles.
        classes: Classes, by name, that take the place of those that it was staged with.
        run_class: Takes the place of the run's own class, whatever it is called.

    Raises:
        CorruptObjectError: The bytes are damaged.
        StoreFormatError: A newer version has written them.
        Exception: What unpickling raises, such as that a class is gone.
    """
    header = read_header(data, where)
    given = dict(classes or {})
    if run_class is not None:
        given[header.run_class] = run_class
    start = len(data) - header.size - sum(size for _, size in header.classes)
    at = start + header.size
    copies: dict[str, bytes] = {}
    for name, size in header.classes:
        copies[name] = data[at : at + size]
        at += size

    def resolve(name: str) -> type:
        if name not in given:
            found = find_class(name)
            given[name] = loads(copies[name]) if found is None and name in copies else _required(found, name)
        return given[name]

    with _resolving(resolve):
        return StagedRun(header, loads(data[start : start + header.size]))


def class_name(one: type) -> str:
    """The name under which a class is looked up."""
    return f"{one.__module__}:{one.__qualname__}"


def find_class(name: str, *, main: bool = False) -> type | None:
    """The class of this name as this process has it, or would import it; None if there is none.

    Args:
        name: As of :func:`class_name`.
        main: Look for a class of ``__main__`` too: here it is the script's or notebook's, on a worker the worker's.
    """
    module, _, path = name.partition(":")
    if module == "__main__" and not main:
        return None
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found if isinstance(found, type) else None


def named_class(name: str) -> type:
    """A class that a staged run names; called where one is unpickled, by :func:`unpack`."""
    resolve = _resolver.get()
    return _required(find_class(name), name) if resolve is None else resolve(name)


def _required(found: type | None, name: str) -> type:
    if found is None:
        raise ImportError(
            f"the class {name} of the staged run cannot be imported here; pass the one that is to take its place to "
            "recommit(run_class=...)"
        )
    return found


@contextmanager
def _resolving(resolve: Resolver) -> Iterator[None]:
    token = _resolver.set(resolve)
    try:
        yield
    finally:
        _resolver.reset(token)


def _can_be_imported(one: type) -> bool:
    """Whether another process finds this very class under its name."""
    if one.__module__ == "__main__":
        return False
    found: Any = sys.modules.get(one.__module__)
    for part in one.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is one


def _naming(pickler: type[pickle.Pickler], run_class: type, found: dict[str, type]) -> type[pickle.Pickler]:
    """A pickler that names the classes that are to be looked up, and collects them."""

    class Naming(pickler):  # type: ignore[valid-type, misc]
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, type) and (value is run_class or not _can_be_imported(value)):
                name = class_name(value)
                if found.setdefault(name, value) is value:  # of two of one name, only the first can be named
                    return named_class, (name,)
            further = getattr(super(), "reducer_override", None)
            return NotImplemented if further is None else further(value)

    return Naming


def _dumped(value: Any, pickler: type[pickle.Pickler]) -> bytes:
    file = io.BytesIO()
    pickler(file, pickle.DEFAULT_PROTOCOL).dump(value)
    return file.getvalue()


def _corrupt(where: str, why: str) -> CorruptObjectError:
    return CorruptObjectError(
        f"the staged outputs {where} are damaged: {why}.",
        hint="Submit the work again; what was computed is lost. The store's results are not touched.",
        uri=where,
    )
