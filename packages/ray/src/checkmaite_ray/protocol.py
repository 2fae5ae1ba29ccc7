"""What client, registry and controllers say to each other: plain values, so that versions can be compared first."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checkmaite_core import errors
from checkmaite_core.errors import CheckmaiteError, ClusterError, DefectError, PayloadError, StoreFormatError
from checkmaite_core.job import JobStatus
from checkmaite_ledger import JobRecord

__all__ = [
    "NAMESPACE",
    "PROTOCOL",
    "Blob",
    "controller_name",
    "controller_prefix",
    "problem",
    "raise_problem",
    "registry_name",
    "wire_view",
    "with_storage_options",
]

PROTOCOL = 1
"""Version of what is said here. Both sides tell theirs in ``hello``, whose form never changes, and refuse another."""
NAMESPACE = "checkmaite"
"""The Ray namespace of registries and controllers."""

_MORE = ("uri", "epoch", "retry_after", "job_id", "traceback")
"""What errors of some classes have beside message and hint."""
_LENGTHS = struct.Struct(">4sII")
_MAGIC = b"cmj1"


def registry_name(scope: str) -> str:
    """The name of a scope's registry among Ray's actors."""
    return f"registry:{scope}"


def controller_prefix(scope: str) -> str:
    """What the names of a scope's controllers begin with."""
    return f"controller:{scope}:"


def controller_name(scope: str, slot: str, incarnation: str) -> str:
    """The name of one controller's process among Ray's actors; never used again."""
    return f"{controller_prefix(scope)}{slot}:{incarnation}"


@dataclass(frozen=True, slots=True)
class Blob:
    """What a job needs to be started. Opaque to the ledger, which keeps it until the job has ended.

    Attributes:
        order: The work order (JSON), without storage options.
        overlay: The runtime_env (canonical JSON).
        payload: The pickled work. Empty if submissions are not to be stored.
    """

    order: str
    overlay: str = field(repr=False)
    payload: bytes

    def pack(self) -> bytes:
        """As bytes.

        Raises:
            PayloadError: Its texts cannot be encoded.
        """
        try:
            order, overlay = self.order.encode(), self.overlay.encode()
        except UnicodeEncodeError as error:
            raise PayloadError(
                f"the work order or the runtime_env holds text that UTF-8 cannot encode: {error.reason}.",
                hint="Clean the text with value.encode('utf-8', 'replace').decode().",
            ) from None
        return b"".join((_LENGTHS.pack(_MAGIC, len(order), len(overlay)), order, overlay, self.payload))

    @classmethod
    def unpack(cls, data: bytes) -> Blob:
        """From bytes.

        Raises:
            ValueError: They are something else.
            StoreFormatError: A newer version packed them.
        """
        if len(data) < _LENGTHS.size:
            raise ValueError("this is no submission of ours")
        magic, order, overlay = _LENGTHS.unpack_from(data)
        if magic != _MAGIC and magic.startswith(_MAGIC[:3]) and magic[3:].isdigit():
            raise StoreFormatError(
                f"a submission has format {magic[3:].decode()}; this version of checkmaite-ray reads format 1.",
                hint="Update checkmaite-ray where the registry and the workers run.",
            )
        if magic != _MAGIC or len(data) < _LENGTHS.size + order + overlay:
            raise ValueError("this is no submission of ours")
        first, second = _LENGTHS.size + order, _LENGTHS.size + order + overlay
        return cls(data[_LENGTHS.size : first].decode(), data[first:second].decode(), data[second:])


def with_storage_options(order: str, options: dict[str, Any]) -> str:
    """A work order with the storage options that were left out of it."""
    if not options:
        return order
    document = json.loads(order)
    document["store"]["storage_options"] = options
    return json.dumps(document)


def wire_view(record: JobRecord) -> tuple[Any, ...]:
    """What a client is told of a job: id, status, began, ended (POSIX seconds), outcome (JSON text or empty)."""
    running = record.status is JobStatus.RUNNING
    return (record.job_id, str(record.status), record.began_at if running else None, record.ended_at, record.outcome)


def problem(error: CheckmaiteError) -> dict[str, Any]:
    """An error as a value, for the other side to raise."""
    extra = {name: getattr(error, name) for name in _MORE if hasattr(error, name)}
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint, **extra}


def raise_problem(answer: Mapping[str, Any]) -> None:
    """Raise what an answer says went wrong; nothing if it says nothing.

    Raises:
        CheckmaiteError: Of the class that was raised on the other side, where this side has it.
    """
    said = answer.get("problem")
    if said is None:
        return
    known = getattr(errors, said["type"], None)
    if not (isinstance(known, type) and issubclass(known, CheckmaiteError)):
        known = ClusterError
    extra = {name: said[name] for name in _MORE if name in said}
    if not issubclass(known, DefectError):
        extra.pop("traceback", None)
    found = known(said["message"], hint=said["hint"], **extra)
    if isinstance(found, DefectError):
        found.add_note(f"It was raised on the cluster:\n{found.traceback}")
    raise found
