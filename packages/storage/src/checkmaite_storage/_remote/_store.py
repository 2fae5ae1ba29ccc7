"""An object store over one cloud's client."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from checkmaite_core.errors import CheckmaiteError, ConfigurationError, ObjectNotFoundError, StorageError
from checkmaite_storage._interface import ObjectInfo
from checkmaite_storage._keys import check_key, check_prefix
from checkmaite_storage._opening import open_object_store
from checkmaite_storage._probe import probe
from checkmaite_storage._remote._client import Client, Entry
from checkmaite_storage._remote._errors import Verb, error_for
from checkmaite_storage._remote._failure import Failure, Kind
from checkmaite_storage._remote._options import scrub
from checkmaite_storage._remote._retry import Retrying, RetryPolicy

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["RemoteObjectStore"]

T = TypeVar("T")


class RemoteObjectStore:
    """Objects under a prefix of a bucket or container; an :class:`ObjectStore`.

    Every put carries a random token in the object's metadata. When a put is told that its object exists, after an
    attempt of its own whose answer got lost, it reads the token: if it is its own, the put has succeeded.

    Args:
        client: The cloud's requests.
        policy: How long and how often a request is tried.
    """

    def __init__(self, client: Client, policy: RetryPolicy | None = None) -> None:
        self._client = client
        self._location = client.location
        self._policy = policy or RetryPolicy()

    def __repr__(self) -> str:
        return f"RemoteObjectStore({self.uri!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._client.has_options:
            raise ConfigurationError(
                f"the object store at {self.uri} cannot be pickled: its storage_options would travel along.",
                hint="Send the URI, and open the store where it is needed with options from that place.",
            )
        return (open_object_store, (self.uri,))

    @property
    def uri(self) -> str:
        """``scheme://container/prefix``."""
        return self._location.uri

    @property
    def filesystem(self) -> AbstractFileSystem:
        """The cloud's fsspec filesystem, for ranged reads; objects lie at :meth:`path`.

        It knows the credentials: do not pickle or print its ``storage_options``.
        """
        return self._client.filesystem

    @property
    def is_local(self) -> bool:
        """Always false."""
        return False

    def path(self, key: str) -> str:
        """``container/prefix/key``."""
        return f"{self._location.container}/{self._location.name_of(check_key(key))}"

    def address(self, key: str) -> str:
        """The object's full URI."""
        return self._uri_of(check_key(key))

    def get(self, key: str) -> bytes:
        """Read one object; see :meth:`ObjectStore.get`."""
        name = self._location.name_of(check_key(key))
        return self._ask(Verb.READ, self._uri_of(key), partial(self._client.get, name))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects; see :meth:`ObjectStore.list`. Names that are no keys are left out."""
        beginning = self._location.name_of(check_prefix(prefix))
        # Sorted here, as not every service sorts by key ("a/b" against "a-b" in hierarchical ones).
        found = [info for entry in self._entries(beginning, self._uri_of(prefix)) if (info := self._info(entry))]
        found.sort(key=lambda info: info.key)
        yield from found

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Create one object; see :meth:`ObjectStore.put_if_absent`."""
        name, uri = self._location.name_of(check_key(key)), self._uri_of(key)
        if len(data) > self._client.largest:
            raise StorageError(
                f"{uri} was not written: it has {len(data):,} bytes, and an object here has {self._client.largest:,} "
                "at most. Nothing was sent.",
                hint="Write less at once: fewer records in one run, or outputs and reports that are smaller.",
                uri=uri,
            )
        token = secrets.token_hex(16)
        retrying = self._policy.begin(len(data))
        is_in_doubt = False  # an attempt was made whose answer we do not know
        while True:
            failure = self._attempt(self._client.create, name, data, token, retrying.timeout)
            if not isinstance(failure, Failure):
                return
            if failure.kind is Kind.EXISTS and is_in_doubt:
                found = self._attempt(self._client.token, name, retrying.timeout)
                if not isinstance(found, Failure):
                    if found == token:
                        return
                elif found.kind is Kind.ABSENT_OBJECT:
                    failure = Failure(Kind.TRANSIENT, "it was there, and was deleted while we looked")
                else:
                    failure = found
            is_in_doubt = is_in_doubt or failure.kind is Kind.TRANSIENT
            if not retrying.again(failure.kind):
                raise self._error(failure, Verb.WRITE, uri, retrying)

    def delete(self, key: str) -> None:
        """Remove one object; see :meth:`ObjectStore.delete`."""
        name = self._location.name_of(check_key(key))
        with contextlib.suppress(ObjectNotFoundError):
            self._ask(Verb.DELETE, self._uri_of(key), partial(self._client.delete, name))

    def probe(self) -> ObjectInfo:
        """Prove put-if-absent; see :meth:`ObjectStore.probe`."""
        return probe(self)

    def _ask(self, verb: Verb, uri: str, request: Callable[[float], T]) -> T:
        retrying = self._policy.begin()
        while True:
            answer = self._attempt(request, retrying.timeout)
            if not isinstance(answer, Failure):
                return answer
            if not retrying.again(answer.kind):
                raise self._error(answer, verb, uri, retrying)

    def _attempt(self, request: Callable[..., T], *args: Any) -> T | Failure:
        try:
            return request(*args)
        except CheckmaiteError:
            raise
        except Exception as error:  # of any library: explained, and raised as ours once it is no longer handled
            return self._client.explain(error)

    def _error(self, failure: Failure, verb: Verb, uri: str, retrying: Retrying) -> StorageError:
        text = scrub(failure.text, self._client.secrets)
        if failure.kind is Kind.ABSENT_CONTAINER:
            text = f"there is no {self._location.container_uri} ({text})"
        shown = Failure(failure.kind, text)
        times = "1 attempt" if retrying.attempts == 1 else f"{retrying.attempts} attempts"
        tried = f"{times} in {retrying.elapsed:.1f} s"
        return error_for(shown, verb, uri, self._client.remedies, tried=tried)

    def _entries(self, prefix: str, uri: str) -> Iterator[Entry]:
        start: str | None = None
        while True:
            page = self._ask(Verb.LIST, uri, partial(self._client.page, prefix, start))
            yield from page.entries
            start = page.next
            if start is None:
                return

    def _info(self, entry: Entry) -> ObjectInfo | None:
        key = self._location.key_of(entry.name)
        try:
            return ObjectInfo(check_key(key), entry.size, entry.last_modified)
        except StorageError:
            return None  # put there by others, such as a console's mark of an empty folder

    def _uri_of(self, key: str) -> str:
        return f"{self.uri}/{key}" if key else self.uri
