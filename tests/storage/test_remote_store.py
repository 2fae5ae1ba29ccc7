"""What every remote store does over its cloud's requests, with the clock, the dice and the failures in our hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from checkmaite_core.errors import (
    AccessDeniedError,
    ConditionalPutError,
    ConfigurationError,
    ContainerNotFoundError,
    CorruptObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StorageUnreachableError,
    UnauthenticatedError,
)
from checkmaite_storage._remote import (
    Entry,
    Failure,
    Kind,
    Location,
    Page,
    Remedies,
    RemoteObjectStore,
    RetryPolicy,
    Verb,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PREFIX = Location("fake", "bucket", "pre")
REMEDIES = Remedies({verb: f"allow it to be {verb.value}" for verb in Verb}, "log in", "make it", "plug in")


class RequestError(Exception):
    def __init__(self, kind: Kind, text: str = "the server said so", *, happened: bool = False) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.happened = happened  # the server did as asked, and we do not hear of it


@dataclass
class FakeClient:
    """A cloud in memory. A fake, because no server can be told to fail at an exact attempt and second of a clock
    that only the test moves; the real servers' answers are in the tests of each connector.
    """

    location: Location = PREFIX
    remedies: Remedies = REMEDIES
    has_options: bool = False
    secrets: frozenset[str] = frozenset()
    objects: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    failing: dict[str, list[RequestError]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    page_size: int = 2
    before: Callable[[str], None] = lambda _: None

    def _ask(self, verb: str, timeout: float, act: Callable[[], Any]) -> Any:
        self.before(verb)
        self.asked.append(verb)
        self.timeouts.append(timeout)
        failures = self.failing.get(verb)
        if failures:
            failure = failures.pop(0)
            if failure.happened:
                act()
            raise failure
        return act()

    @property
    def filesystem(self) -> Any:
        raise NotImplementedError

    def get(self, name: str, timeout: float) -> bytes:
        def act() -> bytes:
            if name not in self.objects:
                raise RequestError(Kind.ABSENT_OBJECT)
            return self.objects[name][0]

        return self._ask("get", timeout, act)

    def page(self, prefix: str, start: str | None, timeout: float) -> Page:
        def act() -> Page:
            names = [name for name in sorted(self.objects, reverse=True) if name.startswith(prefix)]
            first = int(start or 0)
            last = first + self.page_size
            entries = [Entry(name, len(self.objects[name][0]), NOW) for name in names[first:last]]
            return Page(entries, str(last) if last < len(names) else None)

        return self._ask("page", timeout, act)

    largest = 2**40

    def create(self, name: str, data: bytes, token: str, timeout: float) -> None:
        def act() -> None:
            if name in self.objects:
                raise RequestError(Kind.EXISTS)
            self.objects[name] = (data, token)

        self._ask("create", timeout, act)

    def token(self, name: str, timeout: float) -> str | None:
        def act() -> str | None:
            if name not in self.objects:
                raise RequestError(Kind.ABSENT_OBJECT)
            return self.objects[name][1]

        return self._ask("token", timeout, act)

    def delete(self, name: str, timeout: float) -> None:
        def act() -> None:
            if self.objects.pop(name, None) is None:
                raise RequestError(Kind.ABSENT_OBJECT)

        self._ask("delete", timeout, act)

    def explain(self, error: Exception) -> Failure:
        assert isinstance(error, RequestError)
        return Failure(error.kind, error.text)


class Clock:
    """Monotonic seconds that pass when someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def store(client: FakeClient, clock: Clock) -> RemoteObjectStore:
    policy = RetryPolicy(sleep=clock.sleep, clock=lambda: clock.now, uniform=lambda _, most: most)
    return RemoteObjectStore(client, policy)


def lost(kind: Kind = Kind.TRANSIENT) -> RequestError:
    return RequestError(kind, happened=True)


def test_a_plain_put_and_a_plain_refusal_are_one_request_each(store: RemoteObjectStore, client: FakeClient) -> None:
    store.put_if_absent("a", b"1")
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("a", b"2")
    assert client.asked == ["create", "create"]


def test_a_put_whose_answer_got_lost_knows_its_own_object(store: RemoteObjectStore, client: FakeClient) -> None:
    client.failing["create"] = [lost()]
    store.put_if_absent("a", b"1")
    assert client.asked == ["create", "create", "token"]


def test_a_put_that_failed_for_good_reason_and_then_lost_the_race_says_so(
    store: RemoteObjectStore, client: FakeClient
) -> None:
    client.failing["create"] = [RequestError(Kind.TRANSIENT)]
    client.before = lambda verb: client.objects.setdefault("pre/a", (b"other", "other's token")) and None
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("a", b"1")
    assert client.asked == ["create", "create", "token"]


