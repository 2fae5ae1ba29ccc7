"""Putting an object where none is, in one request, whose condition a probe of some bytes proves."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
from typing import TYPE_CHECKING

from checkmaite_storage._gcs_http import ask

if TYPE_CHECKING:
    from gcsfs import GCSFileSystem

__all__ = ["LARGEST", "TOKEN", "upload"]

TOKEN = "checkmaite-token"  # noqa: S105 - the name of a metadata field
LARGEST = 5 * 2**30
"""Bytes; the service takes more, but what is sent is in memory twice."""
_CONDITION = {"ifGenerationMatch": "0"}


async def upload(filesystem: GCSFileSystem, objects: str, name: str, data: bytes, token: str, timeout: float) -> None:
    """Put ``data`` on the condition that no live object has the name.

    Args:
        filesystem: Through which requests go.
        objects: The bucket's path in the API.
        name: Of the object.
        data: Its content.
        token: Goes into the metadata.
        timeout: Seconds that one request may stand still.

    Raises:
        GcsResponseError: Status 412 where an object is there.
    """
    md5 = hashlib.md5(data, usedforsecurity=False).digest()
    resource = {"name": name, "metadata": {TOKEN: token}, "md5Hash": base64.b64encode(md5).decode()}
    url = f"{filesystem.base.removesuffix('/storage/v1/')}/upload/storage/v1/{objects}"
    # The boundary is drawn anew, so that no content can hold it; gcsfs takes a fixed one.
    boundary = secrets.token_hex(16)
    head = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(resource)}\r\n"
        f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    await ask(
        filesystem,
        "POST",
        url,
        timeout=timeout,
        params={"uploadType": "multipart", **_CONDITION},
        headers={"Content-Type": f"multipart/related; boundary={boundary}"},
        body=io.BytesIO(b"".join((head.encode(), data, f"\r\n--{boundary}--\r\n".encode()))),
    )
