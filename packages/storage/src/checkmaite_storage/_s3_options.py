"""What ``storage_options`` of S3 do; nothing is accepted that would change no request."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from checkmaite_core.errors import ConfigurationError
from checkmaite_storage._remote import OptionTable, check_option_names

__all__ = ["CLIENT", "CREDENTIALS", "REQUEST", "S3", "check_s3_options", "sent_options"]

CREDENTIALS = (
    "Give credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage_options={'profile': ...} or "
    "{'key': ..., 'secret': ...}."
)
_RANGES = "Leave it out: whole objects are read, or the ranges that a query needs."
_PARTS = "Leave it out: each object goes up in one request."

S3 = OptionTable(
    accepted={
        "anon": "sends requests without a signature",
        "key": "the access key's id",
        "secret": "the secret key",
        "token": "the session token of temporary credentials",
        "profile": "a profile of the AWS configuration",
        "endpoint_url": "another server than AWS",
        "requester_pays": "says on every request that we pay",
        "client_kwargs": "of the client",
        "config_kwargs": "of botocore's Config",
        "s3_additional_kwargs": "parameters of each request that has them",
    },
    refused={
        "username": "It is called 'key'.",
        "password": "It is called 'secret'.",
        "use_ssl": "Say it by the endpoint: endpoint_url='http://...' or 'https://...'.",
        "cache_regions": "Name the bucket's region: client_kwargs={'region_name': ...}, or AWS_REGION.",
        "default_block_size": _RANGES,
        "default_fill_cache": _RANGES,
        "default_cache_type": _RANGES,
        "version_aware": "Leave it out: objects of a store never change.",
        "max_concurrency": _PARTS,
        "fixed_upload_size": _PARTS,
        "local_expiry_check": "Leave it out: credentials are looked up anew when they have expired.",
    },
    ways=(frozenset({"anon"}), frozenset({"key", "secret", "token"}), frozenset({"profile"})),
)
CLIENT = OptionTable(
    accepted={
        "region_name": "the region that requests are signed for",
        "verify": "the certificates that are trusted, or False",
        "endpoint_url": "as beside client_kwargs",
        "aws_access_key_id": "as key",
        "aws_secret_access_key": "as secret",
        "aws_session_token": "as token",
    },
    refused={
        "use_ssl": S3.refused["use_ssl"],
        "api_version": "Leave it out: S3 has one.",
        "aws_account_id": "Leave it out: addresses of S3 do not hold it.",
    },
)
_WRITING = (
    *("ACL", "BucketKeyEnabled", "CacheControl", "ChecksumAlgorithm", "ContentDisposition", "ContentEncoding"),
    *("ContentLanguage", "ContentType", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWriteACP", "Metadata"),
    *("ObjectLockLegalHoldStatus", "ObjectLockMode", "ObjectLockRetainUntilDate", "SSEKMSEncryptionContext"),
    *("SSEKMSKeyId", "ServerSideEncryption", "StorageClass", "Tagging"),
)
_OBJECTS = ["SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5"]
_ALL = ["ExpectedBucketOwner", "RequestPayer"]
REQUEST = OptionTable(
    accepted={
        **dict.fromkeys(_WRITING, "sent when an object is put"),
        **dict.fromkeys(_OBJECTS, "sent when an object is put or read"),
        **dict.fromkeys(_ALL, "sent with every request"),
    },
    refused={
        **dict.fromkeys(
            ("Bucket", "Key", "Prefix", "Body", "IfNoneMatch", "IfMatch", "UploadId", "PartNumber", "MultipartUpload"),
            "Leave it out: the store says it.",
        ),
        "VersionId": "Leave it out: objects of a store never change.",
    },
)
_OF_S3 = (
    *("addressing_style", "payload_signing_enabled", "use_accelerate_endpoint", "use_dualstack_endpoint"),
    *("us_east_1_regional_endpoint", "use_arn_region"),
)
_TWICE = {"endpoint_url": "endpoint_url", "key": "aws_access_key_id", "secret": "aws_secret_access_key"}
_TWICE["token"] = "aws_session_token"  # noqa: S105 - a name


def check_s3_options(options: Mapping[str, Any]) -> None:
    """Refuse what would not take effect.

    Raises:
        UnknownOptionError: It names the option.
        ConfigurationError: A value cannot be meant, or holds credentials in the wrong place.
    """
    S3.check(options)
    below = {name: _mapping(options, name) for name in ("client_kwargs", "config_kwargs", "s3_additional_kwargs")}
    client, config = below["client_kwargs"], below["config_kwargs"]
    CLIENT.check(client, "storage_options['client_kwargs']")
    REQUEST.check(below["s3_additional_kwargs"], "storage_options['s3_additional_kwargs']")
    _check_config(config)
    for name, other in _TWICE.items():
        if options.get(name) is not None and client.get(other) is not None:
            raise ConfigurationError(
                f"storage_options has {name!r}, and client_kwargs has {other!r}.", hint="Leave one of them out."
            )
    for holder in (options, client):
        endpoint = holder.get("endpoint_url")
        if isinstance(endpoint, str) and any(mark in endpoint for mark in "@?#"):
            raise ConfigurationError(
                "endpoint_url holds credentials or a query (not shown).",
                hint=f"Write https://host:port. {CREDENTIALS}",
            )


def sent_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as s3fs sends them with every request, whatever its version.

    Some versions send ``requester_pays`` with reads alone; parameters of requests they all send.
    """
    sent = dict(options)
    if options.get("requester_pays"):
        sent["s3_additional_kwargs"] = {**_mapping(options, "s3_additional_kwargs"), "RequestPayer": "requester"}
    return sent


def _check_config(config: Mapping[str, Any]) -> None:
    from aiobotocore.config import AioConfig

    where = "storage_options['config_kwargs']"
    if "retries" in config:
        raise ConfigurationError(
            f"{where} sets 'retries', which the store does itself: a put that the library repeats in silence would "
            "meet its own object and be taken for a lost race.",
            hint="Leave 'retries' out.",
        )
    # All of them are botocore's, which applies them to the one client that sends every request.
    known = {*AioConfig.OPTION_DEFAULTS, *inspect.signature(AioConfig.__init__).parameters}
    check_option_names(config, known - {"self", "kwargs", "http_session_cls", "retries"}, where)
    check_option_names(_mapping(config, "s3"), _OF_S3, f"{where}['s3']")


def _mapping(options: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = options.get(name) or {}
    if isinstance(value, Mapping):
        return value
    raise ConfigurationError(
        f"storage_options[{name!r}] is a {type(value).__qualname__}.", hint="Pass a dict, as s3fs takes it."
    )