@pytest.mark.parametrize("token", [None, ""])
def test_an_object_without_a_token_is_another_writers(
    store: RemoteObjectStore, client: FakeClient, token: str | None
) -> None:
    client.objects["pre/a"] = (b"foreign", token)
    client.failing["create"] = [RequestError(Kind.TRANSIENT)]
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("a", b"1")


def test_a_connection_that_was_never_made_leaves_no_doubt_about_a_put(
    store: RemoteObjectStore, client: FakeClient
) -> None:
    client.objects["pre/a"] = (b"other", None)
    client.failing["create"] = [RequestError(Kind.UNREACHABLE)]
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("a", b"1")
    assert client.asked == ["create", "create"]


def test_doubt_outlives_a_token_that_could_not_be_read_at_once(store: RemoteObjectStore, client: FakeClient) -> None:
    client.failing = {"create": [lost()], "token": [RequestError(Kind.TRANSIENT), RequestError(Kind.UNREACHABLE)]}
    store.put_if_absent("a", b"1")
    assert client.asked == ["create", "create", "token", "create", "token", "create", "token"]


def test_a_writer_that_may_not_read_its_token_is_told_and_not_that_it_lost(
    store: RemoteObjectStore, client: FakeClient
) -> None:
    client.failing = {"create": [lost()], "token": [RequestError(Kind.DENIED)]}
    with pytest.raises(AccessDeniedError):
        store.put_if_absent("a", b"1")


def test_an_object_that_vanishes_while_its_token_is_read_is_put_again(
    store: RemoteObjectStore, client: FakeClient
) -> None:
    client.failing["create"] = [lost()]
    vanishing = iter([True])

    def before(verb: str) -> None:
        if verb == "token" and next(vanishing, False):
            client.objects.clear()

    client.before = before
    store.put_if_absent("a", b"1")
    assert client.objects["pre/a"][0] == b"1"


def test_every_put_has_a_token_of_its_own(store: RemoteObjectStore, client: FakeClient) -> None:
    store.put_if_absent("a", b"")
    store.put_if_absent("b", b"")
    tokens = {token for _, token in client.objects.values()}
    assert len(tokens) == 2
    assert all(token is not None and len(token) >= 32 for token in tokens)


@pytest.mark.parametrize("kind", [Kind.TRANSIENT, Kind.UNREACHABLE])
@pytest.mark.parametrize(
    ("verb", "use"),
    [
        ("create", lambda store: store.put_if_absent("new", b"")),
        ("get", lambda store: store.get("a")),
        ("page", lambda store: list(store.list())),
        ("delete", lambda store: store.delete("a")),
    ],
)
def test_every_request_is_retried(
    store: RemoteObjectStore, client: FakeClient, verb: str, use: Callable[[RemoteObjectStore], object], kind: Kind
) -> None:
    client.objects["pre/a"] = (b"1", None)
    client.failing[verb] = [RequestError(kind), RequestError(kind)]
    use(store)
    assert client.asked == [verb] * 3


def test_pauses_double_up_to_a_bound_and_end_before_the_deadline(
    store: RemoteObjectStore, client: FakeClient, clock: Clock
) -> None:
    client.failing["get"] = [RequestError(Kind.TRANSIENT) for _ in range(100)]
    with pytest.raises(StorageUnreachableError, match=r"17 attempts in 56\.3 s"):
        store.get("a")
    assert clock.pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert set(clock.pauses[6:]) == {5.0}
    assert 55 < sum(clock.pauses) < 60


def test_pauses_are_jittered_from_nothing_to_the_bound(client: FakeClient, clock: Clock) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(least: float, most: float) -> float:
        drawn.append((least, most))
        return most / 2

    client.failing["get"] = [RequestError(Kind.TRANSIENT)] * 3
    client.objects["pre/a"] = (b"", None)
    policy = RetryPolicy(sleep=clock.sleep, clock=lambda: clock.now, uniform=uniform)
    RemoteObjectStore(client, policy).get("a")
    assert drawn == [(0.0, 0.1), (0.0, 0.2), (0.0, 0.4)]
    assert clock.pauses == [0.05, 0.1, 0.2]


def test_an_attempt_gets_no_more_time_than_is_left(store: RemoteObjectStore, client: FakeClient, clock: Clock) -> None:
    def slow(_: str) -> None:
        clock.now += 14.0

    client.before = slow
    client.failing["get"] = [RequestError(Kind.TRANSIENT) for _ in range(100)]
    with pytest.raises(StorageUnreachableError):
        store.get("a")
    assert client.timeouts == pytest.approx([15.0, 15.0, 15.0, 15.0, 2.5])


def test_a_large_object_gets_more_time(store: RemoteObjectStore, client: FakeClient) -> None:
    store.put_if_absent("a", bytes(2**20))
    assert client.timeouts == [15.0 + 4.0]


