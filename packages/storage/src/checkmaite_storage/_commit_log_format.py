"""The objects of a commit log: a checksum, a JSON header, a body; and the small JSON document of an epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from checkmaite_core.errors import CorruptObjectError, StoreFormatError

__all__ = ["Batch", "Epoch", "Snapshot", "decode_batch", "decode_epoch", "decode_snapshot", "encode"]

_MAGIC = b"checkmaite-log\n"
_FORMAT = 1
_DIGEST = hashlib.sha256().digest_size
_LENGTH = 4
_START = len(_MAGIC) + _DIGEST + _LENGTH


@dataclass(frozen=True, slots=True)
class Epoch:
    """One incarnation of a log's writer.

    Attributes:
        number: Its number, from 1; a greater one seals all lower ones.
        incarnation: Random text that no other incarnation has.
        who: Who it said it is: plain JSON values.
    """

    number: int
    incarnation: str
    who: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one object of a log holds: entries that became durable together.

    Attributes:
        number: Its place in the log, from 1.
        epoch: The epoch of its writer.
        incarnation: The incarnation of its writer.
        entries: The entries, in order.
        seal: Whether it begins an epoch instead; then it has no entries.
    """

    number: int
    epoch: int
    incarnation: str
    entries: tuple[bytes, ...] = ()
    seal: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after all objects of a log up to one.

    Attributes:
        number: The last object that it covers.
        epoch: The epoch of its writer.
        incarnation: The incarnation of its writer.
        seals: The numbers of all seals that it covers.
        data: The state.
    """

    number: int
    epoch: int
    incarnation: str
    seals: tuple[int, ...]
    data: bytes


def encode(value: Batch | Snapshot | Epoch) -> bytes:
    """The object of a batch, a snapshot or an epoch.

    Raises:
        ValueError: It could not be read back as it is.
    """
    if isinstance(value, Epoch):
        if json.loads(json.dumps(value.who, allow_nan=False)) != value.who:
            raise ValueError("who a writer is has to be told in JSON values, with texts as names")
        return json.dumps({"format": _FORMAT, **asdict(value)}, indent=1).encode()
    header: dict[str, Any] = {"format": _FORMAT, "number": value.number, "epoch": value.epoch}
    header["incarnation"] = value.incarnation
    if isinstance(value, Batch):
        header |= {"kind": "batch", "seal": value.seal, "lengths": list(map(len, value.entries))}
        body: Sequence[bytes] = value.entries
    else:
        header |= {"kind": "snapshot", "seals": value.seals, "lengths": [len(value.data)]}
        body = [value.data]
    head = json.dumps(header, separators=(",", ":")).encode()
    counted = len(head).to_bytes(_LENGTH, "big") + head
    digest = hashlib.sha256(counted)
    for part in body:
        digest.update(part)
    return b"".join((_MAGIC, digest.digest(), counted, *body))


def decode_batch(data: bytes, number: int, uri: str) -> Batch:
    """The batch of an object.

    Raises:
        CorruptObjectError: Its bytes are not what was written, or it is another object than its key says.
        StoreFormatError: A newer version wrote it.
    """
    header, parts = _open(data, "batch", number, uri)
    return Batch(number, header["epoch"], header["incarnation"], tuple(parts), header["seal"])


def decode_snapshot(data: bytes, number: int, uri: str) -> Snapshot:
    """The snapshot of an object; raises as :func:`decode_batch` does."""
    header, parts = _open(data, "snapshot", number, uri)
    return Snapshot(number, header["epoch"], header["incarnation"], tuple(header["seals"]), parts[0])


def decode_epoch(data: bytes, number: int, uri: str) -> Epoch:
    """The epoch of an object; raises as :func:`decode_batch` does."""
    try:
        fields = json.loads(data)
        written = fields["format"]
        if written != _FORMAT:
            _newer(uri, written)
        epoch = Epoch(fields["number"], fields["incarnation"], fields["who"])  # and what a newer version has added
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _corrupt(uri, f"it is not the document of an epoch ({type(error).__name__})")
    if epoch.number != number:
        _corrupt(uri, "it is not the document of this epoch")
    return epoch


def _open(data: bytes, kind: str, number: int, uri: str) -> tuple[dict[str, Any], list[bytes]]:
    if not data.startswith(_MAGIC):
        _corrupt(uri, "it does not begin as an object of a log does")
    digest = data[len(_MAGIC) : len(_MAGIC) + _DIGEST]
    if len(data) < _START or hashlib.sha256(memoryview(data)[len(_MAGIC) + _DIGEST :]).digest() != digest:
        _corrupt(uri, "its checksum does not fit")
    # What follows is as it was written, so anything odd in it is another version's or another place's.
    end = _START + int.from_bytes(data[_START - _LENGTH : _START], "big")
    header: dict[str, Any] = json.loads(data[_START:end])
    if header["format"] != _FORMAT:
        _newer(uri, header["format"])
    if header["kind"] not in ("batch", "snapshot"):
        _newer(uri, f"{_FORMAT} and is a {header['kind']!r}")
    if header["kind"] != kind or header["number"] != number:
        _corrupt(uri, f"it is {header['kind']} {header['number']}, copied from another place")
    parts = []
    for length in header["lengths"]:
        parts.append(data[end : end + length])
        end += length
    return header, parts


def _corrupt(uri: str, why: str) -> NoReturn:
    raise CorruptObjectError(
        f"{uri} is corrupt: {why}.",
        hint="Restore this object from a copy. A damaged snapshot may be deleted instead: the one before it and "
        "the log after that are still there.",
        uri=uri,
    )


def _newer(uri: str, written: object) -> NoReturn:
    raise StoreFormatError(
        f"{uri} has format {written}; this version of checkmaite-storage reads format {_FORMAT}.",
        hint="Update checkmaite-storage and the packages beside it to the version that wrote the log.",
    )
