"""Writing to the terminal, such that no stored text can do anything there but be read."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from checkmaite_core.errors import CheckmaiteError

__all__ = ["make_console", "plain", "show_error"]

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the order in which others are shown."""


def plain(text: object, keep: str = "") -> str:
    """Text with everything that could act on a terminal written out, such as ``\\x1b``.

    Args:
        text: Anything; its ``str()`` is taken.
        keep: Control characters to leave as they are, such as ``"\\n\\t"``.
    """
    return "".join(character if character in keep else _visible(character) for character in str(text))


def _visible(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI:
        return character.encode("unicode_escape").decode("ascii")
    return character


def make_console(*, stderr: bool = False) -> Console:
    """A console that takes no text for markup, emoji codes or anything worth a colour."""
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.width:  # COLUMNS=0, as some programs set it where they know no better: nothing would be shown
        console.width = 80
    return console


def show_error(error: CheckmaiteError) -> None:
    """Say on stderr what happened and what to do next."""
    console = make_console(stderr=True)
    console.print(Text.assemble(("error: ", "bold red"), plain(error.message, keep="\n")), soft_wrap=True)
    console.print(Text(plain(error.hint, keep="\n")), soft_wrap=True)
