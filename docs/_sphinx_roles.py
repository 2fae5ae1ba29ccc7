"""Let the site link what docstrings name with Sphinx roles, such as ``:class:`Job```."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc):`~?([\w.]+)`")


class SphinxRoles(griffe.Extension):
    """Replaces each role by a link to the object where the site describes it, and by plain code where it does not."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstrings of a package once all of it has been read."""
        pending: list[griffe.Object | griffe.Alias] = [pkg]
        while pending:
            obj = pending.pop()
            if isinstance(obj, griffe.Object):
                pending.extend(obj.members.values())
                if obj.docstring is not None:
                    obj.docstring.value = _ROLE.sub(partial(_link, obj), obj.docstring.value)


def _link(obj: griffe.Object, role: re.Match[str]) -> str:
    name = role[1]
    text = name.rpartition(".")[2]
    return f'<autoref optional identifier="{_canonical(obj, name)}"><code>{text}</code></autoref>'


def _canonical(obj: griffe.Object, name: str) -> str:
    """Where the object is defined, for a name as it is seen from ``obj``."""
    try:
        path = name if name in obj.modules_collection else obj.resolve(name)
        target: str = obj.modules_collection[path].canonical_path
    except (KeyError, griffe.GriffeError):
        return name
    return target
