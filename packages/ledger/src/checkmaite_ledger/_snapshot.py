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


_KNOWN = frozenset(field.name for field in fields(JobRecord))
_POLICY = frozenset(field.name for field in fields(Policy))
_STATUSES = {str(status): status for status in JobStatus}


def encode_snapshot(records: Sequence[JobRecord], places: Mapping[str, Location]) -> bytes:
    """The state as bytes.

    Args:
        records: All jobs in the order of acceptance.
        places: Where the submissions of unfinished jobs lie.
    """
    compress = zlib.compressobj(_LEVEL)
    lines = (
        json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n" for line in _lines(records, places)
    )
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
    if header["format"] != _FORMAT:
        raise _newer(uri, f"format {header['format']}")
    own, names = tuple(header.get("own", ())), tuple(header["shared"])
    shared: list[dict[str, Any]] = []
    records: list[JobRecord] = []
    for line in lines:
        if isinstance(line, dict):
            return records, {job_id: _place(*place) for job_id, place in line["places"].items()}
        new, rows = line
        shared.extend(_shared(names, values) for values in new)
        records.extend(_record({**shared[row[0]], **dict(zip(own, row[1:], strict=True))}, uri) for row in rows)
    raise AssertionError("its checksum fits, so it ends as it was written")


def _shared(names: Sequence[str], values: list[Any]) -> dict[str, Any]:
    found = dict(zip(names, values, strict=True))
    found["demand"] = dict(found["demand"])
    policy = found["policy"]
    known = {name: value for name, value in policy.items() if name in _POLICY}
    found["policy"] = Policy(**known | {"retry_exceptions": tuple(policy["retry_exceptions"])})
    if len(known) < len(policy):
        found["policy_more"] = {name: value for name, value in policy.items() if name not in _POLICY}
    return found


def _record(found: dict[str, Any], uri: str) -> JobRecord:
    """One record; columns that this version does not know stay in ``more``, where one that knows them finds them."""
    if found.keys() != _KNOWN or found.get("more"):
        more = found.get("more") or {}
        kept = dict(more.get("record", {}))
        for name in _KNOWN.intersection(kept):
            found[name] = kept.pop(name)
        kept |= {name: found.pop(name) for name in found.keys() - _KNOWN}
        rest = {name: value for name, value in more.items() if name != "record"} | ({"record": kept} if kept else {})
        found["more"] = rest or None
    if found["status"] not in _STATUSES:
        raise _newer(uri, f"the status {found['status']!r}")
    found["status"] = _STATUSES[found["status"]]
    found["causes"] = tuple(found["causes"])
    return JobRecord(**found)


def _newer(uri: str, what: str) -> StoreFormatError:
    return StoreFormatError(
        f"{uri} was written by a newer version of checkmaite-ledger: it has {what}, and this version reads format "
        f"{_FORMAT}.",
        hint="Update checkmaite-ledger and the packages beside it to the version that wrote the ledger.",
    )


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
