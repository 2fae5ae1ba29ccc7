"""Preflight's report: a table that a person can act on, values for programs, and the error that it becomes."""

from __future__ import annotations

import json
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core.errors import PreflightError
from checkmaite_core.preflight import Check, NodeKind, PreflightReport

WORKER = "raycluster-team-a-cpu-worker-abcde"
OK = Check(section="code", subject="versions", level="ok", node=WORKER, found="they agree")
RED = Check(
    section="code",
    subject="demo.Brightness",
    level="error",
    node="gpu-1",
    found="the shared library libGL.so.1 is missing there",
    mender="image",
    remedy="install it in the image:\napt-get install -y libgl1",
)
WARNING = Check(
    section="inputs",
    subject="datasets[0] of job",
    level="warning",
    node="client",
    found="23 MB travel with each job",
    mender="client",
    remedy="pass it by reference",
)


def report(*checks: Check, **more: object) -> PreflightReport:
    nodes = (NodeKind(names=(WORKER, "b"), resources="8 CPU"), NodeKind(names=("gpu-1",), resources="1 GPU"))
    return PreflightReport(
        backend="ray", address="ray://head:10001", store="s3://b/x", nodes=nodes, checks=checks, **more
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_report", "expected"),
    [
        (report(OK), 0),
        (report(OK, WARNING), 0),
        (report(OK, RED), 1),
        (report(RED, looked=False), 2),
        (report(looked=False), 2),
    ],
    ids=["in-order", "warning", "error", "not-looked-and-red", "not-looked"],
)
def test_the_exit_code_says_whether_jobs_can_run(given_report: PreflightReport, expected: int) -> None:
    assert given_report.exit_code == expected
    assert json.loads(given_report.model_dump_json())["exit_code"] == expected


def test_a_red_line_says_where_what_who_mends_it_and_what_to_type() -> None:
    lines = report(OK, RED).table(80).split("\n")
    start = next(index for index, line in enumerate(lines) if "ERROR" in line)
    assert re.match(r"  ERROR +B +demo.Brightness: the shared library", lines[start])
    assert lines[start + 2].strip() == "-> the workers' image: install it in the image:"
    assert lines[start + 3].strip() == "apt-get install -y libgl1"


def test_the_letters_of_the_lines_are_explained_above_them() -> None:
    table = report(OK, RED).table(100)
    assert f"  A        {WORKER} and 1 more like it: 8 CPU" in table
    assert "  B        gpu-1: 1 GPU" in table


def test_the_worst_of_a_section_comes_first_and_the_sections_in_their_order() -> None:
    table = report(OK, RED, WARNING).table(80)
    assert table.index("ERROR") < table.index("versions")
    assert table.index("\ncode\n") < table.index("\ninputs\n")


def test_what_was_found_alike_on_several_nodes_is_said_once() -> None:
    table = report(OK, OK.model_copy(update={"node": "gpu-1"})).table(80)
    assert table.count("they agree") == 1
    assert re.search(r"ok +A B +versions", table)


def test_a_node_without_a_letter_is_named() -> None:
    assert "demo.Brightness (on b): the" in report(RED.model_copy(update={"node": "b"})).table(100)


def test_of_many_nodes_without_a_letter_some_are_named() -> None:
    table = report(*(RED.model_copy(update={"node": f"n{index}"}) for index in range(200))).table(100)
    assert "demo.Brightness (on n0, n1, n2, n3 and 196 more): the" in table
    assert table.split("\n")[-1].startswith("1 error,")


def test_the_last_line_counts_and_says_whose_turn_it_is() -> None:
    last = report(OK, RED, WARNING).table(100).split("\n")[-1]
    assert last == "1 error, 1 warning, 1 in order. To be mended: the workers' image (1)."


def test_much_that_is_in_order_is_counted_and_not_shown() -> None:
    many = [OK.model_copy(update={"subject": f"s3://bucket/{index}", "found": f"{index} MB"}) for index in range(50)]
    table = report(*many).table(80)
    assert "45 more are in order" in table
    assert table.count(" MB") == 5


def test_many_findings_of_one_kind_take_one_line() -> None:
    many = [RED.model_copy(update={"subject": f"/data/{index}"}) for index in range(200)]
    table = report(*many, OK).table(80)
    assert "/data/0 and 199 more: the shared library" in table
    assert table.count("apt-get") == 1
    assert table.split("\n")[-1].startswith("200 errors, 1 in order.")


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300)
WORDS = st.lists(st.text("abc/-_", min_size=1, max_size=12), min_size=1, max_size=40).map(" ".join)


@given(WORDS, WORDS, st.integers(60, 140))
def test_prose_stays_within_the_terminal(found: str, remedy: str, width: int) -> None:
    check = RED.model_copy(update={"found": found, "remedy": remedy})
    assert max(map(len, report(check).table(width).split("\n"))) <= min(width, 100)


@given(TEXTS, TEXTS)
def test_no_text_of_others_can_act_on_the_terminal(found: str, remedy: str) -> None:
    table = report(RED.model_copy(update={"found": found, "remedy": remedy})).table(80)
    assert all(character.isprintable() or character == "\n" for character in table)


def test_what_is_to_be_typed_is_not_broken() -> None:
    typed = 'analytics_store={"backend": "parquet", "uri": "s3://a-bucket-with-a-name/and/a/prefix"}'
    table = report(RED.model_copy(update={"remedy": f"take another place:\n{typed}"})).table(80)
    assert typed in table


def test_a_location_stays_whole_however_long() -> None:
    location = "s3://a-bucket/" + "/".join(f"a-long-folder-name-{number}" for number in range(9))
    assert location in report(RED.model_copy(update={"subject": location})).table(80)


def test_a_report_without_red_lines_lets_the_jobs_be_submitted() -> None:
    report(OK, WARNING).require()


def test_a_report_with_red_lines_becomes_an_error_that_names_nodes_and_remedies() -> None:
    with pytest.raises(PreflightError) as refusal:
        report(OK, RED).require()
    text = str(refusal.value)
    assert "demo.Brightness (on gpu-1): the shared library libGL.so.1 is missing there" in text
    assert "apt-get install -y libgl1" in text
    assert "versions" not in text
    again = pickle.loads(pickle.dumps(refusal.value))
    assert again.report == refusal.value.report


def test_a_report_of_a_cluster_where_nothing_could_be_looked_at_is_an_error_too() -> None:
    with pytest.raises(PreflightError):
        report(RED, looked=False).require()
