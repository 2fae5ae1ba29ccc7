r"""Bundles and markers: what lies at an event's key.

A bundle is one line of text, one line of JSON and the tables' bytes:

    checkmaite-run 1 <bytes of the JSON line> <SHA-256 of the JSON line>\n
    <the header: what the run is, and size and SHA-256 of each table>\n
    <the tables, one after the other: an Arrow IPC schema message and one record batch message each>

The marker of an abandoned event is the same with another header and no tables. The bytes are taken as
untrusted: every length and checksum is checked before anything is made of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError

from checkmaite_analytics_store._columns import StoredTable, encode_table
from checkmaite_analytics_store._order import Stamp, StampSource
from checkmaite_analytics_store._sealed import corrupt, invalid, newer, unknown_version
from checkmaite_core.errors import RunContractError
from checkmaite_core.evolving import Evolving
from checkmaite_core.naming import check_event_id, check_run_uid, check_table_name
from checkmaite_core.provenance import Provenance
from checkmaite_core.record import ScalarType
from checkmaite_core.reference import CapabilityRunRef
from checkmaite_core.store import RunBundle

__all__ = ["Abandoned", "StoredRun", "decode", "encode_bundle", "encode_marker"]

_VERSION = 1
_PREAMBLE = re.compile(rb"checkmaite-run %d ([1-9][0-9]{0,9}) ([0-9a-f]{64})\n" % _VERSION)
_ANY_PREAMBLE = re.compile(rb"checkmaite-run ([0-9]{1,9})[ \n]")
_MAX_PREAMBLE = 128


class _TableHeader(Evolving):
    name: str
    columns: tuple[tuple[str, ScalarType], ...]
    rows: Annotated[int, Field(ge=0)]
    schema_size: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _RunHeader(Evolving):
    kind: Literal["run"] = "run"
    event_id: str
    writer: str
    sequence: Annotated[int, Field(ge=0)]
    reference: CapabilityRunRef
    provenance: Provenance
    config: str
    tables: tuple[_TableHeader, ...]


class _MarkerHeader(Evolving):
    kind: Literal["abandoned"] = "abandoned"
    event_id: str


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A decoded bundle.

    Attributes:
        event_id: The event.
        stamp: Its place among the commits of its process.
        reference: What its job has returned.
        provenance: Where it comes from.
        config: Its configuration, as JSON text.
        tables: Its rows.
        unknown: What its header says beyond that, written by a newer version: by ``header`` and ``provenance``.
    """

    event_id: str
    stamp: Stamp
    reference: CapabilityRunRef
    provenance: Provenance
    config: str
    tables: tuple[StoredTable, ...]
    unknown: Mapping[str, JsonValue] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A decoded marker: the event was settled as not committed."""

    event_id: str


def encode_bundle(bundle: RunBundle, stamp: Stamp | None = None) -> bytes:
    """The bytes of a run's bundle.

    Args:
        bundle: The run.
        stamp: Its place among the commits of this process; by default the next one.

    Raises:
        SchemaError: A value does not fit its column.
        RunContractError: It has a name that cannot be read back, or the reference of another event.
    """
    check_event_id(bundle.event_id)
    check_run_uid(bundle.reference.run_uid)
    for rows in bundle.tables:
        check_table_name(rows.table)
    if len({rows.table for rows in bundle.tables}) != len(bundle.tables):
        raise RunContractError(
            f"the bundle of event {bundle.event_id!r} holds a table twice.",
            hint="Put all records of one table together; tabulate() does.",
        )
    if bundle.event_id != bundle.reference.event_id:
        raise RunContractError(
            f"the bundle of event {bundle.event_id!r} has the reference of event {bundle.reference.event_id!r}.",
            hint="Make the reference with the event id of its bundle; bundle_run() does.",
        )
    headers, blobs = [], []
    for rows in bundle.tables:
        columns = {name: kind for name, kind in rows.columns.items() if name != "run_uid"}
        if "event_id" in columns:
            raise RunContractError(
                f"table {rows.table!r} has a column 'event_id', which the store adds itself.",
                hint="Give the record's field another name.",
            )
        schema, batch = encode_table(rows.table, columns, rows.rows)
        blob = schema + batch
        headers.append(
            _TableHeader(
                name=rows.table,
                columns=tuple(columns.items()),
                rows=len(rows.rows),
                schema_size=len(schema),
                size=len(blob),
                sha256=hashlib.sha256(blob).hexdigest(),
            )
        )
        blobs.append(blob)
    stamp = stamp or StampSource.next()
    header = _RunHeader(
        event_id=bundle.event_id,
        writer=stamp.writer,
        sequence=stamp.sequence,
        reference=bundle.reference,
        provenance=bundle.provenance,
        config=bundle.config,
        tables=tuple(headers),
    )
    return _assemble(header, blobs)


def encode_marker(event_id: str) -> bytes:
    """The bytes of the marker of an abandoned event.

    Raises:
        RunContractError: It cannot be an event's id.
    """
    return _assemble(_MarkerHeader(event_id=check_event_id(event_id)), ())


def _assemble(header: _RunHeader | _MarkerHeader, blobs: Sequence[bytes]) -> bytes:
    try:
        text = header.model_dump_json(warnings=False).encode() + b"\n"
        again = type(header).model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise RunContractError(
            f"the bundle of event {header.event_id!r} could not be read back: {'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}.",
            hint="Build the reference and the provenance through their classes, which check values.",
        ) from error
    except PydanticSerializationError as error:
        raise RunContractError(
            f"the run's ids, config, report or provenance hold text that UTF-8 cannot encode: {error}.",
            hint="Clean the text with value.encode('utf-8', 'replace').decode().",
        ) from error
    if again != header:
        names = [name for name in type(header).model_fields if getattr(again, name) != getattr(header, name)]
        raise RunContractError(
            f"the bundle of event {header.event_id!r} would be read back as another one: {', '.join(names)} differ.",
            hint="Build the reference and the provenance through their classes, with JSON values only.",
        )
    preamble = f"checkmaite-run {_VERSION} {len(text)} {hashlib.sha256(text).hexdigest()}\n".encode()
    return b"".join((preamble, text, *blobs))


def decode(data: bytes, event_id: str, uri: str) -> StoredRun | Abandoned:
    """Decode what lies at the key of ``event_id``.

    Raises:
        CorruptObjectError: The bytes are not exactly what was written there.
        StoreFormatError: A newer version wrote them.
    """
    preamble = _PREAMBLE.match(data[:_MAX_PREAMBLE])
    if preamble is None:
        other = _ANY_PREAMBLE.match(data[:_MAX_PREAMBLE])
        if other is not None and int(other[1]) != _VERSION:
            raise unknown_version(uri, int(other[1]), _VERSION)
        raise corrupt(uri, "it is empty" if not data else "it does not begin as a bundle does")
    start = preamble.end()
    end = start + int(preamble[1])
    text = data[start:end]
    if hashlib.sha256(text).hexdigest().encode() != preamble[2]:
        raise corrupt(uri, "the header's checksum does not fit" if len(data) >= end else "it is cut short")
    kind = _kind(text, uri)
    if kind == "abandoned":
        marker = _parse(_MarkerHeader, text, uri)
        _check_identity(marker.event_id, event_id, uri)
        if len(data) != end:
            raise corrupt(uri, "a marker has no tables, but bytes follow it")
        return Abandoned(event_id)
    header = _parse(_RunHeader, text, uri)
    _check_identity(header.event_id, event_id, uri)
    _check_identity(header.reference.event_id, event_id, uri)
    if len(data) != end + sum(table.size for table in header.tables):
        raise corrupt(uri, f"it has {len(data)} bytes, not the number that its header says")
    tables = []
    try:
        check_run_uid(header.reference.run_uid)
        for table in header.tables:
            check_table_name(table.name)
            tables.append(_table(table, data[end : end + table.size], uri))
            end += table.size
    except RunContractError as error:
        raise corrupt(uri, error.message) from error
    if len({table.name for table in tables}) != len(tables):
        raise corrupt(uri, "it holds a table twice")
    stamp = Stamp(header.writer, header.sequence)
    unknown = {"header": header.model_extra or {}, "provenance": header.provenance.model_extra or {}}
    return StoredRun(
        event_id,
        stamp,
        header.reference,
        header.provenance,
        header.config,
        tuple(tables),
        {name: values for name, values in unknown.items() if values},
    )


def _kind(text: bytes, uri: str) -> str:
    for kind in ("run", "abandoned"):
        if text.startswith(b'{"kind":"%s"' % kind.encode()):
            return kind
    try:
        kind = str(json.loads(text)["kind"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise corrupt(uri, f"its header cannot be used ({type(error).__name__}: {error})") from error
    if kind not in ("run", "abandoned"):
        raise newer(uri, f"an event of the kind {kind!r}")
    return kind


HeaderT = TypeVar("HeaderT", bound=BaseModel)


def _parse(kind: type[HeaderT], text: bytes, uri: str) -> HeaderT:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise invalid(uri, error, "its header cannot be used") from error


def _check_identity(found: str, event_id: str, uri: str) -> None:
    if found != check_event_id(event_id):
        raise corrupt(uri, f"it is the object of another event, {found!r}")


def _table(header: _TableHeader, blob: bytes, uri: str) -> StoredTable:
    if hashlib.sha256(blob).hexdigest() != header.sha256:
        raise corrupt(uri, f"the checksum of its table {header.name!r} does not fit")
    columns = dict(header.columns)
    if (
        header.schema_size > header.size
        or len(columns) != len(header.columns)
        or not columns.keys().isdisjoint(("event_id", "run_uid"))
    ):
        raise corrupt(uri, f"the header of its table {header.name!r} contradicts itself")
    return StoredTable(header.name, columns, header.rows, blob[: header.schema_size], blob[header.schema_size :])
