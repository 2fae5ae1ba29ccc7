"""The connector of Azure Blob Storage: its URIs, options and remedies."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

from checkmaite_core.errors import ConfigurationError
from checkmaite_storage._azure_client import AzureClient
from checkmaite_storage._remote import (
    Location,
    OptionTable,
    Remedies,
    RemoteObjectStore,
    Verb,
    import_connector_library,
    parse_location,
    secret_values,
)

__all__ = ["AZURE", "AzureLocation", "azure_connector"]

_SCHEMES = ("az", "abfs", "abfss")
_HOST = re.compile(
    r"(?P<account>[a-z0-9]{3,24})\.(?:dfs|blob)\."
    r"(?P<cloud>core\.windows\.net|core\.chinacloudapi\.cn|core\.usgovcloudapi\.net)\Z"
)
_CREDENTIALS = "Credentials go into storage_options (account_key, sas_token, ...) or AZURE_STORAGE_* variables."

_OWN_LIMITS = "Leave it out: the store limits the time of each request itself, and says how long it has tried."
_RANGES = "Leave it out: whole objects are read, or the ranges that a query needs."
# adlfs hands what it does not know to DefaultAzureCredential, which ignores what it does not know either.
_DEFAULT_CREDENTIAL = frozenset(
    {
        "authority",
        "managed_identity_client_id",
        "workload_identity_client_id",
        "workload_identity_tenant_id",
        "shared_cache_username",
        "shared_cache_tenant_id",
        "process_timeout",
        *(
            f"exclude_{which}_credential"
            for which in (
                "environment",
                "workload_identity",
                "managed_identity",
                "shared_token_cache",
                "visual_studio_code",
                "cli",
                "developer_cli",
                "powershell",
            )
        ),
    }
)
AZURE = OptionTable(
    accepted={
        "account_name": "the storage account",
        "account_host": "the account's host in another cloud than Azure's own",
        "account_key": "the account's key, which signs each request",
        "sas_token": "a shared access signature, which is sent with each request",
        "connection_string": "account, host and credentials in one",
        "credential": "a credentials object",
        "client_id": "a service principal",
        "client_secret": "its secret",
        "tenant_id": "its tenant",
        "anon": "sends requests without credentials",
        **dict.fromkeys(sorted(_DEFAULT_CREDENTIAL), "of DefaultAzureCredential, where nothing else is given"),
    },
    refused={
        "location_mode": "Leave it out: a secondary copy lags behind, so that results would be missing from it.",
        "blocksize": _RANGES,
        "default_fill_cache": _RANGES,
        "default_cache_type": _RANGES,
        "version_aware": "Leave it out: objects of a store never change.",
        "assume_container_exists": "Leave it out: no container is looked for or made.",
        "max_concurrency": "Leave it out: large objects are read in four parts at a time.",
        "timeout": _OWN_LIMITS,
        "connection_timeout": _OWN_LIMITS,
        "read_timeout": _OWN_LIMITS,
        "socket_timeout": _OWN_LIMITS,
        "request_session": "Leave it out: adlfs does not use it.",
    },
    ways=(
        frozenset({"connection_string"}),
        frozenset({"account_key"}),
        frozenset({"sas_token"}),
        frozenset({"credential"}),
        frozenset({"anon"}),
        frozenset({"client_id", "client_secret", "tenant_id"}),
        _DEFAULT_CREDENTIAL,
    ),
)
_PUBLIC = AZURE.accepted.keys() - {"account_key", "connection_string", "credential", "sas_token", "client_secret"}
_VARIABLES = {
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
    "connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    "sas_token": "AZURE_STORAGE_SAS_TOKEN",
    "client_secret": "AZURE_STORAGE_CLIENT_SECRET",
}
_STRONG = (_VARIABLES["connection_string"], _VARIABLES["account_key"], _VARIABLES["sas_token"])
_BEATEN_BY: Mapping[frozenset[str], tuple[str, ...]] = {
    frozenset({"account_key", "credential"}): _STRONG[:1],
    frozenset({"sas_token"}): _STRONG[:2],
    frozenset({"client_id", "client_secret", "tenant_id"}): _STRONG,
    frozenset({"anon"}) | _DEFAULT_CREDENTIAL: (*_STRONG, "AZURE_STORAGE_CLIENT_ID"),
}


@dataclass(frozen=True, slots=True)
class AzureLocation(Location):
    """A container, with its account's host where the URI names one.

    Attributes:
        host: Such as ``account.dfs.core.windows.net``; empty where options or variables name the account.
    """

    host: str = ""

    @property
    def container_uri(self) -> str:
        """The container alone."""
        return f"{self.scheme}://{self.container}{'@' if self.host else ''}{self.host}"


def azure_connector(uri: str, storage_options: Mapping[str, Any]) -> RemoteObjectStore:
    """Open a container of Azure Blob Storage: the connector of ``az://``, ``abfs://`` and ``abfss://``.

    Args:
        uri: ``az://container/prefix``, or ``abfs://container@account.dfs.core.windows.net/prefix``.
        storage_options: Those of ``adlfs.AzureBlobFileSystem``, such as ``account_name`` and ``account_key``,
            ``sas_token``, ``connection_string``, ``credential`` or ``anon``; also what ``DefaultAzureCredential``
            takes, such as ``exclude_cli_credential``. What is not given comes from the ``AZURE_STORAGE_*`` variables.

    Raises:
        PluginNotFoundError: adlfs is not installed.
        UnknownOptionError: An option that would not take effect.
        ConfigurationError: The URI holds credentials or is of another form, or no account is named, or two.
    """
    location = _location(uri)
    AZURE.check(storage_options)
    _check_variables(storage_options)
    import_connector_library("adlfs", "azure")
    options = {**storage_options, **_account(location, storage_options)}
    return RemoteObjectStore(
        AzureClient(
            location=location,
            options=options,
            has_options=bool(storage_options),
            account=_host_account(location),
            remedies=_remedies(location.container),
            secrets=partial(_secrets, dict(storage_options)),
        )
    )


def _location(uri: str) -> AzureLocation:
    scheme, _, rest = uri.partition("://")
    scheme = scheme.lower() if scheme.lower() in _SCHEMES else "az"
    authority, slash, path = rest.partition("/")
    container, at, host = authority.partition("@")
    if at and (":" in container or not _HOST.match(host.lower())):
        raise ConfigurationError(
            f"the {scheme} URI holds an '@' that is not followed by the host of a storage account (not shown).",
            hint=f"Write {scheme}://container@account.dfs.core.windows.net/prefix, or az://container/prefix and name "
            f"the account in storage_options. {_CREDENTIALS}",
        )
    plain = f"{uri.partition('://')[0]}://{container}{slash}{path}" if at else uri
    found = parse_location(plain, _SCHEMES, scheme=scheme, credentials=_CREDENTIALS)
    if not re.fullmatch(r"\$root|\$web|[a-z0-9](?:-?[a-z0-9]){2,62}", found.container):
        raise ConfigurationError(
            f"{found.container!r} cannot be the name of a container.",
            hint="It has 3 to 63 lower-case letters and digits, with single hyphens between them.",
        )
    # In one spelling, as checkmaite_core.location has it: the scheme says nothing, and both hosts lead to one account.
    host = host.lower().replace(".blob.", ".dfs.", 1)
    return AzureLocation("abfss" if host else "az", found.container, found.prefix, host)


def _host_account(location: AzureLocation) -> str | None:
    host = _HOST.match(location.host)
    return host["account"] if host else None


def _account(location: AzureLocation, options: Mapping[str, Any]) -> dict[str, str]:
    """What the URI's host adds to the options; refuses an account that is missing or named twice."""
    host = _HOST.match(location.host)
    named = options.get("account_name")
    if host is None:
        variables = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING")
        if not (named or options.get("connection_string") or any(map(os.environ.get, variables))):
            raise ConfigurationError(
                f"{location.uri} does not say in which storage account the container lies.",
                hint="Pass storage_options={'account_name': ...}, set AZURE_STORAGE_ACCOUNT_NAME, or write "
                f"abfs://{location.container}@ACCOUNT.dfs.core.windows.net/...",
            )
        return {}
    if named and named != host["account"]:
        raise ConfigurationError(
            f"{location.uri} names the account {host['account']!r}, and storage_options['account_name'] {named!r}.",
            hint="Leave account_name out.",
        )
    added = {"account_name": host["account"]}
    if host["cloud"] != "core.windows.net" and "account_host" not in options:
        added["account_host"] = f"{host['account']}.blob.{host['cloud']}"
    return added


