"""Exceptions by name: after which a job's code is to be run again."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["ExceptionName", "is_named"]

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(
            f"{name!r} is not the name of an exception, such as 'ConnectionError' or 'package.module.Error'"
        )
    return name


ExceptionName = Annotated[str, AfterValidator(_checked)]
"""Name of an exception class in a backend's options: ``ConnectionError`` or ``package.module.Error``.

By name, so that neither the client nor the control plane needs the class.
"""


def is_named(error: BaseException, names: Collection[str]) -> bool:
    """Whether the class of an exception, or a base of it, is one of ``names``.

    A name without a module means Python's own exceptions, and those of a script or notebook.
    """
    for kind in type(error).__mro__:
        short = kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else ""
        if short in names or f"{kind.__module__}.{kind.__qualname__}" in names:
            return True
    return False
