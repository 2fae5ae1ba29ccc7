"""Putting an object where none is: in one request, or as a resumable upload."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from checkmaite_storage._gcs_http import GcsResponseError, ask

if TYPE_CHECKING:
    from gcsfs import GCSFileSystem

__all__ = ["TOKEN", "upload"]

TOKEN = "checkmaite-token"  # noqa: S105 - the name of a metadata field
_SINGLE_PUT = 16 * 2**20
_CHUNK = 16 * 2**20  # a multiple of 256 KiB, as the service asks
_CONDITION = {"ifGenerationMatch": "0"}
_ABORT_SECONDS = 5.0


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
    if len(data) > _SINGLE_PUT:
        await _resumable(filesystem, url, resource, data, timeout)
        return
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


async def _resumable(
    filesystem: GCSFileSystem, url: str, resource: Mapping[str, object], data: bytes, timeout: float
) -> None:
    answer = await ask(
        filesystem,
        "POST",
        url,
        timeout=timeout,
        params={"uploadType": "resumable", **_CONDITION},
        headers={"Content-Type": "application/json", "X-Upload-Content-Type": "application/octet-stream"},
        body=json.dumps(resource).encode(),
    )
    session = answer.headers.get("Location", "")
    if not session.startswith(url.partition("/upload/")[0] + "/"):
        raise GcsResponseError(
            answer.status, "", "the upload is to go on at another address, which gets no credentials"
        )
    try:
        await _send_chunks(filesystem, session, data, timeout)
    except GcsResponseError as error:
        if error.status != 412:
            with contextlib.suppress(Exception):  # nothing of it is visible, and the service forgets it in a week
                await ask(filesystem, "DELETE", session, timeout=_ABORT_SECONDS)
        if error.status in (404, 410):
            raise GcsResponseError(503, error.reason, f"the upload was forgotten: {error.message}") from None
        raise


async def _send_chunks(filesystem: GCSFileSystem, session: str, data: bytes, timeout: float) -> None:
    view = memoryview(data)
    start = 0
    while True:
        end = min(start + _CHUNK, len(data))
        answer = await ask(
            filesystem,
            "PUT",
            session,
            timeout=timeout,
            headers={"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"},
            body=io.BytesIO(view[start:end]),
            accepted=(200, 201, 308),
        )
        if answer.status != 308:
            return
        _, _, last = answer.headers.get("Range", "").rpartition("-")
        kept = int(last) + 1 if last.isdigit() else 0
        if not start < kept < len(data):
            raise GcsResponseError(503, "", f"the upload stands still at {kept} of {len(data)} bytes")
        start = kept
