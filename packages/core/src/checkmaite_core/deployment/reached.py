"""The code that work can reach, small enough to travel with it, and compared with what a worker has."""

from __future__ import annotations

import base64
import functools
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from checkmaite_core.code.digest import Strictness
from checkmaite_core.code.graph import Look
from checkmaite_core.code.loaded import facts_here
from checkmaite_core.code.walk import Reach

__all__ = ["Reached", "pack", "reached_here", "unpack"]

_BYTES, _CODE = 8, 12
"""Digits of a module's two digests: of its bytes, and of what it is compiled to."""
_MOST_TEXT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reached:
    """What travels of a :class:`~checkmaite_core.code.graph.Reach`.

    Attributes:
        strictness: How the modules are compared.
        modules: Both digests by module, one after the other.
        files: Digest by data file.
    """

    strictness: Strictness
    modules: Mapping[str, str]
    files: Mapping[str, str]


def pack(reach: Reach) -> str:
    """What a worker needs to compare, as text; empty where there is nothing."""
    if not reach.modules and not reach.files:
        return ""
    return _packed(
        int(reach.strictness),
        tuple(reach.modules.items()),
        tuple(reach.raw.values()),
        tuple(reach.files.items()),
    )


@functools.lru_cache(maxsize=64)
def _packed(
    strictness: int, modules: tuple[tuple[str, str], ...], raw: tuple[str, ...], files: tuple[tuple[str, str], ...]
) -> str:
    both = {name: bytewise[:_BYTES] + digest[:_CODE] for (name, digest), bytewise in zip(modules, raw, strict=True)}
    document = json.dumps([strictness, both, dict(files)], separators=(",", ":"))
    return base64.b85encode(zlib.compress(document.encode("utf-8", "surrogateescape"), 9)).decode()


@functools.lru_cache(maxsize=64)
def unpack(packed: str) -> Reached | None:
    """Read it; None if it is empty, or of a later version that says it in another way."""
    if not packed:
        return None
    try:
        text = zlib.decompressobj().decompress(base64.b85decode(packed), _MOST_TEXT)
        strictness, modules, files = json.loads(text.decode("utf-8", "surrogateescape"))[:3]
        return Reached(Strictness(strictness), dict(modules), dict(files))
    except (ValueError, zlib.error, TypeError):
        return None


def reached_here(packed: str) -> dict[str, tuple[str, str]]:
    """The modules whose code is another in this process, or would be: by name, the client's digest and the one here.

    What is not here at all is left out: unpickling says what is missing, and much of what may be imported is not.

    Args:
        packed: What the client's work can reach.
    """
    reached = unpack(packed)
    if reached is None:
        return {}
    look = Look()
    differing: dict[str, tuple[str, str]] = {}
    for name, both in reached.modules.items():
        facts = facts_here(name, look)
        if facts is None or facts.digest(Strictness.BYTES)[:_BYTES] == both[:_BYTES]:
            continue
        here = facts.digest(reached.strictness)[:_CODE]
        if here != both[_BYTES:]:
            differing[name] = (both[_BYTES:], here)
    return differing
