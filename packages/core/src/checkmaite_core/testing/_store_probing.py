"""Standard tests of a result store: probes, by which one process shows another that both mean the same place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from checkmaite_core.errors import RunContractError
from checkmaite_core.naming import new_probe_token
from checkmaite_core.store import AnalyticsStoreConfig, ResultStore, open_result_store
from checkmaite_core.testing._bundles import make_bundle
from checkmaite_core.testing._store_base import StoreTests
from checkmaite_core.testing._waiting import DEADLINE

__all__ = ["ProbingTests"]

_OTHER_PROCESS = """
import sys
from checkmaite_core.store import AnalyticsStoreConfig, open_result_store

open_result_store(AnalyticsStoreConfig.model_validate_json(sys.stdin.read())).probe(sys.argv[1])
"""


class ProbingTests(StoreTests, standard=True):
    """What a preflight asks of a store."""

    def test_a_probe_is_seen_at_its_own_location_until_it_is_removed(
        self, store: ResultStore, store_config: AnalyticsStoreConfig
    ) -> None:
        mine, other = new_probe_token(), new_probe_token()
        assert not store.has_probe(mine)
        store.probe(mine)
        store.probe(mine)  # a repeat of a call whose answer was lost
        again = open_result_store(store_config)
        assert (again.has_probe(mine), again.has_probe(other)) == (True, False)
        elsewhere = open_result_store(store_config.model_copy(update={"uri": f"{store_config.uri}-elsewhere"}))
        assert not elsewhere.has_probe(mine)
        for _ in range(2):
            again.remove_probe(mine)
            assert not store.has_probe(mine)
        again.close()
        elsewhere.close()

    def test_a_probe_of_another_process_is_seen_if_the_store_is_durable(
        self, store: ResultStore, store_config: AnalyticsStoreConfig
    ) -> None:
        token = new_probe_token()
        if not self.promises.is_durable:
            # It lives in this process: one that is closed, and opened again here, is what comes nearest.
            store.probe(token)
            store.close()
            assert open_result_store(store_config).has_probe(token)
            return
        other = subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", _OTHER_PROCESS, token],
            input=store_config.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert other.returncode == 0, other.stderr
        assert store.has_probe(token)

    def test_probes_change_no_answer_and_found_nothing_that_stands_in_a_commits_way(self, store: ResultStore) -> None:
        first, second = new_probe_token(), new_probe_token()
        store.probe(first)
        assert (store.tables(), self.events(store)) == (["runs"], [])
        assert store.commit(make_bundle(store, "job-1", "run-1", {"scores": [{"score": 0.5}]})).created
        store.probe(second)
        store.maintain()
        assert store.has_probe(second)
        store.remove_probe(first)
        assert self.column(store, "scores", "score") == [0.5]
        assert self.events(store) == ["job-1"]

    def test_a_probe_has_a_token_and_no_path(self, store: ResultStore) -> None:
        for name in ("", "../inbox", "x" * 32, f"{new_probe_token()}/x", new_probe_token().upper() + "A"):
            for call in (store.probe, store.has_probe, store.remove_probe):
                with pytest.raises(RunContractError):
                    call(name)
