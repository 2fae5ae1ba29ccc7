"""What S3, botocore and s3fs said."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from checkmaite_storage._remote import Failure, Kind
from checkmaite_storage._s3_write import UnconditionalError

__all__ = ["explain"]

_CODES: Mapping[str, Kind] = {
    "NoSuchKey": Kind.ABSENT_OBJECT,
    "NoSuchBucket": Kind.ABSENT_CONTAINER,
    "PreconditionFailed": Kind.EXISTS,
    "AccessDenied": Kind.DENIED,
    "AllAccessDisabled": Kind.DENIED,
    "AccountProblem": Kind.DENIED,
    "ExpiredToken": Kind.UNAUTHENTICATED,
    "InvalidAccessKeyId": Kind.UNAUTHENTICATED,
    "InvalidToken": Kind.UNAUTHENTICATED,
    "InvalidClientTokenId": Kind.UNAUTHENTICATED,
    "RequestTimeTooSkewed": Kind.UNAUTHENTICATED,
    "SignatureDoesNotMatch": Kind.UNAUTHENTICATED,
    "TokenRefreshRequired": Kind.UNAUTHENTICATED,
    "BadDigest": Kind.TRANSIENT,  # damaged on the way to the server
    "IncompleteBody": Kind.TRANSIENT,
    "RequestTimeout": Kind.TRANSIENT,
    "SlowDown": Kind.TRANSIENT,
    "QuotaExceeded": Kind.FULL,
    "XMinioStorageFull": Kind.FULL,
    "NotImplemented": Kind.UNCONDITIONAL,
}
_STATUSES: Mapping[int, Kind] = {
    401: Kind.UNAUTHENTICATED,
    403: Kind.DENIED,
    404: Kind.ABSENT_OBJECT,
    408: Kind.TRANSIENT,
    409: Kind.TRANSIENT,
    412: Kind.EXISTS,
    429: Kind.TRANSIENT,
    501: Kind.UNCONDITIONAL,
    507: Kind.FULL,
}


def explain(error: BaseException) -> Failure:
    """Read an exception that a request let pass."""
    from botocore.exceptions import ClientError

    answered = error if isinstance(error, ClientError) else error.__cause__  # s3fs wraps what the server said
    if isinstance(answered, ClientError):
        return _answer(answered.response)
    if isinstance(error, TimeoutError):
        return Failure(Kind.TRANSIENT, "no answer came in time")
    return Failure(_kind(error), f"{type(error).__name__}: {error}")


def _answer(response: Mapping[str, Mapping[str, object]]) -> Failure:
    code = str(response.get("Error", {}).get("Code", ""))
    message = str(response.get("Error", {}).get("Message", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    status = status if isinstance(status, int) else 0
    text = f"the server answered {status} {code if code != str(status) else ''}".rstrip() + f": {message}"
    kind = _CODES.get(code) or _STATUSES.get(status)
    if kind is None:
        kind = Kind.TRANSIENT if status >= 500 else Kind.OTHER
    return Failure(kind, text)


def _kind(error: BaseException) -> Kind:
    from aiohttp import ClientConnectorError, ClientPayloadError
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    if isinstance(error, UnconditionalError):
        return Kind.UNCONDITIONAL
    if isinstance(
        error,
        boto.NoCredentialsError
        | boto.PartialCredentialsError
        | boto.CredentialRetrievalError
        | boto.NoAuthTokenError
        | boto.TokenRetrievalError
        | boto.SSOError
        | boto.ProfileNotFound,
    ):
        return Kind.UNAUTHENTICATED
    if isinstance(error, boto.FlexibleChecksumError | boto.ChecksumError):
        return Kind.CORRUPT
    if isinstance(error, boto.EndpointConnectionError):
        # The name promises that no connection was made, but aiobotocore also uses it for one that broke.
        below = error.kwargs.get("error")
        return Kind.UNREACHABLE if isinstance(below, ClientConnectorError | socket.gaierror) else Kind.TRANSIENT
    if isinstance(error, boto.ConnectTimeoutError | boto.SSLError | boto.ProxyConnectionError):
        return Kind.UNREACHABLE
    if isinstance(
        error,
        boto.HTTPClientError
        | boto.ConnectionError
        | boto.IncompleteReadError
        | ResponseParserError
        | ClientPayloadError
        | ConnectionError,
    ):
        return Kind.TRANSIENT
    return Kind.OTHER
