"""What one object of the log holds: a table of contents, events, and the submissions that are small."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from checkmaite_core.errors import StoreFormatError
from checkmaite_ledger.events import Event, decode, encode
from checkmaite_storage import Batch

__all__ = ["InLog", "Location", "OwnObject", "decode_batch", "encode_batch", "without_submissions"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class InLog:
    """A submission that lies in an object of the log: which one, and which of its entries."""

    number: int
    index: int


@dataclass(frozen=True, slots=True)
class OwnObject:
    """A submission that is an object of its own: its key below the scope's prefix, and its SHA-256 in hex."""

    key: str
    sha256: str


Location = InLog | OwnObject


def encode_batch(
    events: Sequence[Event], small: Mapping[str, bytes], large: Mapping[str, OwnObject]
) -> tuple[bytes, ...]:
    """The entries for events and the submissions, by job id, that they accept."""
    first = 1 + len(events)
    places: dict[str, Any] = {job_id: first + offset for offset, job_id in enumerate(small)}
    places |= {job_id: [place.key, place.sha256] for job_id, place in large.items()}
    contents = {"format": _FORMAT, "events": len(events), "submissions": places}
    return (json.dumps(contents, separators=(",", ":")).encode(), *map(encode, events), *small.values())


def decode_batch(batch: Batch, uri: str) -> tuple[list[Event], dict[str, Location]]:
    """The events of one object, and where the submissions lie that they accept.

    Raises:
        StoreFormatError: A newer version wrote it.
    """
    if not batch.entries:
        return [], {}
    contents = _contents(batch, uri)
    try:
        events = [decode(entry) for entry in batch.entries[1 : 1 + contents["events"]]]
    except (ValueError, TypeError, KeyError) as error:  # its checksum fits, so it is what somebody meant to write
        raise _newer(uri, f"an event that this version, of format {_FORMAT}, does not understand ({error})") from error
    places: dict[str, Location] = {
        job_id: InLog(batch.number, place) if isinstance(place, int) else OwnObject(*place)
        for job_id, place in contents["submissions"].items()
    }
    return events, places


def without_submissions(batch: Batch) -> Batch:
    """The same object with no more in memory than its events."""
    if not batch.entries:
        return batch
    return replace(batch, entries=batch.entries[: 1 + _contents(batch, f"object {batch.number}")["events"]])


def _contents(batch: Batch, uri: str) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads(batch.entries[0])
    if contents["format"] != _FORMAT:
        raise _newer(uri, f"format {contents['format']}, and this version reads format {_FORMAT}")
    return contents


def _newer(uri: str, what: str) -> StoreFormatError:
    return StoreFormatError(
        f"{uri} holds {what}.",
        hint="Update checkmaite-ledger and the packages beside it to the version that wrote the ledger.",
    )