def test_an_endpoint_that_nobody_listens_at_is_given_up_sooner(
    store: RemoteObjectStore, client: FakeClient, clock: Clock
) -> None:
    client.failing["get"] = [RequestError(Kind.UNREACHABLE) for _ in range(100)]
    with pytest.raises(StorageUnreachableError):
        store.get("a")
    assert 5 < sum(clock.pauses) < 10


def test_a_server_that_is_restarted_late_in_an_operation_has_the_whole_time_to_come_back(
    store: RemoteObjectStore, client: FakeClient, clock: Clock
) -> None:
    client.objects["pre/a"] = (b"back", None)
    client.failing["get"] = [*[RequestError(Kind.TRANSIENT)] * 8, RequestError(Kind.UNREACHABLE)]
    assert store.get("a") == b"back"
    assert sum(clock.pauses) > 10


FINAL: Sequence[tuple[Kind, type[StorageError]]] = [
    (Kind.ABSENT_OBJECT, ObjectNotFoundError),
    (Kind.ABSENT_CONTAINER, ContainerNotFoundError),
    (Kind.DENIED, AccessDeniedError),
    (Kind.UNAUTHENTICATED, UnauthenticatedError),
    (Kind.FULL, StorageFullError),
    (Kind.CORRUPT, CorruptObjectError),
    (Kind.UNCONDITIONAL, ConditionalPutError),
    (Kind.OTHER, StorageError),
]


@pytest.mark.parametrize(("kind", "error"), FINAL)
def test_each_refusal_is_an_error_of_its_own_and_is_not_retried(
    store: RemoteObjectStore, client: FakeClient, kind: Kind, error: type[StorageError]
) -> None:
    client.failing["get"] = [RequestError(kind)]
    with pytest.raises(StorageError, match="fake://bucket/pre/a") as caught:
        store.get("a")
    assert type(caught.value) is error
    assert caught.value.uri == "fake://bucket/pre/a"
    assert client.asked == ["get"]


@pytest.mark.parametrize(
    ("verb", "use"),
    [
        ("create", lambda store: store.put_if_absent("a", b"")),
        ("get", lambda store: store.get("a")),
        ("page", lambda store: list(store.list("a"))),
        ("delete", lambda store: store.delete("a")),
    ],
)
def test_a_denial_names_the_verb_and_the_right_that_is_missing(
    store: RemoteObjectStore, client: FakeClient, verb: str, use: Callable[[RemoteObjectStore], object]
) -> None:
    said = {"create": "written", "get": "read", "page": "listed", "delete": "deleted"}[verb]
    client.failing[verb] = [RequestError(Kind.DENIED)]
    with pytest.raises(AccessDeniedError, match=f"fake://bucket/pre/a could not be {said}") as caught:
        use(store)
    assert caught.value.hint == f"allow it to be {said}"


def test_a_listing_joins_pages_sorts_them_and_leaves_out_what_is_no_key(
    store: RemoteObjectStore, client: FakeClient
) -> None:
    for name in ("pre/b", "pre/a", "pre/", "pre/folder/", "pre/.hidden", "pre/c/d", "prefix", "other"):
        client.objects[name] = (b"", None)
    assert [info.key for info in store.list()] == ["a", "b", "c/d"]
    assert client.asked.count("page") == 3


def test_a_store_in_the_containers_root_sees_all_of_it(client: FakeClient) -> None:
    client.location = Location("fake", "bucket", "")
    store = RemoteObjectStore(client)
    store.put_if_absent("a/b", b"")
    assert list(client.objects) == ["a/b"]
    assert [info.key for info in store.list()] == ["a/b"]
    assert (store.uri, store.path("a"), store.address("a")) == ("fake://bucket", "bucket/a", "fake://bucket/a")


def test_a_probe_of_one_who_may_not_delete_passes_and_stays(store: RemoteObjectStore, client: FakeClient) -> None:
    client.failing["delete"] = [RequestError(Kind.DENIED)]
    entry = store.probe()
    assert list(client.objects) == [f"pre/{entry.key}"]


def test_errors_show_no_secret_and_chain_nothing_that_could(store: RemoteObjectStore, client: FakeClient) -> None:
    client.secrets = frozenset({"hunter2222"})
    text = "bad\nkey hunter2222 at https://user:pass@host/x?sig=abc%2Fdef&X-Amz-Signature=0123&ok=1"
    client.failing["get"] = [RequestError(Kind.OTHER, text)]
    with pytest.raises(StorageError) as caught:
        store.get("a")
    assert "bad key *** at https://***@host/x?sig=***&X-Amz-Signature=***&ok=1" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_store_with_options_does_not_travel(client: FakeClient) -> None:
    client.has_options = True
    with pytest.raises(ConfigurationError, match="storage_options would travel"):
        RemoteObjectStore(client).__reduce__()
