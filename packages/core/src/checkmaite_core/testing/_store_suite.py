"""The conformance suite of result stores."""

from __future__ import annotations

from checkmaite_core.testing._store_commit import CommitTests
from checkmaite_core.testing._store_history import HistoryTests
from checkmaite_core.testing._store_probing import ProbingTests
from checkmaite_core.testing._store_reading import ReadingTests
from checkmaite_core.testing._store_sharing import SharingTests
from checkmaite_core.testing._store_staging import StagingTests
from checkmaite_core.testing._store_writing import WritingTests

__all__ = ["ResultStoreSuite"]


class ResultStoreSuite(
    CommitTests, ReadingTests, SharingTests, HistoryTests, ProbingTests, StagingTests, WritingTests, standard=True
):
    """Standard tests that every result store passes.

    Subclass it, under a name that begins with ``Test``, in a test module of the store's:

        class TestMyStore(ResultStoreSuite):
            promises = StorePromises(has_sql=True, is_durable=True)

            @pytest.fixture
            def store_config(self, tmp_path):
                return AnalyticsStoreConfig(backend="my-store", uri=str(tmp_path / "store"))

    The promises change what is asserted; no test is skipped.
    """
