"""Conformance suites for those who write job backends, result stores and capabilities, and fakes for unit tests.

Needs ``pip install "checkmaite-core[testing]"`` (pytest and hypothesis).
"""

from checkmaite_core.testing._backend_base import BackendPromises
from checkmaite_core.testing._backend_suite import JobBackendSuite
from checkmaite_core.testing._check import CheckedRun, check_capability
from checkmaite_core.testing._memory_store import MEMORY_STORE, MemoryResultStore
from checkmaite_core.testing._plugins import installed_plugins, write_distribution
from checkmaite_core.testing._standard import StandardSuite, allow_override
from checkmaite_core.testing._store_base import StorePromises
from checkmaite_core.testing._store_suite import ResultStoreSuite
from checkmaite_core.testing._thread_backend import THREAD_BACKEND, ThreadBackend
from checkmaite_core.testing._waiting import eventually, wait_for_file

__all__ = [
    "MEMORY_STORE",
    "THREAD_BACKEND",
    "BackendPromises",
    "CheckedRun",
    "JobBackendSuite",
    "MemoryResultStore",
    "ResultStoreSuite",
    "StandardSuite",
    "StorePromises",
    "ThreadBackend",
    "allow_override",
    "check_capability",
    "eventually",
    "installed_plugins",
    "wait_for_file",
    "write_distribution",
]
