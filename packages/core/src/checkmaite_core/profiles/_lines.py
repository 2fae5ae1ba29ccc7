"""Find the line of every key in a TOML document, which ``tomllib`` does not tell."""

from __future__ import annotations

import re
import tomllib

__all__ = ["KeyPath", "lines_of"]

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys of tables, and numbers of the elements of arrays."""

_BLANK = re.compile(r"[ \t]*")
_FILLING = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}' r"|'''(?:[^']|'(?!''))*'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_OTHER_VALUE = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[KeyPath, int]:
    """The line, counted from 1, of every table, key and element of an array.

    Args:
        text: A document that ``tomllib`` can read; of others nothing is promised.
    """
    return _Scanner(text.replace("\r\n", "\n")).lines()


class _Scanner:
    """Walks through a valid document. What tells a valid one from others is left to ``tomllib``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted_at, self._line = 0, 1
        self._found: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}

    def lines(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while not self._ends():
            if self._next("["):
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _ends(self) -> bool:
        self._take(_FILLING)
        return self._at == len(self._text)

    def _header(self) -> KeyPath:
        line, many = self._line_here(), self._next("[")
        keys = self._keys()
        self._at += 2 if many else 1
        table: KeyPath = ()
        for position, key in enumerate(keys):
            table = (*table, key)
            last = position == len(keys) - 1
            if last and many:
                self._elements[table] = self._elements.get(table, -1) + 1
            self._found.setdefault(table, line)
            if table in self._elements:
                table = (*table, self._elements[table])
        # It may have been mentioned before, as the parent of another; here it begins.
        self._found[table] = line
        return table

    def _pair(self, table: KeyPath) -> None:
        line = self._line_here()
        for key in self._keys():
            table = (*table, key)
            self._found.setdefault(table, line)
        self._at += 1  # =
        self._value(table)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._take(_BLANK)
            if self._text[self._at] in "\"'":
                keys.append(tomllib.loads(f"key = {self._take(_STRING)}")["key"])
            else:
                keys.append(self._take(_BARE_KEY))
            self._take(_BLANK)
            if not self._next("."):
                return keys

    def _value(self, path: KeyPath) -> None:
        self._take(_FILLING)
        if self._next("["):
            number = 0
            while not self._next("]", after=_FILLING):
                self._found[*path, number] = self._line_here()
                self._value((*path, number))
                self._next(",", after=_FILLING)
                number += 1
        elif self._next("{"):
            while not self._next("}", after=_FILLING):
                self._pair(path)
                self._next(",", after=_FILLING)
        else:
            self._take(_STRING if self._text[self._at] in "\"'" else _OTHER_VALUE)

    def _next(self, mark: str, *, after: re.Pattern[str] | None = None) -> bool:
        if after is not None:
            self._take(after)
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) if found else 0
        return found

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:  # not reached with a valid document
            raise ValueError(f"not valid TOML at line {self._line_here()}")
        self._at = match.end()
        return match.group()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_at, self._at)
        self._counted_at = self._at
        return self._line
