"""One object to S3, on the condition that none is there.

Always in one request. Some servers that speak S3's protocol honour the condition on a put and ignore it at the end of a
multipart upload, so that two writers would both win; and what a probe of some bytes proves holds for such a put alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3fs import S3FileSystem

__all__ = ["LARGEST", "TOKEN", "UnconditionalError", "create_object"]

TOKEN = "checkmaite-token"  # noqa: S105 (the name of a header, not a secret)
LARGEST = 5 * 2**30
"""Bytes that S3 takes in one put."""


class UnconditionalError(Exception):
    """The installed botocore does not know the condition, and s3fs would leave it out without a word."""


async def create_object(
    filesystem: S3FileSystem, data: bytes, *, where: Mapping[str, str], metadata: Mapping[str, str]
) -> None:
    """Put ``data``; the server makes it visible whole, and only where nothing is.

    Args:
        filesystem: The one whose session sends the request.
        data: The object; not copied, but sent piece by piece, so that the event loop goes on.
        where: ``Bucket`` and ``Key``.
        metadata: The object's.
    """
    client = await filesystem.set_session()
    if "IfNoneMatch" not in client.meta.service_model.operation_model("PutObject").input_shape.members:
        raise UnconditionalError("PutObject")
    await filesystem._call_s3("put_object", Body=io.BytesIO(data), Metadata=metadata, IfNoneMatch="*", **where)
