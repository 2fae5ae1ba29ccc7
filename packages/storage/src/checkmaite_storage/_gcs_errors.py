"""What requests to Google Cloud Storage raise, in terms of the store."""

from __future__ import annotations

from checkmaite_storage._gcs_http import GcsResponseError
from checkmaite_storage._remote import Failure, Kind

__all__ = ["CorruptContentError", "explain"]

_BY_REASON = {
    "rateLimitExceeded": Kind.TRANSIENT,
    "userRateLimitExceeded": Kind.TRANSIENT,
    "quotaExceeded": Kind.FULL,
}
_BY_STATUS = {401: Kind.UNAUTHENTICATED, 403: Kind.DENIED, 412: Kind.EXISTS, 507: Kind.FULL}
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}


class CorruptContentError(Exception):
    """The content does not match the checksum that came with it."""


def explain(error: Exception) -> Failure:
    """Read an exception of the API, aiohttp, google-auth, gcsfs or fsspec."""
    import aiohttp
    from gcsfs.retry import HttpError, NonRetryableError
    from google.auth.exceptions import GoogleAuthError, TransportError

    what = type(error).__name__
    if isinstance(error, GcsResponseError):
        return _of_response(error)
    if isinstance(error, CorruptContentError):
        return Failure(Kind.CORRUPT, "the content does not match the MD5 that the server sent with it")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Failure(Kind.UNREACHABLE, f"no connection was made: {error}")
    if isinstance(error, TimeoutError):
        return Failure(Kind.TRANSIENT, "no answer came in time")
    if isinstance(error, aiohttp.ClientError | ConnectionError):
        return Failure(Kind.TRANSIENT, f"{what}: {error}")
    # Texts about credentials may hold them: only the kind of exception is told.
    if isinstance(error, TransportError):
        return Failure(Kind.UNREACHABLE, f"the server that renews credentials was not reached ({what})")
    if isinstance(error, GoogleAuthError | HttpError | NonRetryableError):
        return Failure(Kind.UNAUTHENTICATED, f"the credentials could not be renewed ({what})")
    return Failure(Kind.OTHER, what)


def _of_response(error: GcsResponseError) -> Failure:
    text = f"{error.status} {error.reason}: {error.message}" if error.reason else f"{error.status}: {error.message}"
    if error.status == 404:
        return Failure(Kind.ABSENT_CONTAINER if error.is_bucket_absent else Kind.ABSENT_OBJECT, text)
    kind = _BY_REASON.get(error.reason) or _BY_STATUS.get(error.status)
    if kind is None:
        kind = Kind.TRANSIENT if error.status in _TRANSIENT else Kind.OTHER
    return Failure(kind, text)
