"""Where a remote store lies."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from checkmaite_core.errors import ConfigurationError, StorageError
from checkmaite_storage._keys import check_key

__all__ = ["Location", "parse_location"]

_AZURE = frozenset({"az", "abfs", "abfss"})
_CONTAINER = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True, slots=True)
class Location:
    """A container (bucket) and the prefix in it under which a store keeps its objects.

    Attributes:
        scheme: As URIs of this cloud begin.
        container: The bucket or container.
        prefix: Without slashes at its ends; may be empty.
    """

    scheme: str
    container: str
    prefix: str

    @property
    def container_uri(self) -> str:
        """The container alone."""
        return f"{self.scheme}://{self.container}"

    @property
    def uri(self) -> str:
        """The whole location, without a final ``/``."""
        return f"{self.container_uri}/{self.prefix}" if self.prefix else self.container_uri

    def name_of(self, key: str) -> str:
        """An object's whole name in the container; also of a key's beginning."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def key_of(self, name: str) -> str:
        """The key of a name that :meth:`name_of` could have given."""
        return name[len(self.prefix) + 1 :] if self.prefix else name


def parse_location(uri: str, schemes: Collection[str], *, scheme: str, credentials: str) -> Location:
    """Read ``scheme://container/prefix``; names are taken as they are, without percent-decoding.

    The URI is in no message: what should not be in it may be a secret.

    Args:
        uri: What the user gave.
        schemes: Those that the connector answers to.
        scheme: The one that it shows.
        credentials: Where credentials belong, for the hint.

    Raises:
        ConfigurationError: It is of another form, or holds credentials, a query or a fragment.
    """
    noun = "container" if scheme in _AZURE else "bucket"
    form = f"{scheme}://{noun}/prefix"
    found, separator, rest = uri.partition("://")
    if not separator or found.lower() not in schemes:
        raise ConfigurationError(f"the URI does not begin with {scheme}://.", hint=f"Write {form}.")
    container, _, prefix = rest.partition("/")
    if "@" in container or ":" in container:
        raise ConfigurationError(
            f"the {scheme} URI holds credentials or a port in the {noun}'s place (not shown).",
            hint=f"Write {form}. {credentials}",
        )
    if "?" in rest or "#" in rest:
        raise ConfigurationError(
            f"the {scheme} URI holds a query or a fragment, which may carry credentials (not shown).",
            hint=f"Write {form}. {credentials}",
        )
    if not _CONTAINER.match(container):
        raise ConfigurationError(
            f"the {scheme} URI names no {noun}, or one that cannot exist.",
            hint=f"Write {form}; the name of a {noun} has letters, digits, '.', '_' and '-'.",
        )
    prefix = prefix.strip("/")
    if prefix:
        try:
            check_key(prefix)
        except StorageError as error:
            raise ConfigurationError(
                f"the {scheme} URI's path cannot hold a store: {error.message}", hint=error.hint
            ) from None
    return Location(scheme, container, prefix)
