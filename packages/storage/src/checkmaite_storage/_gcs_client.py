"""The requests to one bucket of Google Cloud Storage."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from checkmaite_core.errors import ConfigurationError, UnauthenticatedError
from checkmaite_storage._gcs_errors import CorruptContentError, explain
from checkmaite_storage._gcs_http import Answer, GcsResponseError, ask
from checkmaite_storage._gcs_upload import LARGEST, TOKEN, upload
from checkmaite_storage._remote import (
    Entry,
    Failure,
    Location,
    Page,
    PerProcess,
    Remedies,
    run_coroutine,
)
from checkmaite_storage._remote._closing import close_with

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["GcsClient"]

_PAGE = 1000  # the most that the service gives
_SESSION_TIMEOUT = 10.0  # nothing is asked, but a client certificate may be loaded
_A_DAY = 86400.0


class GcsClient:
    """One bucket; a :class:`Client`.

    Args:
        location: The bucket and prefix.
        options: For ``gcsfs.GCSFileSystem``.
        has_options: Whether any of them came from the user.
        remedies: What to type.
        secrets: What must not be shown.
    """

    def __init__(
        self,
        *,
        location: Location,
        options: Mapping[str, Any],
        has_options: bool,
        remedies: Remedies,
        secrets: frozenset[str],
    ) -> None:
        self.location = location
        self.has_options = has_options
        self.remedies = remedies
        self.secrets = secrets
        self._options = dict(options)
        self._filesystem = PerProcess(self._make_filesystem)

    @property
    def largest(self) -> int:
        """5 GiB."""
        return LARGEST

    @property
    def filesystem(self) -> AbstractFileSystem:
        """A ``gcsfs.core.GCSFileSystem`` of its own, without a listings cache."""
        return self._filesystem.get()

    def get(self, name: str, timeout: float) -> bytes:
        """Read one object, and compare it with the checksum that comes along."""

        async def request() -> bytes:
            answer = await self._ask_object("GET", name, timeout, {"alt": "media"})
            _check_content(answer)
            return answer.content

        # The request has bounds of its own: ``timeout`` without progress, and what its length may take.
        return run_coroutine(self.filesystem, request, timeout=_A_DAY)

    def page(self, prefix: str, start: str | None, timeout: float) -> Page:
        """List up to 1000 objects."""
        params = {"maxResults": str(_PAGE), "fields": "items(name,size,timeCreated),nextPageToken"}
        params |= {"prefix": prefix} if prefix else {}
        params |= {"pageToken": start} if start else {}

        async def request() -> Page:
            try:
                found = (await ask(self.filesystem, "GET", self._objects, timeout=timeout, params=params)).json()
            except GcsResponseError as error:
                raise _about_bucket(error) from None
            return Page([_entry(item) for item in found.get("items", [])], found.get("nextPageToken"))

        return run_coroutine(self.filesystem, request, timeout=timeout)

    def create(self, name: str, data: bytes, token: str, timeout: float) -> None:
        """Put an object with ``ifGenerationMatch=0``."""

        async def request() -> None:
            try:
                await upload(self.filesystem, self._objects, name, data, token, timeout)
            except GcsResponseError as error:
                raise _about_bucket(error) from None

        run_coroutine(self.filesystem, request, timeout=timeout)

    def token(self, name: str, timeout: float) -> str | None:
        """The token in an object's metadata."""

        async def request() -> str | None:
            answer = await self._ask_object("GET", name, timeout, {"fields": "metadata"})
            found: str | None = answer.json().get("metadata", {}).get(TOKEN)
            return found

        return run_coroutine(self.filesystem, request, timeout=timeout)

    def delete(self, name: str, timeout: float) -> None:
        """Remove one object."""

        async def request() -> None:
            await self._ask_object("DELETE", name, timeout, {})

        run_coroutine(self.filesystem, request, timeout=timeout)

    def explain(self, error: Exception) -> Failure:
        """Read an exception of the API, aiohttp, google-auth or fsspec."""
        return explain(error)

    @property
    def _objects(self) -> str:
        return f"b/{quote(self.location.container, safe='')}/o"

    async def _ask_object(self, method: str, name: str, timeout: float, params: dict[str, str]) -> Answer:
        url = f"{self._objects}/{quote(name, safe='')}"
        try:
            return await ask(self.filesystem, method, url, timeout=timeout, params=params)
        except GcsResponseError as error:
            if error.status != 404:
                raise
        # The status is the same for an absent bucket, and its text is for people: one more request tells.
        one = {"maxResults": "1", "prefix": name, "fields": "nextPageToken"}
        try:
            await ask(self.filesystem, "GET", self._objects, timeout=timeout, params=one)
        except GcsResponseError as error:
            if error.status == 404:
                raise _about_bucket(error) from None
        raise GcsResponseError(404, "", "there is no such object", is_bucket_absent=False)

    def _make_filesystem(self) -> Any:
        from gcsfs.core import GCSFileSystem  # the plain one: gcsfs.GCSFileSystem asks each bucket for its kind
        from google.auth.exceptions import GoogleAuthError

        try:
            filesystem = GCSFileSystem(**self._options, use_listings_cache=False, skip_instance_cache=True)
        except GoogleAuthError as error:
            what = type(error).__name__
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"the options of {self.location.uri} cannot be used ({type(error).__name__}).",
                hint="Check storage_options['token']: a credentials file or dict must be as gcloud made it.",
            ) from None
        else:
            run_coroutine(filesystem, filesystem._set_session, timeout=_SESSION_TIMEOUT)
            close_with(filesystem, filesystem.session)
            return filesystem
        raise UnauthenticatedError(
            f"{self.location.uri} could not be opened: no credentials were found ({what}).",
            hint=self.remedies.unauthenticated,
            uri=self.location.uri,
        )


def _about_bucket(error: GcsResponseError) -> GcsResponseError:
    """A 404 of a request that names no object is the bucket's."""
    return GcsResponseError(error.status, error.reason, error.message, is_bucket_absent=error.status == 404)


def _entry(item: Mapping[str, Any]) -> Entry:
    return Entry(item["name"], int(item["size"]), datetime.fromisoformat(item["timeCreated"]))


def _check_content(answer: Answer) -> None:
    for field in answer.headers.getall("X-Goog-Hash", []):
        for part in field.split(","):
            name, _, expected = part.strip().partition("=")
            if name == "md5":
                found = hashlib.md5(answer.content, usedforsecurity=False).digest()
                if base64.b64encode(found).decode() != expected:
                    raise CorruptContentError
