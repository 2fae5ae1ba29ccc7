"""A snapshot of a ledger: compressed lines of JSON, each with some hundred records.

What many jobs have in common (store, shape, policy, ...) is written once, and is one object in memory when it is read.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from checkmaite_core.errors import StoreFormatError
from checkmaite_core.job import JobStatus
from checkmaite_ledger._entries import InLog, Location, OwnObject
from checkmaite_ledger.events import Policy
from checkmaite_ledger.records import JobRecord

__all__ = ["decode_snapshot", "encode_snapshot"]

_FORMAT = 1
_CHUNK = 200
"""Records in a line: encoding one takes about a millisecond, in which no other thread of the process runs."""
_LEVEL = 1
_SHARED = ("name", "capability_id", "client", "shape", "demand", "store_uri", "policy", "slot", "incarnation")
_OWN = tuple(field.name for field in fields(JobRecord) if field.name not in _SHARED)


def encode_snapshot(records: Sequence[JobRecord], places: Mapping[str, Location]) -> bytes:
    """The state as bytes.

    Args:
        records: All jobs in the order of acceptance.
        places: Where the submissions of unfinished jobs lie.
    """
    compress = zlib.compressobj(_LEVEL)
    lines = (json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in _lines(records, places))
    return b"".join([*map(compress.compress, lines), compress.flush()])


def _lines(records: Sequence[JobRecord], places: Mapping[str, Location]) -> Iterator[Any]:
    yield {"format": _FORMAT, "shared": _SHARED, "own": _OWN, "records": len(records)}
    numbers: dict[Any, int] = {}
    for first in range(0, len(records), _CHUNK):
        new: list[Any] = []
        rows: list[Any] = []
        for record in records[first : first + _CHUNK]:
            shared = (
                *(record.name, record.capability_id, record.client, record.shape, tuple(record.demand.items())),
                *(record.store_uri, record.policy, record.slot, record.incarnation),
            )
            number = numbers.get(shared)
            if number is None:
                number = numbers[shared] = len(numbers)
                new.append([asdict(value) if isinstance(value, Policy) else value for value in shared])
            rows.append((number, *[getattr(record, name) for name in _OWN]))
        yield [new, rows]
    yield {"places": {job_id: _plain(place) for job_id, place in places.items()}}


def _plain(place: Location) -> list[Any]:
    return [place.number, place.index] if isinstance(place, InLog) else [place.key, place.sha256]


def decode_snapshot(data: bytes, uri: str) -> tuple[list[JobRecord], dict[str, Location]]:
    """The records, in the order of acceptance, and where submissions lie.

    Raises:
        StoreFormatError: A newer version wrote it.
    """
    lines = map(json.loads, _split(data))
    header = next(lines)
    own = tuple(header.get("own", ()))
    if header["format"] != _FORMAT or tuple(header["shared"]) != _SHARED or not set(own) <= set(_OWN):
        raise StoreFormatError(
            f"{uri} was written by a newer version of checkmaite-ledger.",
            hint="Update checkmaite-ledger and the packages beside it to the version that wrote the ledger.",
        )
    status_at = 1 + own.index("status")
    causes_at = 1 + own.index("causes")
    statuses = {str(status): status for status in JobStatus}
    shared: list[dict[str, Any]] = []
    records: list[JobRecord] = []
    for line in lines:
        if isinstance(line, dict):
            return records, {job_id: _place(*place) for job_id, place in line["places"].items()}
        new, rows = line
        shared.extend(map(_shared, new))
        for row in rows:
            row[status_at] = statuses[row[status_at]]
            row[causes_at] = tuple(row[causes_at])
            records.append(JobRecord(**shared[row[0]], **dict(zip(own, row[1:], strict=True))))
    raise AssertionError("its checksum fits, so it ends as it was written")


def _shared(values: list[Any]) -> dict[str, Any]:
    found = dict(zip(_SHARED, values, strict=True))
    found["demand"] = dict(found["demand"])
    policy = found["policy"]
    found["policy"] = Policy(**policy | {"retry_exceptions": tuple(policy["retry_exceptions"])})
    return found


def _place(first: Any, second: Any) -> Location:
    return InLog(first, second) if isinstance(first, int) else OwnObject(first, second)


def _split(data: bytes) -> Iterator[bytes]:
    """The lines, without all of them in memory at a time."""
    decompress = zlib.decompressobj()
    rest = b""
    view = memoryview(data)
    for first in range(0, len(data), 65536):
        *lines, rest = (rest + decompress.decompress(view[first : first + 65536])).split(b"\n")
        yield from lines
    yield from (rest + decompress.flush()).splitlines()
