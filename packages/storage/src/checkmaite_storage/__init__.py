"""Storage connectors of checkmaite: one small object store, whose writes are put-if-absent; and a log on it.

Example:
    >>> import tempfile
    >>> from checkmaite_storage import open_object_store
    >>> store = open_object_store(tempfile.mkdtemp())
    >>> store.put_if_absent("notes/hello.txt", b"hello")
    >>> store.get("notes/hello.txt")
    b'hello'
"""

from __future__ import annotations

from checkmaite_storage._at_once import for_each
from checkmaite_storage._commit_log import CommitLog
from checkmaite_storage._commit_log_format import Batch, Epoch
from checkmaite_storage._commit_log_reader import Contents
from checkmaite_storage._commit_log_writer import LogWriter
from checkmaite_storage._interface import Connector, ObjectInfo, ObjectStore
from checkmaite_storage._keys import check_key
from checkmaite_storage._local import LocalObjectStore, local_connector
from checkmaite_storage._opening import open_object_store

__all__ = [
    "Batch",
    "CommitLog",
    "Connector",
    "Contents",
    "Epoch",
    "LocalObjectStore",
    "LogWriter",
    "ObjectInfo",
    "ObjectStore",
    "check_key",
    "for_each",
    "local_connector",
    "open_object_store",
]
