"""The page "What can go wrong, and what you get" promises nothing that no test shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from code_pages import ROOT, names_in

PAGE = ROOT / "docs" / "what-can-go-wrong.md"
HEADING = ["what goes wrong", "what you get", "what to do", "shown by"]
TEST = re.compile(r"`([\w/]+\.py)(?:::([\w:]+))?`")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in table if row != HEADING and not set("".join(row)) <= {"-"}]


def file_of(named: str) -> Path:
    """A test's file, as the page names it: below ``tests``, or in the conformance suites."""
    return ROOT / ("packages/core/src/checkmaite_core" if named.startswith("testing/") else "tests") / named


def missing_in(cell: str) -> list[str]:
    return [
        f"{named}::{test}"
        for named, test in TEST.findall(cell)
        if not file_of(named).is_file() or (test and test not in set(names_in(file_of(named))))
    ]


def test_the_page_has_its_rows() -> None:
    assert len(rows()) > 50
    assert {len(row) for row in rows()} == {len(HEADING)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_every_row_is_shown_by_tests_that_are_there(row: list[str]) -> None:
    shown_by = row[-1]
    assert TEST.sub("", shown_by).strip(", ") == "", "only tests stand in the last column"
    assert TEST.search(shown_by)
    assert missing_in(shown_by) == []


@pytest.mark.parametrize(
    "named", ["`core/test_not_there.py`", "`core/test_peer.py::test_not_there`", "`testing/_not_there.py`"]
)
def test_a_test_that_is_not_there_is_noticed(named: str) -> None:
    assert missing_in(named) != []


def test_every_row_says_all_it_has_to() -> None:
    assert [row for row in rows() if not all(row)] == []
