"""Workers do not grow unnoticed."""

from __future__ import annotations

import dataclasses

import pytest

from footprints import PAGE, WORKERS, Footprint, growth, measured_here, name_of, read_table, table, weigh_all

pytestmark = pytest.mark.packages

ONE = Footprint("checkmaite-ray", 49, 480.0, 1000, 500.0, 1.5)


def test_no_worker_has_grown_beyond_what_the_page_says() -> None:
    if not measured_here(PAGE.read_text()):
        pytest.skip("NO WORKER WAS WEIGHED: the page has the figures of another Python")
    # Those of ray-simple have the same connectors on fewer packages: one of them is enough.
    workers = [choice for choice in WORKERS if choice.backend == "ray" or not choice.connectors]
    assert growth(read_table(PAGE.read_text()), weigh_all(0, workers)) == []


def test_the_page_has_every_worker() -> None:
    assert list(read_table(PAGE.read_text())) == [name_of(choice) for choice in WORKERS]


def test_a_table_is_read_back_as_it_was_written() -> None:
    assert read_table(table([ONE])) == {"checkmaite-ray": ONE}


@pytest.mark.parametrize(
    ("figure", "value", "said"),
    [
        ("distributions", 50, "distributions 49 -> 50 (may grow by 0%)"),
        ("megabytes", 500.0, "megabytes 480 -> 500 (may grow by 3%)"),
        ("modules", 1040, "modules 1000 -> 1040 (may grow by 3%)"),
        ("imports", 2.0, "imports 1.5 -> 2 (may grow by 25%)"),
    ],
)
def test_growth_beyond_the_tolerance_is_named(figure: str, value: float, said: str) -> None:
    grown = dataclasses.replace(ONE, **{figure: value})
    assert growth({ONE.worker: ONE}, [grown]) == [f"checkmaite-ray: {said}"]


@pytest.mark.parametrize(("figure", "value"), [("megabytes", 490.0), ("modules", 1020), ("imports", 0.0)])
def test_growth_within_the_tolerance_is_not(figure: str, value: float) -> None:
    assert growth({ONE.worker: ONE}, [dataclasses.replace(ONE, **{figure: value})]) == []


def test_a_worker_without_a_baseline_is_named() -> None:
    assert growth({}, [ONE]) == ["checkmaite-ray has no baseline"]
