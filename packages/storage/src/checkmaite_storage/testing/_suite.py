"""The conformance suite of object stores."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import pytest

from checkmaite_core.errors import ConfigurationError, ObjectExistsError, ObjectNotFoundError, StorageError
from checkmaite_core.location import canonical_uri
from checkmaite_core.testing import StandardSuite
from checkmaite_storage._interface import ObjectStore
from checkmaite_storage._probe import PROBE_PREFIX

__all__ = ["ObjectStoreSuite", "StorePromises"]

_ODD_KEYS = (
    "a b/c d",
    "plus+and&and=and;and,",
    "query?versionId=1#fragment",
    "percent%41%2Fencoded",
    "quote'and\"and`and$",
    "at@colon:star*tilde~",
    "umläut/日本語/🙂",
    "brackets[1]{2}(3)<4>|^!",
    "trailing dot./and.dots..inside",
    "CamelCase/UPPER",
    f"{'long' * 63}/{'x' * 255}",
)

_BAD_KEYS = ("", "/a", "a/", "a//b", "../a", "a/./b", ".hidden", "a\\b", "a\nb", "x" * 256, "x/" * 512 + "x")


@dataclass(frozen=True, kw_only=True)
class StorePromises:
    """What an object store promises beyond the contract. A promise that is not made changes what is asserted.

    Attributes:
        is_atomic: Of many puts at one time exactly one wins. Some test servers check the condition and then write.
        travels: It can be pickled; one that was opened with ``storage_options`` must refuse.
    """

    is_atomic: bool = True
    travels: bool = True


class ObjectStoreSuite(StandardSuite, standard=True):
    """Standard tests that every object store passes.

    Subclass it, under a name that begins with ``Test``, in a test module of the connector's:

        class TestMyStore(ObjectStoreSuite):
            promises = StorePromises(travels=False)

            @pytest.fixture
            def store(self):
                return open_object_store("my://fresh/location", {"key": ...})
    """

    promises: ClassVar[StorePromises] = StorePromises()
    """What the store promises."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        """A store at a fresh location; override it."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a fixture store")

    @staticmethod
    def keys(store: ObjectStore, prefix: str = "") -> list[str]:
        """The keys of a listing, as it gives them."""
        return [info.key for info in store.list(prefix)]

    def test_it_is_an_object_store(self, store: ObjectStore) -> None:
        assert isinstance(store, ObjectStore)
        assert not store.uri.endswith("/")
        assert canonical_uri(store.uri) == store.uri, "one place has one spelling, wherever it is shown or compared"

    def test_what_was_put_is_read_back(self, store: ObjectStore) -> None:
        store.put_if_absent("folder/object.bin", bytes(range(256)))
        assert store.get("folder/object.bin") == bytes(range(256))

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        store.put_if_absent("empty", b"")
        assert store.get("empty") == b""
        assert [info.size for info in store.list()] == [0]

    def test_a_second_put_is_refused_and_changes_nothing(self, store: ObjectStore) -> None:
        store.put_if_absent("key", b"first")
        with pytest.raises(ObjectExistsError) as caught:
            store.put_if_absent("key", b"first")
        assert caught.value.uri.endswith("/key")
        assert store.get("key") == b"first"

    def test_an_object_of_40_mib_is_read_back_and_not_overwritten(self, store: ObjectStore) -> None:
        data = os.urandom(40 * 2**20)
        store.put_if_absent("large", data)
        with pytest.raises(ObjectExistsError):
            store.put_if_absent("large", data[::-1])
        assert store.get("large") == data
        assert [info.size for info in store.list()] == [len(data)]

    def test_an_absent_object_is_reported_by_its_uri(self, store: ObjectStore) -> None:
        store.put_if_absent("there/too", b"")
        with pytest.raises(ObjectNotFoundError) as caught:
            store.get("there/not")
        assert caught.value.uri.endswith("there/not")
        assert caught.value.uri in str(caught.value)

    def test_a_fresh_location_lists_as_empty(self, store: ObjectStore) -> None:
        assert self.keys(store) == []
        assert self.keys(store, "any/") == []

    def test_a_listing_has_what_begins_with_the_prefix_sorted_by_key(self, store: ObjectStore) -> None:
        for key in ("b", "a/z", "a/b/c", "a-b", "ab", "a/B", "é", "Z"):
            store.put_if_absent(key, key.encode())
        assert self.keys(store) == sorted(["b", "a/z", "a/b/c", "a-b", "ab", "a/B", "é", "Z"])
        assert self.keys(store, "a") == ["a-b", "a/B", "a/b/c", "a/z", "ab"]
        assert self.keys(store, "a/") == ["a/B", "a/b/c", "a/z"]
        assert self.keys(store, "a/b/c") == ["a/b/c"]
        assert self.keys(store, "a/b/c/") == []
        assert [info.size for info in store.list("é")] == [2]

    def test_a_listing_of_more_than_a_thousand_is_whole(self, store: ObjectStore) -> None:
        expected = [f"many/{number:05d}" for number in range(1005)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: store.put_if_absent(key, b""), expected))
        store.put_if_absent("other", b"")
        assert self.keys(store, "many/") == expected

    def test_odd_keys_name_their_own_objects(self, store: ObjectStore) -> None:
        for key in _ODD_KEYS:
            store.put_if_absent(key, key.encode())
            with pytest.raises(ObjectExistsError):
                store.put_if_absent(key, b"again")
        assert self.keys(store) == sorted(_ODD_KEYS)
        for key in _ODD_KEYS:
            assert store.get(key) == key.encode()
            assert self.keys(store, key) == [key]
            store.delete(key)
        assert self.keys(store) == []

    @pytest.mark.parametrize("verb", ["get", "delete", "path", "address", "put_if_absent"])
    def test_a_key_that_not_every_store_can_have_is_refused(self, store: ObjectStore, verb: str) -> None:
        more = (b"",) if verb == "put_if_absent" else ()
        for key in _BAD_KEYS:
            with pytest.raises(StorageError):
                getattr(store, verb)(key, *more)

    def test_delete_removes_one_object_and_an_absent_one_is_no_error(self, store: ObjectStore) -> None:
        for key in ("a", "ab", "b/c"):
            store.put_if_absent(key, b"")
        for _ in range(2):
            store.delete("a")
        assert self.keys(store) == ["ab", "b/c"]
        with pytest.raises(ObjectNotFoundError):
            store.get("a")
        store.put_if_absent("a", b"anew")
        assert store.get("a") == b"anew"

    def test_times_are_of_one_clock_and_in_utc(self, store: ObjectStore) -> None:
        store.put_if_absent("first", b"")
        store.put_if_absent("second", b"")
        first, second = store.list()
        assert first.last_modified.utcoffset() == timedelta(0)
        assert first.last_modified <= second.last_modified

    def test_the_probe_passes_and_leaves_nothing(self, store: ObjectStore) -> None:
        entry = store.probe()
        assert entry.key.startswith(PROBE_PREFIX)
        assert self.keys(store) == []

    def test_threads_share_one_store(self, store: ObjectStore) -> None:
        def use(number: int) -> bytes:
            store.put_if_absent(f"t/{number}", str(number).encode())
            return store.get(f"t/{number}")

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(use, range(40))) == [str(number).encode() for number in range(40)]

    def test_of_many_puts_of_one_key_one_wins(self, store: ObjectStore) -> None:
        def put(number: int) -> int | None:
            try:
                store.put_if_absent("race", str(number).encode())
            except ObjectExistsError:
                return None
            return number

        with ThreadPoolExecutor(8) as pool:
            winners = [number for number in pool.map(put, range(16)) if number is not None]
        assert int(store.get("race")) in winners
        if self.promises.is_atomic:
            assert len(winners) == 1

    def test_a_forked_child_uses_the_store_as_its_parent_does(self, store: ObjectStore) -> None:
        store.put_if_absent("parent", b"of both")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what is tested
            child = multiprocessing.get_context("fork").Process(target=_use_in_child, args=(store,))
            child.start()
        child.join(30)
        assert child.exitcode == 0
        assert store.get("child") == b"of both"
        store.put_if_absent("parent again", b"")

    def test_the_filesystem_reads_ranges_of_objects(self, store: ObjectStore) -> None:
        store.put_if_absent("data/file.bin", b"0123456789")
        path = store.path("data/file.bin")
        assert store.filesystem.cat_file(path, start=2, end=5) == b"234"
        with store.filesystem.open(path, "rb") as file:
            file.seek(-3, os.SEEK_END)
            assert file.read() == b"789"

    def test_the_filesystem_sees_what_was_put_after_it_looked(self, store: ObjectStore) -> None:
        store.put_if_absent("data/first", b"")
        folder = store.path("data/first").rpartition("/")[0]
        assert len(store.filesystem.ls(folder, detail=False)) == 1
        store.put_if_absent("data/second", b"")
        assert len(store.filesystem.ls(folder, detail=False)) == 2

    def test_it_travels_by_pickle_or_says_why_not(self, store: ObjectStore) -> None:
        store.put_if_absent("key", b"value")
        if self.promises.travels:
            assert pickle.loads(pickle.dumps(store)).get("key") == b"value"  # noqa: S301
        else:
            with pytest.raises(ConfigurationError, match="storage_options would travel"):
                pickle.dumps(store)


def _use_in_child(store: ObjectStore) -> None:
    store.put_if_absent("child", store.get("parent"))
