"""The conformance suite of job backends."""

from __future__ import annotations

from checkmaite_core.testing._backend_cancel import CancelTests
from checkmaite_core.testing._backend_groups import GroupTests
from checkmaite_core.testing._backend_leavings import LeavingsTests
from checkmaite_core.testing._backend_lifecycle import LifecycleTests
from checkmaite_core.testing._backend_outcomes import OutcomeTests
from checkmaite_core.testing._backend_preflight import PreflightTests
from checkmaite_core.testing._backend_records import RecordTests
from checkmaite_core.testing._backend_recovery import RecoveryTests
from checkmaite_core.testing._backend_retries import RetryTests
from checkmaite_core.testing._backend_settling import SettlingTests
from checkmaite_core.testing._backend_sharing import SharingTests

__all__ = ["JobBackendSuite"]


class JobBackendSuite(
    LifecycleTests,
    OutcomeTests,
    CancelTests,
    LeavingsTests,
    RecordTests,
    GroupTests,
    SharingTests,
    RetryTests,
    RecoveryTests,
    SettlingTests,
    PreflightTests,
    standard=True,
):
    """Standard tests that every job backend passes.

    Subclass it, under a name that begins with ``Test``, in a test module of the backend's:

        class TestMyBackend(JobBackendSuite):
            kind = "my-backend"
            promises = BackendPromises(has_reattach=False, ...)

            @pytest.fixture(scope="class")
            @classmethod
            def options(cls):
                return {"address": "local"}

            @pytest.fixture(scope="class")
            @classmethod
            def store_config(cls, tmp_path_factory):
                return AnalyticsStoreConfig(uri=str(tmp_path_factory.mktemp("store") / "store"))

    The promises change what is asserted; no test is skipped. Jobs and tests talk through files, so the workers must
    see the folder of ``tmp_path``, and they need ``checkmaite-core[testing]``.
    """
