"""The table of what preflight found: text that fits a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from string import ascii_uppercase
from typing import get_args

from checkmaite_core.preflight.checks import Check, CheckLevel, Section

__all__ = ["check_lines", "summary", "table_of"]

_LEVELS: tuple[CheckLevel, ...] = ("error", "warning", "note", "ok")
_SIGNS = {"error": "ERROR", "warning": "warning", "note": "note", "ok": "ok"}
_MENDERS = {
    "client": "your side",
    "image": "the workers' image",
    "cluster": "the cluster",
    "storage": "the storage",
    "checkmaite": "checkmaite",
}
_MOST_OK = 6
"""Lines of one section that say that something is in order; what is more is counted."""
_MOST_ALIKE = 3
"""Lines that differ only in what was looked at; of more, the first is shown."""
_MOST_NAMED = 4
"""Names of nodes in one line."""
_LONGEST = 700
"""Characters of one finding that are shown: the text of somebody's exception may be long."""
_SIGN, _LEAST_WHERE, _MOST_WHERE = 9, 6, 12


def table_of(title: str, kinds: Sequence[tuple[Sequence[str], str]], checks: Sequence[Check], width: int) -> str:
    """The whole table.

    Args:
        title: Its first line.
        kinds: The names of each kind of nodes, and what is said of them. The lines call the first of the names by a
            letter.
        checks: What was found.
        width: Columns to fill.
    """
    lines = _wrapped(title, width)
    if kinds:
        lines += ["", "nodes"]
    for letter, (_, about) in zip(_letters(len(kinds)), kinds, strict=True):
        lines += _hanging(f"  {letter:<{_SIGN}}", about, width)
    names = [names for names, _ in kinds]
    for section in get_args(Section):
        found = [check for check in checks if check.section == section]
        if found:
            lines += ["", section, *check_lines(found, names, width)]
    return "\n".join([*lines, "", *_wrapped(summary(checks), width)])


def summary(checks: Sequence[Check]) -> str:
    """How many findings there are of each level, and who has to mend them."""
    merged = _merged(checks)
    count = Counter(check.level for check in merged)
    parts = [_counted(count["error"], "error"), _counted(count["warning"], "warning"), f"{count['ok']} in order"]
    text = ", ".join(part for part in parts if part) + "."
    menders = Counter(check.mender for check in merged if check.level == "error" and check.mender)
    if menders:
        text += " To be mended: " + ", ".join(f"{_MENDERS[name]} ({number})" for name, number in menders.items()) + "."
    return text


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def check_lines(
    checks: Sequence[Check], kinds: Sequence[Sequence[str]], width: int, *, by_name: bool = False
) -> list[str]:
    """The lines of checks, the worst first; what was found alike on several nodes is said once.

    Args:
        checks: What was found.
        kinds: The names of each kind of nodes.
        width: Columns to fill.
        by_name: Name nodes in full, where no letters are explained.
    """
    known = {} if by_name else {names[0]: letter for letter, names in zip(_letters(len(kinds)), kinds, strict=True)}
    rows = sorted(_alike(_merged(checks)), key=lambda row: _LEVELS.index(row[0].level))
    fine = [check for check, _ in rows if check.level == "ok"]
    hidden = set(fine[_MOST_OK - 1 :]) if len(fine) > _MOST_OK else set()
    shown = [(check, *_places(places, known)) for check, places in rows if check not in hidden]
    where_width = max([0 if by_name else _LEAST_WHERE, *(len(where) for _, where, _ in shown)])
    lines = [line for row in shown for line in _row(*row, where_width, width)]
    if hidden:
        lines.append(f"  {'ok':<{_SIGN}}{'':<{where_width}}  {len(hidden)} more are in order")
    return lines


def _row(check: Check, where: str, also: str, where_width: int, width: int) -> Iterator[str]:
    start = f"  {_SIGNS[check.level]:<{_SIGN}}" + (f"{where:<{where_width}}  " if where_width else "")
    yield from _hanging(start, _plain(f"{check.subject}{also}: {check.found}"), width)
    if check.remedy:
        who = f"{_MENDERS[check.mender]}: " if check.mender else ""
        what, *typed = _plain(f"{who}{check.remedy}").split("\n")
        yield from _hanging(" " * len(start) + "-> ", what, width)
        for line in typed:
            # In one piece, as it is to be copied; further left where it would not fit.
            yield " " * max(4, min(len(start) + 3, width - len(line))) + line


def _merged(checks: Sequence[Check]) -> dict[Check, list[str]]:
    """The different checks, without their nodes, and the nodes of each."""
    merged: dict[Check, list[str]] = {}
    for check in checks:
        merged.setdefault(check.model_copy(update={"node": ""}), []).append(check.node)
    return merged


def _alike(merged: dict[Check, list[str]]) -> Iterator[tuple[Check, list[str]]]:
    """The lines to show: many that differ in nothing but their subject become one."""
    groups: dict[tuple[Check, tuple[str, ...]], list[Check]] = {}
    for check, nodes in merged.items():
        groups.setdefault((check.model_copy(update={"subject": ""}), tuple(nodes)), []).append(check)
    for (_, places), group in groups.items():
        if len(group) > _MOST_ALIKE:
            subject = f"{group[0].subject} and {len(group) - 1} more"
            group = [group[0].model_copy(update={"subject": subject})]
        for check in group:
            yield check, list(places)


def _places(nodes: Sequence[str], known: dict[str, str]) -> tuple[str, str]:
    """Letters for the column, and the names that have none for the text."""
    short = [known.get(node, node) for node in nodes if node in known or node == "client"]
    named = list(dict.fromkeys(node for node in nodes if node and node not in known and node != "client"))
    column = " ".join(dict.fromkeys(short))
    rest = ", ".join(named[:_MOST_NAMED]) + (f" and {len(named) - _MOST_NAMED} more" if named[_MOST_NAMED:] else "")
    if len(column) > _MOST_WHERE:
        column = f"{len(set(short))} kinds"
    return column, f" (on {rest})" if rest else ""


def _letters(count: int) -> list[str]:
    """A, B, ... Z, A2, B2 and so on."""
    size = len(ascii_uppercase)
    return [ascii_uppercase[index % size] + (str(index // size + 1) if index >= size else "") for index in range(count)]


def _hanging(start: str, text: str, width: int) -> list[str]:
    """The text behind ``start``; its further lines below its first."""
    lines = [part for line in text.split("\n") for part in _wrapped(line, max(20, width - len(start)))]
    return [(start if index == 0 else " " * len(start)) + line for index, line in enumerate(lines)]


def _wrapped(text: str, width: int) -> list[str]:
    # What is to be typed, and locations, stay whole: they are copied from here.
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _plain(text: str) -> str:
    """Without what would act on a terminal: some of it is the text of other people's exceptions."""
    shown = "".join(character if character.isprintable() or character == "\n" else " " for character in text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]} ..."
