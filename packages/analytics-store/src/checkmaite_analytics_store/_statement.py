"""What a user asks: which statements are answered, which tables they can mean, and how a refusal is told."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from checkmaite_analytics_store._view import StoreView
from checkmaite_core.errors import QueryError

if TYPE_CHECKING:
    import duckdb

__all__ = ["permitted", "referred", "refused", "require_text"]

_WORD = re.compile(r"\w+")
_BUILDS_NAMES = frozenset({"query", "query_table"})
"""Table functions whose arguments are SQL or names, which an expression may put together."""
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?(?P<explained>.*)", re.IGNORECASE | re.DOTALL)
_SUGGESTION = re.compile(r'\n?Did you mean "(?P<name>[^"]*)"\?')


def require_text(sql: object) -> None:
    """Refuse what is no text.

    Raises:
        QueryError: It is not.
    """
    if not isinstance(sql, str):
        raise QueryError(
            f"the statement is a {type(sql).__qualname__}, not a str.", hint="Pass SQL, such as: SELECT * FROM runs"
        )
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise QueryError(
            "the statement holds a lone surrogate, which is no text.",
            hint="On a command line, set a locale of UTF-8, such as LC_ALL=C.UTF-8.",
        ) from None


def referred(sql: str, tables: Collection[str]) -> frozenset[str]:
    """Those tables that a statement can read: the ones whose names are words of it, or all where names are built.

    A name can also be that of a column or stand in a string, so these may be more than the statement reads; they
    are never fewer.
    """
    words = {word.lower() for word in _WORD.findall(sql)}
    return frozenset(tables) if words & _BUILDS_NAMES else frozenset(tables) & words


def permitted(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The one statement of a text, if it only reads.

    Raises:
        QueryError: It is none, several, or one that is no SELECT and explains none.
        duckdb.Error: It cannot be parsed.
    """
    statements = connection.extract_statements(sql)
    kinds = [_kind(statement) for statement in statements]
    if kinds == ["SELECT"]:
        return statements[0]
    if kinds == ["EXPLAIN"] and (match := _EXPLAIN.match(statements[0].query)):
        explained = connection.extract_statements(match["explained"])
        if [_kind(statement) for statement in explained] == ["SELECT"]:
            return statements[0]
    if kinds == ["MULTI"]:
        raise QueryError(
            "a PIVOT whose columns are not listed would have to make a type first, and a query makes nothing.",
            hint="List the values: PIVOT table ON column IN ('a', 'b') USING sum(value); or GROUP BY column instead.",
        )
    raise QueryError(
        f"one SELECT statement can be asked, but this is {_describe(kinds)}.",
        hint="Ask one question per call, such as: SELECT * FROM runs ORDER BY committed_at DESC (or EXPLAIN one). "
        "The store is changed through write() only.",
    )


def refused(error: Exception, view: StoreView, uri: str, quoted: str | None = None) -> QueryError:
    """The error for a statement that the engine refused.

    Args:
        error: The engine's.
        view: What was asked.
        uri: The store's location.
        quoted: What to write where names are words of SQL (see :func:`checkmaite_analytics_store._quoting.quoting`).
    """
    names = ", ".join(sorted(view.tables))
    if quoted is not None:
        hint = quoted
    elif "CatalogException" in type(error).__name__ and len(view.tables) == 1:
        hint = f"Nothing with records has been written to {uri} yet, so it has one table: {names}."
    else:
        hint = f"Tables: {names}. store.schema(table) gives the columns of each."

    def suggestion(match: re.Match[str]) -> str:
        # The engine also suggests tables of its own catalog, which help nobody.
        return match[0] if match["name"].rpartition(".")[2] in view.tables else ""

    message = _SUGGESTION.sub(suggestion, f"{type(error).__name__}: {error}")
    return QueryError(message.rstrip(), hint=hint)


def _kind(statement: duckdb.Statement) -> str:
    return str(statement.type).rpartition(".")[2]


def _describe(kinds: list[str]) -> str:
    if not kinds:
        return "empty"
    return kinds[0] if len(kinds) == 1 else f"{len(kinds)} statements ({', '.join(kinds)})"
