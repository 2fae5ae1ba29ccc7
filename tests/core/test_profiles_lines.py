"""Lines of a TOML document: told for everything that tomllib finds in it."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core.profiles._lines import KeyPath, lines_of

KEYS = ["a", "b-1", "7", '"c d"', "'e.f'", '"#]"', '"h = {"']
# What begins with a number that occurs once in the document can be found again in its text.
VALUES = [
    "{n}",
    "{n}.5",
    '"{n} # ] }} = \\" ,"',
    "'{n} # ] }} = \\'",
    '"""{n} [x]\ny = "2" \\"\\"\\" # ""\n"""""',
    "'''{n}\n[z]\n'''''",
    "[ {n} ,\n\n # ]\n [{m}, ] ]",
    "[\n {{ a = {n}, 'b ]' = [ ] }} # }}\n,{{a.x={m} , a.y = []}}]",
    "{{ }}",
    "[]",
]
FILLINGS = ["", "\n", "   # [x] = 'y\n", "\r\n"]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A valid document: of the statements drawn, those that fit to the ones before."""
    numbers = itertools.count(1001)
    text = ""
    for _ in range(draw(st.integers(1, 12))):
        keys = draw(st.sampled_from([".", " . "])).join(draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3)))
        form = draw(st.sampled_from(["[{}]", "[[{}]]", " [ {} ] # no", "{}=", "{} = ", "\t{} = "]))
        value = draw(st.sampled_from(VALUES)).format(n=next(numbers), m=next(numbers)) if "=" in form else ""
        longer = f"{text}{draw(st.sampled_from(FILLINGS))}{form.format(keys)}{value}\n"
        try:
            tomllib.loads(longer)
        except tomllib.TOMLDecodeError:
            continue
        text = longer
    return text


def everything(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    if path:
        yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from everything(part, (*path, key))


@given(documents())
def test_every_key_and_element_is_found_on_its_line(text: str) -> None:
    lines = text.replace("\r\n", "\n").split("\n")
    found = lines_of(text)
    told = dict(everything(tomllib.loads(text)))
    assert found.keys() == told.keys()
    for path, value in told.items():
        line = lines[found[path] - 1]
        if isinstance(value, int | float | str):
            assert str(value)[:4] in line
        if isinstance(path[-1], str):
            assert path[-1] in line


def test_a_table_stands_where_its_header_is_also_if_a_part_of_it_came_before() -> None:
    found = lines_of("[a.b]\nx = 1\n[a]\n")
    assert found["a",] == 3
    assert found["a", "b"] == 1


def test_each_element_of_an_array_of_tables_stands_where_its_header_is() -> None:
    assert lines_of("[[a]]\nx = 1\n[[a]]\n[a.b]\n") == {
        ("a",): 1,
        ("a", 0): 1,
        ("a", 0, "x"): 2,
        ("a", 1): 3,
        ("a", 1, "b"): 4,
    }


def test_keys_that_are_written_with_escapes_are_found() -> None:
    assert lines_of('\n"\\u0061\\"" = 1') == {('a"',): 2}


def test_a_document_need_not_end_with_a_newline() -> None:
    assert lines_of("a = 1 # x") == {("a",): 1}
    assert lines_of("[a]") == {("a",): 1}
    assert lines_of("") == {}
