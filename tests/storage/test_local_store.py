from __future__ import annotations

import os
import pickle
import platform
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core.errors import (
    ConditionalPutError,
    ConfigurationError,
    CorruptObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    PluginNotFoundError,
    UnknownOptionError,
)
from checkmaite_storage import LocalObjectStore, ObjectInfo, ObjectStore, open_object_store
from checkmaite_storage._probe import probe


def keys(store: LocalObjectStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000], ids=["empty", "one byte", "a megabyte"])
def test_what_was_put_is_read_back(store: LocalObjectStore, way: str, data: bytes) -> None:
    store.put_if_absent("folder/object", data)
    assert store.get("folder/object") == data
    assert keys(store) == ["folder/object"]


def test_a_second_put_is_refused_and_changes_nothing(store: LocalObjectStore, way: str) -> None:
    store.put_if_absent("a/b", b"first")
    with pytest.raises(ObjectExistsError, match="a/b exists") as caught:
        store.put_if_absent("a/b", b"second")
    assert caught.value.uri == f"{store.uri}/a/b"
    assert store.get("a/b") == b"first"
    assert os.listdir(Path(store.path("a/b")).parent) == ["b"]


def test_reading_and_listing_create_nothing(store: LocalObjectStore, root: Path) -> None:
    assert keys(store) == []
    with pytest.raises(ObjectNotFoundError, match="there is no object"):
        store.get("a")
    store.delete("a/b")
    assert not root.exists()
    assert not root.parent.exists()


def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(store: LocalObjectStore) -> None:
    store.put_if_absent("a", b"1")
    store.delete("a")
    store.delete("a")
    assert keys(store) == []
    store.put_if_absent("a", b"2")
    assert store.get("a") == b"2"


@pytest.mark.parametrize(
    ("umask", "folders", "files"), [(0o002, 0o775, 0o664), (0o022, 0o755, 0o644), (0o077, 0o700, 0o600)]
)
def test_the_umask_says_who_may_read_files_and_folders(
    store: LocalObjectStore, root: Path, way: str, umask: int, folders: int, files: int
) -> None:
    before = os.umask(umask)
    try:
        store.put_if_absent("a/b/c", b"secret")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [root.parent, root, *root.rglob("*")]}
    assert modes == {"made at": folders, "first write": folders, "a": folders, "b": folders, "c": files}


def test_files_and_folders_have_the_group_of_a_setgid_folder(
    store: LocalObjectStore, root: Path, way: str, tmp_path: Path
) -> None:
    own = 54321 if os.geteuid() == 0 else os.getegid()
    group = next((each for each in os.getgroups() if each != os.getegid()), own)
    os.chown(tmp_path, -1, group)
    tmp_path.chmod(0o2775)
    store.put_if_absent("a/b", b"")
    assert {path.stat().st_gid for path in [root.parent, root, *root.rglob("*")]} == {group}


names = st.text(alphabet="ab-._", min_size=1, max_size=3).filter(lambda name: not name.startswith("."))


@given(
    st.sets(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=12), st.sampled_from(["", "a", "a/", "b"])
)
def test_a_listing_has_every_key_with_the_prefix_sorted(
    tmp_path_factory: pytest.TempPathFactory, wanted: set[str], prefix: str
) -> None:
    # A file and a folder cannot have one name on a disk: keep those that can lie side by side.
    kept = {key for key in wanted if not any(other.startswith(key + "/") for other in wanted)}
    store = LocalObjectStore(tmp_path_factory.mktemp("listing"))
    for key in kept:
        store.put_if_absent(key, b"x")
    assert keys(store, prefix) == sorted(key for key in kept if key.startswith(prefix))


def test_a_listing_tells_size_and_the_time_of_the_write(store: LocalObjectStore) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=50)  # file times come from a coarser clock
    store.put_if_absent("a", b"12345")
    (info,) = store.list()
    assert info.size == 5
    assert before <= info.last_modified <= datetime.now(UTC)


def test_times_of_objects_written_one_after_the_other_are_in_that_order(store: LocalObjectStore, way: str) -> None:
    for number in range(100):
        store.put_if_absent(f"{number:03}", b"x")
    times = [info.last_modified for info in store.list()]
    assert times == sorted(times)
    release = tuple(map(int, platform.release().split(".")[:2]))
    # Older kernels stamp files by the tick, where a few in a row can share one.
    assert len(set(times)) == 100 or release < (6, 13)


def test_things_that_are_not_objects_are_not_listed(store: LocalObjectStore, root: Path) -> None:
    store.put_if_absent("a/real", b"1")
    (root / "a" / ".tmp-leftover").write_bytes(b"half")
    (root / ".DS_Store").write_bytes(b"")
    (root / "a" / "link").symlink_to("/etc/passwd")
    (root / "linked").symlink_to("/etc")
    os.mkfifo(root / "a" / "pipe")
    Path(os.fsdecode(os.fsencode(root) + b"/a/\xff")).write_bytes(b"")
    assert keys(store) == ["a/real"]


