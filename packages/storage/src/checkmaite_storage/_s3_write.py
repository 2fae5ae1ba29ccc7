"""One object to S3, on the condition that none is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s3fs import S3FileSystem

__all__ = ["TOKEN", "UnconditionalError", "create_object"]

TOKEN = "checkmaite-token"  # noqa: S105 (the name of a header, not a secret)
_AT_ONCE = 4
_ABORT_SECONDS = 5.0


class UnconditionalError(Exception):
    """The installed botocore does not know the condition, and s3fs would leave it out without a word."""


async def create_object(
    filesystem: S3FileSystem,
    data: bytes,
    *,
    part_size: int,
    where: Mapping[str, str],
    metadata: Mapping[str, str],
) -> None:
    """Put ``data``; the server makes it visible whole, and only where nothing is.

    Args:
        filesystem: The one whose session sends the requests.
        data: The object.
        part_size: Bytes of a part; two parts and less go up in one request.
        where: ``Bucket`` and ``Key``.
        metadata: The object's.
    """
    await _check_condition(filesystem)
    if len(data) <= 2 * part_size:
        await filesystem._call_s3("put_object", Body=data, Metadata=metadata, IfNoneMatch="*", **where)
        return
    begun = await filesystem._call_s3("create_multipart_upload", Metadata=metadata, **where)
    upload = {**where, "UploadId": begun["UploadId"]}
    try:
        parts = await _parts(filesystem, memoryview(data), part_size, upload)
        await filesystem._call_s3(
            "complete_multipart_upload", MultipartUpload={"Parts": parts}, IfNoneMatch="*", **upload
        )
    except BaseException:  # also when cancelled by the deadline
        # Parts of an upload that is not completed are never visible, but cost money until it is aborted. Where that
        # fails too, the bucket's lifecycle rule takes them; the first error is the one to report.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(filesystem._call_s3("abort_multipart_upload", **upload), _ABORT_SECONDS)
        raise


async def _check_condition(filesystem: S3FileSystem) -> None:
    client = await filesystem.set_session()
    for operation in ("PutObject", "CompleteMultipartUpload"):
        if "IfNoneMatch" not in client.meta.service_model.operation_model(operation).input_shape.members:
            raise UnconditionalError(operation)


async def _parts(
    filesystem: S3FileSystem, data: memoryview, part_size: int, upload: Mapping[str, str]
) -> Sequence[Mapping[str, Any]]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def send(number: int, start: int) -> Mapping[str, Any]:
        async with gate:
            body = bytes(data[start : start + part_size])
            answer = await filesystem._call_s3("upload_part", PartNumber=number, Body=body, **upload)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(n, start)) for n, start in enumerate(range(0, len(data), part_size), 1)]
    return [task.result() for task in tasks]
