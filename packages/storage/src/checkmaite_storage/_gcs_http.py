"""One request to the JSON API, through gcsfs's session and credentials but without its retries."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkmaite_core.errors import ConfigurationError
from checkmaite_storage._remote import transfer_seconds

if TYPE_CHECKING:
    from gcsfs import GCSFileSystem

__all__ = ["Answer", "GcsResponseError", "ask"]

_CONNECT_TIMEOUT = 5.0
_LONG = 64 * 2**20  # where an answer does not tell its length


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Any  # case-insensitive, may repeat
    content: bytes

    def json(self) -> dict[str, Any]:
        """The content as a JSON object.

        Raises:
            GcsResponseError: It is none.
        """
        try:
            found = json.loads(self.content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise GcsResponseError(self.status, "", "the answer is not of this API: is the endpoint right?")
        return found


class GcsResponseError(Exception):
    """An answer other than success.

    Attributes:
        status: Of HTTP.
        reason: The API's word for it; may be empty.
        message: The API's sentence.
        is_bucket_absent: Whether it is known that there is no such bucket, or that there is one; None for unknown.
    """

    def __init__(self, status: int, reason: str, message: str, *, is_bucket_absent: bool | None = None) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message
        self.is_bucket_absent = is_bucket_absent


async def ask(
    filesystem: GCSFileSystem,
    method: str,
    url: str,
    *,
    timeout: float,
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    body: Any = None,
    accepted: tuple[int, ...] = (200, 201, 204),
) -> Answer:
    """Make one request; nothing is repeated but what aiohttp repeats (once, never a POST) on a lost connection.

    Args:
        filesystem: Whose session, credentials and settings are used.
        method: Of HTTP.
        url: Percent-encoded; a path is taken below the API's base.
        timeout: Seconds without progress; the caller bounds the whole.
        params: The query, on top of the URL's.
        headers: Beside those of the credentials.
        body: What aiohttp can send.
        accepted: The statuses that are no error.

    Raises:
        GcsResponseError: Another status.
    """
    import aiohttp
    import yarl

    # Refreshing credentials blocks, so it must not happen on the event loop.
    await asyncio.wait_for(asyncio.to_thread(filesystem.credentials.maybe_refresh), timeout)
    headers = {"User-Agent": "checkmaite-storage", **(headers or {})}
    filesystem.credentials.apply(headers)
    params = dict(params or {})
    if filesystem.requester_pays:
        payer = filesystem.requester_pays
        project = payer if isinstance(payer, str) else filesystem.project
        if not project:
            raise ConfigurationError(
                "storage_options has requester_pays=True, and no project is known that pays.",
                hint="Name it: requester_pays='my-project', or project='my-project', or GOOGLE_CLOUD_PROJECT.",
            )
        params["userProject"] = project
    target = yarl.URL(url if url.startswith("http") else filesystem.base + url, encoded=True)
    limits = aiohttp.ClientTimeout(total=None, sock_connect=min(timeout, _CONNECT_TIMEOUT), sock_read=timeout)
    async with filesystem.session.request(
        method,
        target.update_query(params),
        headers=headers,
        data=body,
        timeout=limits,
        allow_redirects=False,
    ) as response:
        async with asyncio.timeout(timeout + transfer_seconds(response.content_length or _LONG)):
            answer = Answer(response.status, response.headers, await response.read())
    if answer.status not in accepted:
        raise _refused(answer)
    return answer


def _refused(answer: Answer) -> GcsResponseError:
    text = answer.content.decode(errors="replace").strip()
    try:
        error = json.loads(text)["error"]
        message = str(error["message"])
        reason = str(error["errors"][0]["reason"])
    except (ValueError, KeyError, TypeError, IndexError):
        message, reason = text.splitlines()[0] if text else "no message", ""
    return GcsResponseError(answer.status, reason, message)
