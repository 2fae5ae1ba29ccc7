"""The connector of Google Cloud Storage: its URIs, options and remedies."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from checkmaite_core.errors import ConfigurationError
from checkmaite_storage._gcs_client import GcsClient
from checkmaite_storage._gcs_unsafe import UnconditionalGcsClient
from checkmaite_storage._remote import (
    OptionTable,
    Remedies,
    RemoteObjectStore,
    Verb,
    import_connector_library,
    parse_location,
    secret_values,
)

__all__ = ["GCS", "gcs_connector"]

_SCHEMES = ("gs", "gcs")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]\Z")
_CREDENTIALS = "Credentials go into storage_options['token'] or GOOGLE_APPLICATION_CREDENTIALS."
_UNSAFE = "unsafe_allow_unconditional_put_for_tests"
_KEYWORDS = ("google_default", "cloud", "cache", "browser", "anon")
_OWN_LIMITS = "Leave it out: the store limits the time of each request itself, and says how long it has tried."
GCS = OptionTable(
    accepted={
        "token": "the credentials",
        "project": "who pays, where requester_pays is True",
        "access": "what the credentials are asked for: full_control, read_write or read_only",
        "requester_pays": "says on every request that we pay: True, or the project that does",
        "endpoint_url": "another server than Google's",
        "session_kwargs": "of aiohttp.ClientSession",
        _UNSAFE: "makes do with an emulator",
    },
    refused={
        "block_size": "Leave it out: whole objects are read, or the ranges that a query needs.",
        "consistency": "Leave it out: what is put and read is always compared with its MD5.",
        "cache_timeout": "Leave it out: listings are never cached.",
        "requests_timeout": _OWN_LIMITS,
        "timeout": _OWN_LIMITS,
        "default_location": "Leave it out: no bucket is made.",
        "version_aware": "Leave it out: objects of a store never change.",
        "check_connection": "Leave it out: `checkmaite preflight` looks.",
        "secure_serialize": "Leave it out: a store with options is never pickled.",
    },
)
_PUBLIC = GCS.accepted.keys() - {"token", "session_kwargs"}


def gcs_connector(uri: str, storage_options: Mapping[str, Any]) -> RemoteObjectStore:
    """Open a bucket of Google Cloud Storage: the connector of ``gs://`` and ``gcs://``.

    Args:
        uri: ``gs://bucket/prefix``.
        storage_options: Those of ``gcsfs.GCSFileSystem``, such as ``token`` (``"google_default"``, which is what is
            used when it is left out, ``"anon"``, ``"cloud"``, a credentials file's path, its content as a dict, an
            access token or a credentials object), ``project``, ``endpoint_url`` or ``requester_pays``. Anonymous
            access has to be asked for: without credentials the connector does not fall back to it.

            And one of our own, for tests only: ``unsafe_allow_unconditional_put_for_tests=True`` makes do with a
            server that ignores ``ifGenerationMatch=0``, as emulators do, by looking before each put. **Two writers of
            one key can then both win, and the later one replaces the object.** It is accepted only together with an
            ``endpoint_url`` that is not Google's.

    Raises:
        PluginNotFoundError: gcsfs is not installed.
        UnknownOptionError: An option that would not take effect.
        ConfigurationError: The URI holds credentials or is of another form, or an option cannot be meant.
    """
    location = parse_location(uri, _SCHEMES, scheme="gs", credentials=_CREDENTIALS)
    if not _BUCKET.match(location.container):
        raise ConfigurationError(
            f"{location.container!r} cannot be the name of a bucket.",
            hint="It has 3 or more lower-case letters, digits, '-', '_' and '.', and a letter or digit at both ends.",
        )
    GCS.check(storage_options)
    import_connector_library("gcsfs", "gcs")
    options = dict(storage_options)
    unsafe = options.pop(_UNSAFE, False)
    _check_endpoint(options, unsafe)
    options["token"] = _token(options.get("token"))
    client = UnconditionalGcsClient if unsafe else GcsClient
    return RemoteObjectStore(
        client(
            location=location,
            options=options,
            has_options=bool(storage_options),
            remedies=_remedies(location.container),
            secrets=_secrets(storage_options),
        )
    )


def _check_endpoint(options: Mapping[str, Any], unsafe: object) -> None:
    endpoint = options.get("endpoint_url")
    parts = urlsplit(endpoint) if isinstance(endpoint, str) else None
    if parts is not None and ("@" in parts.netloc or parts.query or parts.fragment):
        raise ConfigurationError(
            "endpoint_url holds credentials, a query or a fragment (not shown).",
            hint=f"Write https://host:port. {_CREDENTIALS}",
        )
    if unsafe is False:
        return
    host = (parts.hostname if parts else None) or ""
    if unsafe is not True or not host or f".{host}".endswith((".googleapis.com", ".google.com", ".goog")):
        raise ConfigurationError(
            f"{_UNSAFE} is for tests against an emulator: it loses races, so results would be overwritten unnoticed.",
            hint="Leave it out, or set it to True together with the emulator's endpoint_url.",
        )


def _token(given: Any) -> Any:
    """What gcsfs is to take as ``token``, so that it neither guesses nor asks the network what a text means."""
    if given is None:
        return "google_default"
    if not isinstance(given, str) or given in _KEYWORDS or os.path.exists(given):
        return given
    if "/" in given or given.endswith(".json"):
        raise ConfigurationError(
            "storage_options['token'] is the path of a file that does not exist (not shown).",
            hint="Check the path, or use 'google_default' after `gcloud auth application-default login`.",
        )
    from google.oauth2.credentials import Credentials

    return Credentials(given)  # type: ignore[no-untyped-call]


def _secrets(options: Mapping[str, Any]) -> frozenset[str]:
    token = options.get("token")
    hidden = {name: value for name, value in options.items() if not (name == "token" and token in _KEYWORDS)}
    return secret_values(hidden, _PUBLIC)


def _remedies(bucket: str) -> Remedies:
    return Remedies(
        denied={
            Verb.READ: "Reading needs storage.objects.get, as in the role roles/storage.objectViewer.",
            Verb.LIST: "Listing needs storage.objects.list, as in the role roles/storage.objectViewer.",
            Verb.WRITE: "Writing needs storage.objects.create, as in roles/storage.objectCreator, and .get and .list.",
            Verb.DELETE: "Deleting needs storage.objects.delete, as in roles/storage.objectUser; jobs that only write "
            "results do without it.",
        },
        unauthenticated="Run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS to a key "
        "file, or pass storage_options={'token': ...}; 'anon' reads public buckets.",
        absent_container=f"Check the name, or make it: gcloud storage buckets create gs://{bucket}.",
        unreachable="Check the network, the proxy, and endpoint_url or STORAGE_EMULATOR_HOST if one is set.",
    )