def test_links_inside_the_root_are_never_followed(store: LocalObjectStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.put_if_absent("x", b"")
    (root / "inbox").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    for call in (
        lambda: store.put_if_absent("inbox/new", b"1"),
        lambda: store.put_if_absent("inbox/deep/new", b"1"),
        lambda: store.get("inbox/secret"),
        lambda: store.delete("inbox/secret"),
        lambda: list(store.list("inbox/")),
        lambda: store.get("file"),
    ):
        with pytest.raises(CorruptObjectError, match="symbolic link"):
            call()
    with pytest.raises(ObjectExistsError):
        store.put_if_absent("file", b"1")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_pipe_in_an_objects_place_is_named_and_not_waited_for(store: LocalObjectStore, root: Path) -> None:
    store.put_if_absent("x", b"")
    os.mkfifo(root / "pipe")
    with pytest.raises(CorruptObjectError, match="not a regular file"):
        store.get("pipe")


def test_a_file_in_a_folders_place_is_named(store: LocalObjectStore) -> None:
    store.put_if_absent("a", b"")
    with pytest.raises(CorruptObjectError, match="a/b"):
        store.put_if_absent("a/b", b"")


def test_the_probe_gives_the_servers_time_and_leaves_nothing(store: LocalObjectStore) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=50)
    assert before <= store.probe().last_modified <= datetime.now(UTC)
    assert keys(store) == []


def test_the_probe_refuses_a_store_that_overwrites(root: Path) -> None:
    class Overwriting(LocalObjectStore):
        """Stands in for a server that ignores the condition; local disk has no way to do that."""

        def put_if_absent(self, key: str, data: bytes) -> None:
            self.delete(key)
            super().put_if_absent(key, data)

    store = Overwriting(root)
    with pytest.raises(ConditionalPutError, match="does not honour put-if-absent"):
        probe(store)
    assert keys(store) == []


@pytest.mark.parametrize("name", ["plain", "with space", "größe-日本", "100%25", "a#b?c", "s3:odd"])
def test_paths_and_file_uris_name_the_same_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    by_path, by_uri = open_object_store(str(folder)), open_object_store(folder.as_uri())
    by_path.put_if_absent("a", b"1")
    assert by_uri.get("a") == b"1"
    assert by_path.uri == by_uri.uri == str(folder)
    assert open_object_store(by_path.uri).get("a") == b"1"
    assert by_path.address("a") == str(folder / "a")


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_object_store("results")
    monkeypatch.chdir("/")
    store.put_if_absent("a", b"1")
    assert (tmp_path / "results" / "a").read_bytes() == b"1"


@pytest.mark.parametrize("uri", ["file://host/x", "file:///x?y=1", "file:///x#y", "file:relative", "", "  ", "a\0b"])
def test_a_location_that_cannot_be_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError):
        open_object_store(uri)


def test_a_file_in_the_roots_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="is not a folder"):
        open_object_store(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("scheme", "library", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")]
)
def test_a_scheme_without_its_connector_names_what_to_install(
    scheme: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(PluginNotFoundError, match=rf'pip install "checkmaite-storage\[{extra}\]"'):
        open_object_store(f"{scheme}://bucket/prefix")


def test_options_that_local_disk_does_not_have_are_refused_by_name_and_not_by_value(tmp_path: Path) -> None:
    with pytest.raises(UnknownOptionError, match="'anon', 'secret'") as caught:
        open_object_store(str(tmp_path), {"anon": False, "secret": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_store_travels_by_pickle(store: LocalObjectStore) -> None:
    store.put_if_absent("a", b"1")
    assert pickle.loads(pickle.dumps(store)).get("a") == b"1"


def test_it_is_an_object_store_and_its_filesystem_reads_ranges(store: LocalObjectStore) -> None:
    assert isinstance(store, ObjectStore)
    assert store.is_local
    store.put_if_absent("a/b", b"0123456789")
    assert store.filesystem.cat_file(store.path("a/b"), start=3, end=6) == b"345"


def test_importing_the_package_does_not_import_fsspec() -> None:
    code = "import sys, checkmaite_storage; print('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_listing_ten_thousand_objects_costs_little_more_than_looking_at_the_files(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number:064d}.run").touch()
    store = LocalObjectStore(tmp_path)

    def measure(call: object) -> float:
        start = time.perf_counter()
        assert len(list(call())) == 10_000  # type: ignore[operator]
        return time.perf_counter() - start

    def floor() -> list[tuple[str, int]]:
        return [(entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(tmp_path)]

    ratios = [measure(store.list) / measure(floor) for _ in range(5)]
    assert min(ratios) < 8, ratios


def test_an_entry_of_a_listing_is_a_plain_value() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert ObjectInfo("a", 1, moment) == ObjectInfo("a", 1, moment)
