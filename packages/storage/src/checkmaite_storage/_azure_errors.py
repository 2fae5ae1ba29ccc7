"""What the Azure SDK raises, in terms of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkmaite_storage._remote import Failure, Kind

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError

__all__ = ["BlobExistsError", "explain"]


class BlobExistsError(Exception):
    """A put was refused, and there is a blob of its name."""


_BY_CODE = {
    "BlobNotFound": Kind.ABSENT_OBJECT,
    "ContainerNotFound": Kind.ABSENT_CONTAINER,
    "ResourceNotFound": Kind.ABSENT_CONTAINER,  # what an anonymous reader is told of a private container
    "BlobAlreadyExists": Kind.EXISTS,
    "ConditionNotMet": Kind.EXISTS,
    "TargetConditionNotMet": Kind.EXISTS,
    "AuthenticationFailed": Kind.UNAUTHENTICATED,
    "NoAuthenticationInformation": Kind.UNAUTHENTICATED,
    "InvalidAuthenticationInfo": Kind.UNAUTHENTICATED,
    "KeyBasedAuthenticationNotPermitted": Kind.UNAUTHENTICATED,
    "PublicAccessNotPermitted": Kind.UNAUTHENTICATED,
    "BlobImmutableDueToPolicy": Kind.DENIED,
    "ContainerDisabled": Kind.DENIED,
    "AccountIsDisabled": Kind.DENIED,
    "UnsupportedHeader": Kind.UNCONDITIONAL,
    "Md5Mismatch": Kind.TRANSIENT,
    "Crc64Mismatch": Kind.TRANSIENT,
}
_BY_STATUS = {401: Kind.UNAUTHENTICATED, 403: Kind.DENIED, 507: Kind.FULL, 501: Kind.UNCONDITIONAL}
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}


def explain(error: Exception) -> Failure:
    """Read an exception of the SDK, azure-identity, aiohttp or fsspec."""
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        IncompleteReadError,
        ServiceRequestError,
        ServiceResponseError,
    )
    from fsspec.exceptions import FSTimeoutError

    line = f"{type(error).__name__}: {_first_line(error)}"
    if isinstance(error, BlobExistsError):
        return Failure(Kind.EXISTS, "there is a blob of this name")
    if isinstance(error, ServiceRequestError) and _is_connecting(error):
        return Failure(Kind.UNREACHABLE, f"no connection was made: {_first_line(error)}")
    if isinstance(error, ServiceRequestError | ServiceResponseError | IncompleteReadError | ConnectionError):
        return Failure(Kind.TRANSIENT, line)
    if isinstance(error, FSTimeoutError | TimeoutError):
        return Failure(Kind.TRANSIENT, "no answer came in time")
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return _of_response(error, error.status_code)
    if isinstance(error, ClientAuthenticationError):
        return Failure(Kind.UNAUTHENTICATED, line)
    return Failure(Kind.OTHER, line)


def _is_connecting(error: AzureError) -> bool:
    """Whether nothing was sent; the SDK calls a connection that was lost later by the same name."""
    from aiohttp import ClientConnectorError, ConnectionTimeoutError

    return isinstance(error.inner_exception, ClientConnectorError | ConnectionTimeoutError)


def _of_response(error: Exception, status: int) -> Failure:
    code = getattr(error, "error_code", None)
    code = str(getattr(code, "value", code) or "")
    text = _first_line(error)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = Kind.TRANSIENT if status in _TRANSIENT else Kind.OTHER
    if code == "AuthorizationFailure" and "failed to authenticate" in text:
        kind = Kind.UNAUTHENTICATED  # said so by azurite; Azure uses this code for its network rules
    return Failure(kind, f"{status} {code}: {text}" if code else f"{status}: {text}")


def _first_line(error: Exception) -> str:
    return (str(error) or "no message").strip().splitlines()[0]
