"""The requests of S3, through s3fs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any

from checkmaite_storage._remote import (
    Entry,
    Failure,
    Location,
    Page,
    PerProcess,
    Remedies,
    Verb,
    run_coroutine,
    secret_values,
    transfer_seconds,
)
from checkmaite_storage._s3_errors import explain
from checkmaite_storage._s3_options import REQUEST, sent_options
from checkmaite_storage._s3_write import LARGEST, TOKEN, create_object

if TYPE_CHECKING:
    from s3fs import S3FileSystem

__all__ = ["S3Client"]

_PUBLIC = {"endpoint_url", "region_name", "profile", "signature_version", "addressing_style", *REQUEST.accepted}
_PUBLIC -= {"SSECustomerKey", "SSECustomerKeyMD5", "SSEKMSEncryptionContext", "Metadata", "Tagging"}
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class S3Client:
    """One bucket; a :class:`Client`.

    Args:
        location: The bucket and prefix.
        options: Checked options of s3fs.
    """

    def __init__(self, location: Location, options: Mapping[str, Any]) -> None:
        self.location = location
        self.has_options = bool(options)
        self.remedies = _remedies(location)
        self._options = sent_options(options)
        self._own = PerProcess(self._make_own)
        self._reading = PerProcess(lambda: self._make(self._options))

    def __repr__(self) -> str:
        return f"S3Client({self.location.uri!r})"

    @property
    def largest(self) -> int:
        """5 GiB."""
        return LARGEST

    @property
    def secrets(self) -> frozenset[str]:
        """What the options and the environment hold, but for names and addresses."""
        environment = {name: os.environ.get(name, "") for name in _VARIABLES}
        return secret_values(self._options, _PUBLIC) | secret_values(environment)

    @property
    def filesystem(self) -> S3FileSystem:
        """Another filesystem than the one for whole objects, which does not retry."""
        return self._reading.get()

    def get(self, name: str, timeout: float) -> bytes:
        """One GET; its body may take :func:`transfer_seconds` more."""
        answer = self._call("get_object", timeout, Key=name)
        data: bytes = run_coroutine(
            self._own.get(), _read, answer["Body"], timeout=timeout + transfer_seconds(answer["ContentLength"])
        )
        return data

    def page(self, prefix: str, start: str | None, timeout: float) -> Page:
        """One ListObjectsV2."""
        more = {} if start is None else {"ContinuationToken": start}
        answer = self._call("list_objects_v2", timeout, Prefix=prefix, **more)
        entries = [
            Entry(item["Key"], item["Size"], item["LastModified"].astimezone(UTC))
            for item in answer.get("Contents", ())
        ]
        return Page(entries, answer.get("NextContinuationToken"))

    def create(self, name: str, data: bytes, token: str, timeout: float) -> None:
        """One conditional PutObject, whatever the size."""
        filesystem = self._own.get()
        metadata = {**self._options.get("s3_additional_kwargs", {}).get("Metadata", {}), TOKEN: token}
        run_coroutine(
            filesystem,
            create_object,
            filesystem,
            data,
            where={"Bucket": self.location.container, "Key": name},
            metadata=metadata,
            timeout=timeout,
        )

    def token(self, name: str, timeout: float) -> str | None:
        """One HEAD."""
        token: str | None = self._call("head_object", timeout, Key=name).get("Metadata", {}).get(TOKEN)
        return token

    def delete(self, name: str, timeout: float) -> None:
        """One DELETE."""
        self._call("delete_object", timeout, Key=name)

    def explain(self, error: Exception) -> Failure:
        """By S3's error codes and botocore's exceptions."""
        return explain(error)

    def _call(self, method: str, timeout: float, **arguments: Any) -> Any:
        filesystem = self._own.get()
        return run_coroutine(
            filesystem, filesystem._call_s3, method, Bucket=self.location.container, timeout=timeout, **arguments
        )

    def _make_own(self) -> S3FileSystem:
        from checkmaite_storage._s3_session import SingleAttemptSession

        config = {
            **(self._options.get("config_kwargs") or {}),
            "retries": {"total_max_attempts": 1},
            "http_session_cls": SingleAttemptSession,
        }
        filesystem = self._make({**self._options, "config_kwargs": config})
        filesystem.retries = 1
        return filesystem

    def _make(self, options: Mapping[str, Any]) -> S3FileSystem:
        from s3fs import S3FileSystem

        return S3FileSystem(**options, use_listings_cache=False, skip_instance_cache=True)


async def _read(body: Any) -> bytes:
    async with body as stream:
        data: bytes = await stream.read()
    return data


def _remedies(location: Location) -> Remedies:
    objects = f"arn:aws:s3:::{location.container}/{location.name_of('*')}"
    return Remedies(
        denied={
            Verb.READ: f"Allow s3:GetObject on {objects} (and s3:ListBucket on the bucket: without it S3 says "
            "'denied' also of an object that is absent).",
            Verb.LIST: f"Allow s3:ListBucket on arn:aws:s3:::{location.container}.",
            Verb.WRITE: f"Allow s3:PutObject on {objects}; a reader that may not write needs a store that exists.",
            Verb.DELETE: f"Allow s3:DeleteObject on {objects}; folding and vacuum need it, workers and readers do not.",
        },
        unauthenticated="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or pass "
        "storage_options={'profile': ...}; for a public bucket {'anon': True}. Check that they have not expired and "
        "that the clock is right: `aws sts get-caller-identity`.",
        absent_container=f"Check the name and the endpoint, or make it: `aws s3 mb s3://{location.container}`.",
        unreachable="Check the network, and AWS_ENDPOINT_URL or storage_options={'endpoint_url': ...}.",
    )
