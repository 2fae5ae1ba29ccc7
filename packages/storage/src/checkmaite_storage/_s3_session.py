"""The HTTP session of aiobotocore, without the retries that aiohttp makes in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiobotocore.httpsession import AIOHTTPSession

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["SingleAttemptSession"]


class SingleAttemptSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """Sends each request once.

    aiohttp takes PUT for idempotent and sends it again when its connection breaks. A conditional PUT is not: the
    repeat would be told "exists" by the object that the first one made, and we would not know of the first.
    """

    async def _get_session(self, proxy_url: str | None) -> ClientSession:
        session: ClientSession = await super()._get_session(proxy_url)
        session._retry_connection = False  # no public switch; a test loses the answer to a put to see that it works
        return session
