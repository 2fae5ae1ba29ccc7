"""The requests to one container of Azure Blob Storage, through adlfs and the SDK under it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from checkmaite_core.errors import ConfigurationError
from checkmaite_storage._azure_errors import BlobExistsError, explain
from checkmaite_storage._remote import (
    Entry,
    Failure,
    Kind,
    Location,
    Page,
    PerProcess,
    Remedies,
    run_coroutine,
    transfer_seconds,
)
from checkmaite_storage._remote._closing import close_with
from checkmaite_storage._remote._options import scrub

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["AzureClient"]

_MIB = 2**20
# One Put Blob needs only the right to create; a list of blocks needs the right to write, which can also overwrite. And
# its condition is the one that a probe of some bytes proves.
_LARGEST = 5000 * _MIB
_FIRST_READ = 32 * _MIB  # the SDK's first request of a download, before the size is known
_PAGE = 5000  # the most that the service gives
_CONNECT_TIMEOUT = 5.0
_TOKEN = "checkmaite_token"  # noqa: S105 - the name of a metadata field, which has to be an identifier


class AzureClient:
    """One container; a :class:`Client`.

    Args:
        location: The container and prefix.
        options: For ``adlfs.AzureBlobFileSystem``.
        has_options: Whether any of them came from the user.
        account: The account that the URI names, if it names one.
        remedies: What to type.
        secrets: Tells what must not be shown.
    """

    def __init__(
        self,
        *,
        location: Location,
        options: Mapping[str, Any],
        has_options: bool,
        account: str | None,
        remedies: Remedies,
        secrets: Callable[[], frozenset[str]],
    ) -> None:
        self.location = location
        self.has_options = has_options
        self.remedies = remedies
        self._secrets = secrets
        self._options = dict(options)
        self._account = account
        self._filesystem = PerProcess(self._make_filesystem)

    @property
    def largest(self) -> int:
        """5000 MiB, what the service takes in one put."""
        return _LARGEST

    @property
    def secrets(self) -> frozenset[str]:
        """What must not be shown."""
        return self._secrets()

    @property
    def filesystem(self) -> AbstractFileSystem:
        """An ``adlfs.AzureBlobFileSystem`` of its own, without a listings cache."""
        return self._filesystem.get()

    def get(self, name: str, timeout: float) -> bytes:
        """Read one blob; a long one in parts that all belong to one version of it."""
        filesystem = self.filesystem
        stream = run_coroutine(
            filesystem,
            self._blob(name).download_blob,
            max_concurrency=4,
            # A stalled connection ends after ``timeout``; this bounds one that goes on, slowly.
            timeout=timeout + transfer_seconds(_FIRST_READ),
            **_limits(timeout),
        )
        content: bytes = run_coroutine(
            filesystem, stream.readall, timeout=timeout + transfer_seconds(max(stream.size, _FIRST_READ))
        )
        return content

    def page(self, prefix: str, start: str | None, timeout: float) -> Page:
        """List up to 5000 blobs; marks of folders are left out."""

        async def request() -> Page:
            async with self._container() as container:
                # Metadata tells the folders of a hierarchical account, which are listed like empty blobs.
                listing = container.list_blobs(
                    name_starts_with=prefix or None, include=["metadata"], results_per_page=_PAGE, **_limits(timeout)
                )
                pages = listing.by_page(continuation_token=start)
                found = [blob async for blob in await anext(pages)]
                entries = [Entry(blob.name, blob.size, blob.last_modified) for blob in found if not _is_folder(blob)]
                return Page(entries, pages.continuation_token or None)

        return run_coroutine(self.filesystem, request, timeout=timeout)

    def create(self, name: str, data: bytes, token: str, timeout: float) -> None:
        """Put a blob with ``If-None-Match: *``, in one request."""
        from azure.core.exceptions import HttpResponseError

        async def request() -> None:
            try:
                await self._create(name, data, token, timeout)
            except HttpResponseError as error:
                if explain(error).kind not in (Kind.EXISTS, Kind.DENIED):
                    raise
                found = await self._metadata(name, timeout)
                if found is None:
                    raise
                # aiohttp repeats a PUT by itself, once, when the connection is lost: it then meets its own blob.
                if found.get(_TOKEN) != token:
                    # A SAS that may create and not write is told 403 instead of "exists".
                    raise BlobExistsError from None

        run_coroutine(self.filesystem, request, timeout=timeout)

    async def _metadata(self, name: str, timeout: float) -> dict[str, str] | None:
        """A blob's metadata; None where there is none, or where it is not to be known."""
        from azure.core.exceptions import HttpResponseError

        async with self._blob(name) as blob:
            try:
                properties = await blob.get_blob_properties(**_limits(timeout))
            except HttpResponseError:
                return None
            return properties.metadata or {}

    async def _create(self, name: str, data: bytes, token: str, timeout: float) -> None:
        limits = _limits(timeout)
        metadata = {_TOKEN: token}
        async with self._blob(name) as blob:
            await blob.upload_blob(
                data, length=len(data), overwrite=False, metadata=metadata, raw_request_hook=_as_stream, **limits
            )

    def token(self, name: str, timeout: float) -> str | None:
        """The token in a blob's metadata."""

        async def request() -> str | None:
            async with self._blob(name) as blob:
                properties = await blob.get_blob_properties(**_limits(timeout))
                found: str | None = (properties.metadata or {}).get(_TOKEN)
                return found

        return run_coroutine(self.filesystem, request, timeout=timeout)

    def delete(self, name: str, timeout: float) -> None:
        """Remove one blob."""

        async def request() -> None:
            async with self._blob(name) as blob:
                await blob.delete_blob(**_limits(timeout))

        run_coroutine(self.filesystem, request, timeout=timeout)

    def explain(self, error: Exception) -> Failure:
        """Read an exception of the SDK, azure-identity or adlfs."""
        return explain(error)

    def _service(self) -> Any:
        return self.filesystem.service_client

    def _blob(self, name: str) -> Any:
        return self._service().get_blob_client(self.location.container, name)

    def _container(self) -> Any:
        return self._service().get_container_client(self.location.container)

    def _make_filesystem(self) -> Any:
        import adlfs

        try:
            filesystem = adlfs.AzureBlobFileSystem(**self._options, use_listings_cache=False, skip_instance_cache=True)
        except ValueError as error:
            raise ConfigurationError(
                f"the options of {self.location.uri} cannot be used: {scrub(str(error), self.secrets)}",
                hint="Check connection_string, account_key and sas_token, also in the AZURE_STORAGE_* variables.",
            ) from None
        used = filesystem.service_client.account_name
        if self._account is not None and used != self._account:
            # adlfs prefers a connection string, also one from a variable, to everything else.
            raise ConfigurationError(
                f"{self.location.uri} names the account {self._account!r}, but the connection string another one.",
                hint="Unset AZURE_STORAGE_CONNECTION_STRING, or leave the account out of the URI.",
            )
        # Above this the SDK would send blocks by itself; 64 MiB is its default.
        filesystem.service_client._config.max_single_put_size = _LARGEST
        # A credentials object that was given to us is not ours to close.
        credential = None if "credential" in self._options else filesystem.credential
        close_with(filesystem, filesystem.service_client, credential)
        return filesystem


def _limits(timeout: float) -> dict[str, Any]:
    """Keywords of every request: one attempt, which ends when nothing comes for ``timeout`` seconds."""
    return {
        "retry_total": 0,
        "connection_timeout": min(timeout, _CONNECT_TIMEOUT),
        "read_timeout": timeout,
    }


def _as_stream(request: Any) -> None:
    """Send the body piece by piece: aiohttp warns of long bytes, whose sending holds up its event loop."""
    body = request.http_request.data
    if isinstance(body, bytes):
        request.http_request.data = io.BytesIO(body)


def _is_folder(blob: Any) -> bool:
    metadata = blob.metadata or {}
    return metadata.get("hdi_isfolder") == "true" or metadata.get("is_directory") == "true"
