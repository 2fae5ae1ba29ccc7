"""Names that are words of SQL, such as a table ``order``: what to write instead of a bare one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkmaite_analytics_store._relations import name
from checkmaite_analytics_store._view import StoreView

if TYPE_CHECKING:
    import duckdb

__all__ = ["quoting"]

_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
"""A word of SQL: its own are ASCII."""
_MOST_TRIED = 10
"""Words; each doubles the number of ways to quote some of them."""
_LONGEST_SHOWN = 400


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    text: str


def quoting(
    connection: duckdb.DuckDBPyConnection, sql: str, error: Exception, wanted: Collection[str], view: StoreView
) -> str | None:
    """How to write a statement that was refused because a table or column is called by a word of SQL.

    Args:
        connection: Parses statements.
        sql: The statement.
        error: Why it was refused.
        wanted: The tables that it can mean.
        view: All tables.

    Returns:
        A hint, or None where that is not what is wrong.
    """
    columns = {column for table in wanted for column in view.tables[table].columns}
    unparsed = "ParserException" in type(error).__name__
    if unparsed:
        words = [word for word in _words(sql) if word.text.lower() in columns or word.text.lower() in view.tables]
        repaired = next((one for one in _ways(sql, words[:_MOST_TRIED]) if _parses(connection, one[0])), None)
    else:
        words = [word for word in _words(sql) if word.text.lower() == "default" and "default" in columns]
        repaired = (_quoted(sql, words), words) if words and "DEFAULT" in str(error) else None
    if repaired is None:
        return None
    statement, quoted = repaired
    named = sorted({word.text.lower() for word in quoted})
    listed = " and ".join(f"the {'table' if one in view.tables else 'column'} {name(one)}" for one in named)
    hint = f"{listed[0].upper()}{listed[1:]} {'is' if len(named) == 1 else 'are'} named by a reserved word of SQL: "
    return (
        hint
        + f"write {'it' if len(named) == 1 else 'them'} in double quotes"
        + (f", as in: {statement}" if len(statement) <= _LONGEST_SHOWN else ".")
    )


def _words(sql: str) -> list[_Word]:
    import duckdb

    found, text = [], sql.encode()
    for start, kind in duckdb.tokenize(sql):  # in bytes
        if kind == duckdb.token_type.keyword and (word := _WORD.match(text, start)):
            found.append(_Word(start, word[0].decode()))
    return found


def _ways(sql: str, words: Sequence[_Word]) -> Iterator[tuple[str, Sequence[_Word]]]:
    """Ways to quote some of the words, fewest first."""
    for count in range(1, len(words) + 1):
        for some in itertools.combinations(words, count):
            yield _quoted(sql, some), some


def _quoted(sql: str, words: Sequence[_Word]) -> str:
    text = sql.encode()
    for word in sorted(words, key=lambda one: -one.start):
        text = text[: word.start] + name(word.text.lower()).encode() + text[word.start + len(word.text) :]
    return text.decode()


def _parses(connection: duckdb.DuckDBPyConnection, sql: str) -> bool:
    import duckdb

    try:
        return len(connection.extract_statements(sql)) == 1
    except duckdb.Error:
        return False
