"""What becomes a key or a table's name, and what is refused; identities that never change."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from checkmaite_core.errors import RunContractError
from checkmaite_core.naming import check_event_id, check_run_uid, check_table_name, compute_run_uid, new_job_id

HARMLESS_KEY = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
HARMLESS_TABLE = set("abcdefghijklmnopqrstuvwxyz0123456789_")
ANYTHING = st.one_of(st.text(), st.text(alphabet="./\\a\x00\n;'\"%~ é"), st.none(), st.integers(), st.binary())


@given(ANYTHING)
@example("a\n")
@example("a..b")
@example("..")
@example("-rf")
@example("٣")
@example("a" * 129)
def test_no_hostile_text_passes_as_a_key(value: object) -> None:
    for check in (check_run_uid, check_event_id):
        try:
            passed = check(value)
        except RunContractError:
            continue
        assert passed == value
        assert set(passed) <= HARMLESS_KEY
        assert 1 <= len(passed) <= 128
        assert passed[0].isalnum()
        assert ".." not in passed


@given(st.text(alphabet=sorted(HARMLESS_KEY), min_size=1, max_size=128))
def test_every_harmless_text_passes_as_a_key(value: str) -> None:
    if value[0].isalnum() and ".." not in value:
        assert check_run_uid(value) == value


@given(ANYTHING)
@example("Scores")
@example("scores\n")
@example('x"; DROP TABLE runs; --')
@example("1st")
@example("a" * 64)
def test_no_hostile_text_passes_as_a_table(value: object) -> None:
    try:
        passed = check_table_name(value)
    except RunContractError:
        return
    assert set(passed) <= HARMLESS_TABLE
    assert "a" <= passed[0] <= "z"
    assert len(passed) <= 63
    assert passed != "runs"


def test_the_stores_own_table_is_reserved() -> None:
    with pytest.raises(RunContractError, match="reserved"):
        check_table_name("runs")
    assert check_table_name("runs_of_mine") == "runs_of_mine"


def test_identities_have_not_changed_since_they_were_first_stored() -> None:
    """Golden values: a change here makes every stored run new work."""
    inputs = {"models": ["m1", "m2"], "datasets": ["d"], "metrics": []}
    assert compute_run_uid("pkg.Cap", {"level": 1, "ratio": 0.1, "label": "é"}, inputs) == (
        "500a593726b5a9620d7046438ed5a26b1e80fcee5862d92ac70787eadb18256d"
    )
    assert compute_run_uid("c", {}, {}) == "896f03eed293eb29ae6f8cb3048cd6eaa436e832c11e8f52c34ad021ac964326"


def test_identity_depends_on_all_that_was_run_and_not_on_the_order_of_settings() -> None:
    base: dict[str, Any] = {"capability_id": "c", "config": {"a": 1, "b": 2}, "inputs": {"models": ["x", "y"]}}
    one = compute_run_uid(**base)
    assert compute_run_uid(**{**base, "config": {"b": 2, "a": 1}}) == one
    for change in ({"capability_id": "d"}, {"config": {"a": 1}}, {"inputs": {"models": ["y", "x"]}}):
        assert compute_run_uid(**{**base, **change}) != one
    assert compute_run_uid("c", {}, {"models": ["x"]}) != compute_run_uid("c", {}, {"datasets": ["x"]})


def test_job_ids_are_keys_never_repeat_and_sort_by_age() -> None:
    ids = [new_job_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(check_event_id(each) == each for each in ids)
    assert [each[:16] for each in ids] == sorted(each[:16] for each in ids)


def test_a_config_with_sets_has_one_identity_in_every_process() -> None:
    """Text in sets has another order in each process, unless the hash seed is fixed."""
    script = (
        "from checkmaite_core.run import *\n"
        "from checkmaite_core.run import CapabilityConfig as C, CapabilityOutputs as O, CapabilityRun\n"
        "class Config(C):\n    labels: frozenset[str]\n    nested: dict[str, set[int]]\n"
        "config = Config(labels={'seven', 'eight', 'nine', 'ten'}, nested={'x': {3, 1, 2}})\n"
        "run = CapabilityRun(capability_id='c', config=config, dataset_metadata=[], model_metadata=[],"
        " metric_metadata=[], outputs=O())\n"
        "print(run.run_uid)"
    )
    uids = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(uids) == 1