def _check_variables(options: Mapping[str, Any]) -> None:
    """Refuse variables that adlfs would prefer to what the options say, so that it never asks as somebody else."""
    given = {name for name, value in options.items() if value not in (None, False, "")}
    stronger: tuple[str, ...] = ()
    for names, variables in _BEATEN_BY.items():
        if given & names:
            stronger = variables
    found = next((variable for variable in stronger if os.environ.get(variable)), None)
    if found is not None:
        named = sorted(given & (AZURE.accepted.keys() - {"account_name", "account_host"}))[0]
        raise ConfigurationError(
            f"storage_options has {named!r}, but the variable {found} is set, which adlfs would use instead.",
            hint=f"Unset {found} in this process (on workers: in their image or runtime_env), or leave {named!r} out.",
        )


def _secrets(options: Mapping[str, Any]) -> frozenset[str]:
    """Secret values of the options and variables, also the parts that a message may quote alone."""
    given = {name: options.get(name) or os.environ.get(variable) for name, variable in _VARIABLES.items()}
    found = {*secret_values({**options, **given}, _PUBLIC)}
    for text in tuple(found):
        parts = dict(part.partition("=")[::2] for part in text.split(";"))
        key, signed = parts.get("AccountKey", ""), parts.get("SharedAccessSignature", text)
        signature = dict(parse_qsl(signed.lstrip("?"))).get("sig", "")
        raw = re.search(r"(?:^|[?&])sig=([^&]+)", signed)
        found |= {key, signature, raw[1] if raw else "", unquote(text)}
    return frozenset(secret for secret in found if len(secret) >= 4)


def _remedies(container: str) -> Remedies:
    return Remedies(
        denied={
            Verb.READ: "Reading needs the right r of a SAS, or the role 'Storage Blob Data Reader'; a firewall or "
            "network rule of the account also answers so.",
            Verb.LIST: "Listing needs the right l of a SAS, or the role 'Storage Blob Data Reader'.",
            Verb.WRITE: "Writing needs the right c of a SAS, or the role 'Storage Blob Data Contributor'.",
            Verb.DELETE: "Deleting needs the right d of a SAS, or the role 'Storage Blob Data Contributor'; jobs "
            "that only write results do without it.",
        },
        unauthenticated="Pass one of account_key, sas_token, connection_string or credential in storage_options, set "
        "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING, or run `az login`; "
        "a SAS may have expired.",
        absent_container=f"Check the account and the name, or make it: az storage container create -n {container}. "
        "Without credentials, a private container looks absent too.",
        unreachable="Check the account's name (account_name, or the host in the URI), connection_string and the "
        "network: an account that does not exist has no address.",
    )
