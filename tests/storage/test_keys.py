from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core.errors import StorageError
from checkmaite_storage import LocalObjectStore, check_key

HOSTILE = [
    "",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a//b",
    "a/",
    ".",
    "./a",
    ".tmp-1",
    "a/.hidden",
    "a\0b",
    "a\nb",
    "a\\b",
    "a\x7fb",
    "a\u202eb",
    "\ud800",
    "x" * 256,
    "/".join(["ab"] * 400),
    None,
    7,
    b"a",
]


@pytest.mark.parametrize("key", HOSTILE, ids=lambda key: repr(key)[:30])
def test_a_key_that_could_lead_elsewhere_is_refused_by_every_method(store: LocalObjectStore, key: str) -> None:
    for call in (check_key, store.get, store.delete, store.path, lambda key: store.put_if_absent(key, b"")):
        with pytest.raises(StorageError, match="cannot name an object"):
            call(key)


@pytest.mark.parametrize("key", ["a", "inbox/job-1.run", "schemas/t/größe.json", "a b/c", "v1..2", "a-_.b"])
def test_ordinary_keys_are_taken(key: str) -> None:
    assert check_key(key) == key


@given(st.text(max_size=30) | st.text(alphabet="a./\\~\0", max_size=12))
def test_whatever_is_accepted_stays_below_the_root(key: str) -> None:
    store = LocalObjectStore("/srv/root")
    try:
        path = store.path(key)
    except StorageError:
        return
    assert os.path.normpath(path) == path
    assert path.startswith("/srv/root/")
    assert len(path) > len("/srv/root/")
