"""The connector of S3 and of stores that speak its protocol."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from checkmaite_core.errors import ConfigurationError
from checkmaite_storage._remote import (
    RemoteObjectStore,
    check_option_names,
    import_connector_library,
    parse_location,
)
from checkmaite_storage._s3_client import S3Client

__all__ = ["s3_connector"]

_SCHEMES = ("s3", "s3a")
_CREDENTIALS = (
    "Give credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage_options={'profile': ...} or "
    "{'key': ..., 'secret': ...}."
)
# What the connector decides itself: its own event loop, nothing cached, nothing shared.
_RESERVED = {"self", "kwargs", "asynchronous", "loop", "session"}


def s3_connector(uri: str, storage_options: Mapping[str, Any]) -> RemoteObjectStore:
    """Open a bucket, or a prefix in one, as an object store: the connector of ``s3://`` and ``s3a://`` URIs.

    Args:
        uri: ``s3://bucket/prefix``.
        storage_options: Those of s3fs (``anon``, ``key``, ``secret``, ``token``, ``profile``, ``endpoint_url``,
            ``client_kwargs``, ``config_kwargs``, ...). Nothing is retried by the library: the store does it.

    Raises:
        PluginNotFoundError: s3fs is not installed.
        UnknownOptionError: An option that s3fs does not have.
        ConfigurationError: The URI or the endpoint holds credentials, or is of another form.
    """
    location = parse_location(uri, _SCHEMES, scheme="s3", credentials=_CREDENTIALS)
    import_connector_library("s3fs", "s3")
    options = dict(storage_options)
    _check_options(options)
    return RemoteObjectStore(S3Client(location, options))


def _check_options(options: Mapping[str, Any]) -> None:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession
    from s3fs import S3FileSystem

    known = {*inspect.signature(S3FileSystem.__init__).parameters, "profile"} - _RESERVED
    check_option_names(options, known)
    client = {*inspect.signature(AioSession._create_client).parameters} - {"self", "service_name", "config"}
    config = {*AioConfig.OPTION_DEFAULTS, *inspect.signature(AioConfig.__init__).parameters}
    config -= {"self", "kwargs", "http_session_cls"}
    for name, below in (("client_kwargs", client), ("config_kwargs", config)):
        value = options.get(name) or {}
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"storage_options[{name!r}] is a {type(value).__qualname__}.", hint="Pass a dict, as s3fs takes it."
            )
        check_option_names(value, below, f"storage_options[{name!r}]")
    if "retries" in (options.get("config_kwargs") or {}):
        raise ConfigurationError(
            "storage_options['config_kwargs'] sets 'retries', which the store does itself: a put that the library "
            "repeats in silence would meet its own object and be taken for a lost race.",
            hint="Leave 'retries' out.",
        )
    for holder in (options, options.get("client_kwargs") or {}):
        endpoint = holder.get("endpoint_url")
        if isinstance(endpoint, str) and any(mark in endpoint for mark in "@?#"):
            raise ConfigurationError(
                "endpoint_url holds credentials or a query (not shown).",
                hint=f"Write https://host:port. {_CREDENTIALS}",
            )
