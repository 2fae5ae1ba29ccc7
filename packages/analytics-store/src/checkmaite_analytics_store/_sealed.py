"""JSON documents that carry their own checksum, so that a flipped bit is never read as an answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from checkmaite_core.errors import CorruptObjectError

__all__ = ["corrupt", "seal", "unseal"]


def seal(kind: str, body: Mapping[str, Any]) -> bytes:
    """Encode a document: one line of JSON with its kind, its body and the SHA-256 of the body's own JSON."""
    text = _canonical(body)
    digest = hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()
    return f'{{"kind":"{kind}","sha256":"{digest}","body":{text}}}\n'.encode()


def unseal(kind: str, data: bytes, uri: str) -> dict[str, Any]:
    """Decode what :func:`seal` made.

    Raises:
        CorruptObjectError: Any byte differs from what was written, or it is a document of another kind.
    """
    try:
        document = json.loads(data)
        body = document["body"]
        # Encoding it again compares every byte, also those between the values.
        intact = isinstance(body, dict) and seal(kind, body) == data
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise corrupt(uri, f"it is not a {kind} document ({type(error).__name__}: {error})") from error
    if not intact:
        raise corrupt(uri, f"its checksum does not fit, or it is not a {kind} document")
    return dict(body)


def corrupt(uri: str, why: str) -> CorruptObjectError:
    """The error for an object whose bytes are not what a store writes."""
    return CorruptObjectError(
        f"{uri} is corrupt: {why}.",
        hint="Run store.verify() to see what else is damaged; restore the object from a copy, or run store.fold(), "
        "which sets a damaged result aside so that the rest can be asked again.",
        uri=uri,
    )


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
