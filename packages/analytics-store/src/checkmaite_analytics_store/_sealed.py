"""JSON documents that carry their own checksum, so that a flipped bit is never read as an answer.

What another version wrote is told from damage: where the checksum fits, an unknown kind, version or value is one that
somebody meant to write. It raises, so that this version leaves alone what it cannot understand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from checkmaite_core.errors import CorruptObjectError, StoreFormatError

__all__ = ["check_format", "corrupt", "invalid", "kind_of", "newer", "seal", "unknown_version", "unseal"]

_KINDS = frozenset({"store", "manifest", "stub", "column"})
_OF_ANOTHER_VERSION = frozenset({"enum", "literal_error", "union_tag_invalid"})
"""Pydantic's names for a value that is none of those that this version knows."""


def seal(kind: str, body: Mapping[str, Any]) -> bytes:
    """Encode a document: one line of JSON with its kind, its body and the SHA-256 of the body's own JSON."""
    text = _canonical(body)
    digest = hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()
    return f'{{"kind":"{kind}","sha256":"{digest}","body":{text}}}\n'.encode()


def unseal(kind: str, data: bytes, uri: str) -> dict[str, Any]:
    """Decode what :func:`seal` made.

    Raises:
        CorruptObjectError: Any byte differs from what was written, or it is a document of another kind.
        StoreFormatError: It is whole, and of a kind that this version does not know.
    """
    found, body = _open(data, kind, uri)
    if found in _KINDS and found != kind:
        raise corrupt(uri, f"it is a {found} document, not a {kind} document")
    if found != kind:
        raise newer(uri, f"a document of the kind {found!r}")
    return body


def kind_of(data: bytes, uri: str) -> str:
    """The kind of a sealed document.

    Raises:
        CorruptObjectError: Any byte differs from what was written.
    """
    return _open(data, "sealed", uri)[0]


def check_format(body: Mapping[str, Any], uri: str, supported: int, *, default: object = None) -> None:
    """Refuse a document whose ``format`` is not the one that this version reads.

    Raises:
        StoreFormatError: It is another one.
    """
    found = body.get("format", default)
    if found != supported or isinstance(found, bool):
        raise unknown_version(uri, found, supported)


def unknown_version(uri: str, found: object, supported: int) -> StoreFormatError:
    """The error for an object of another format."""
    return StoreFormatError(
        f"{uri} has format {found!r}; this version of checkmaite-analytics-store reads format {supported}.",
        hint="Upgrade: pip install --upgrade checkmaite-analytics-store",
    )


def newer(uri: str, what: str) -> StoreFormatError:
    """The error for an object that is whole, and says something that this version does not know."""
    return StoreFormatError(
        f"{uri} holds {what}, which this version of checkmaite-analytics-store (format 1) does not know; a newer one "
        "wrote it.",
        hint="Upgrade: pip install --upgrade checkmaite-analytics-store",
    )


def invalid(uri: str, error: ValidationError, what: str = "") -> CorruptObjectError | StoreFormatError:
    """The error for a document whose checksum fits and whose fields do not."""
    for one in error.errors():
        if one["type"] in _OF_ANOTHER_VERSION:
            return newer(uri, f"{'.'.join(map(str, one['loc']))} {one.get('input')!r}")
    first = error.errors()[0]
    text = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return corrupt(uri, f"{what} ({text})" if what else text)


def corrupt(uri: str, why: str) -> CorruptObjectError:
    """The error for an object whose bytes are not what a store writes."""
    return CorruptObjectError(
        f"{uri} is corrupt: {why}.",
        hint="Run store.verify() to see what else is damaged; restore the object from a copy, or run store.fold(), "
        "which sets a damaged result aside so that the rest can be asked again.",
        uri=uri,
    )


def _open(data: bytes, kind: str, uri: str) -> tuple[str, dict[str, Any]]:
    try:
        document = json.loads(data)
        found, body = document["kind"], document["body"]
        # Encoding it again compares every byte, also those between the values. What stands beside the three fields
        # is a newer version's.
        rest = {name: value for name, value in document.items() if name not in ("kind", "sha256", "body")}
        whole = seal(found, body) if isinstance(body, dict) and isinstance(found, str) else b""
        if rest:
            whole = whole[:-2] + b"," + _canonical(rest).encode()[1:] + b"\n"
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise corrupt(uri, f"it is not a {kind} document ({type(error).__name__}: {error})") from error
    if whole != data:
        raise corrupt(uri, f"its checksum does not fit, or it is not a {kind} document")
    return found, dict(body)


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
