"""The connector of S3 and of stores that speak its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkmaite_storage._remote import (
    RemoteObjectStore,
    import_connector_library,
    parse_location,
)
from checkmaite_storage._s3_client import S3Client
from checkmaite_storage._s3_options import CREDENTIALS, check_s3_options

__all__ = ["s3_connector"]

_SCHEMES = ("s3", "s3a")


def s3_connector(uri: str, storage_options: Mapping[str, Any]) -> RemoteObjectStore:
    """Open a bucket, or a prefix in one, as an object store: the connector of ``s3://`` and ``s3a://`` URIs.

    Args:
        uri: ``s3://bucket/prefix``.
        storage_options: Those of s3fs that change a request (``anon``, ``key``, ``secret``, ``token``, ``profile``,
            ``endpoint_url``, ``requester_pays``, ``client_kwargs``, ``config_kwargs``, ``s3_additional_kwargs``); what
            would change none is refused. Nothing is retried by the library: the store does it.

    Raises:
        PluginNotFoundError: s3fs is not installed.
        UnknownOptionError: An option that would not take effect.
        ConfigurationError: The URI or the endpoint holds credentials, or is of another form.
    """
    location = parse_location(uri, _SCHEMES, scheme="s3", credentials=CREDENTIALS)
    import_connector_library("s3fs", "s3")
    options = dict(storage_options)
    check_s3_options(options)
    return RemoteObjectStore(S3Client(location, options))
