"""Warnings that never stop what they are about."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]


def warn(warning: Warning | str, category: type[Warning] | None = None, *, stacklevel: int = 1) -> None:
    """Warn, as :func:`warnings.warn` does, but go on where the filters make errors of warnings.

    With ``-W error`` or ``PYTHONWARNINGS=error`` a warning about a store, say, would otherwise come out of a submit,
    with no handle for the job that runs, or stop a shutdown half way. There it is written to standard error instead.

    Args:
        warning: The warning or its text.
        category: Its class, if it is a text.
        stacklevel: As for :func:`warnings.warn`, counted from the caller.
    """
    try:
        warnings.warn(warning, category, stacklevel=stacklevel + 1)
    except Warning as error:  # the filters' doing: nothing is wrong, and it is told below
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
