"""Why something cannot be imported, in words that say who mends it and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from checkmaite_core.preflight.checks import Mender

__all__ = ["Trouble", "explain_import", "missing_library"]

_MISSING = re.compile(r"(?P<name>[\w.+-]+\.so(?:\.\d+)*): cannot open shared object file")
_TOO_OLD = re.compile(r"version [`'](?P<version>GLIBC(?:XX)?_[\d.]+)' not found(?: \(required by (?P<by>[^)]+)\))?")
_SYMBOL = re.compile(r"(?P<file>[^\s:]+): undefined symbol: (?P<symbol>\w+)")
_DRIVER = ("libcuda.so", "libnvidia-ml.so", "libnvcuvid.so", "libnvidia-encode.so")
_CUDA = ("libcudart", "libcublas", "libcudnn", "libcufft", "libcurand", "libcusolver", "libcusparse", "libnccl")
_DEBIAN = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libGLU.so.1": "libglu1-mesa",
    "libOpenGL.so.0": "libopengl0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libxcb.so.1": "libxcb1",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libgomp.so.1": "libgomp1",
    "libgfortran.so.5": "libgfortran5",
    "libopenblas.so.0": "libopenblas0",
    "libquadmath.so.0": "libquadmath0",
    "libatomic.so.1": "libatomic1",
    "libnuma.so.1": "libnuma1",
    "libsndfile.so.1": "libsndfile1",
    "libportaudio.so.2": "libportaudio2",
    "libgeos_c.so.1": "libgeos-c1v5",
    "libmagic.so.1": "libmagic1",
    "libpq.so.5": "libpq5",
    "libodbc.so.2": "libodbc2",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "libcurl.so.4": "libcurl4",
    "libsqlite3.so.0": "libsqlite3-0",
    "libffi.so.8": "libffi8",
    "libxml2.so.2": "libxml2",
    "libz.so.1": "zlib1g",
    "libstdc++.so.6": "libstdc++6",
    "libibverbs.so.1": "libibverbs1",
}
"""Packages of Debian and Ubuntu that bring what wheels most often take for granted."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong, as a check has it: ``found``, ``mender`` and ``remedy``."""

    found: str
    mender: Mender
    remedy: str


def explain_import(error: BaseException, what: str, *, remedy: str, mender: Mender = "image") -> Trouble:
    """Say why an import, or unpickling, which imports, has failed.

    Args:
        error: What it raised.
        what: What was imported, such as ``module demo``.
        remedy: What to do where it is the very thing that was to be imported that is missing.
        mender: Who does that.
    """
    for each in _chain(error):
        trouble = missing_library(str(each))
        if trouble is not None:
            return trouble
    if isinstance(error, ModuleNotFoundError) and error.name:
        wanted = what.rpartition(" ")[2]
        if wanted == error.name or wanted.startswith(f"{error.name}."):
            return Trouble(f"module {error.name} is not installed there", mender, remedy)
        found = f"{what} needs module {error.name}, which is not installed there"
        return Trouble(found, "image", f"install what brings {error.name} in the image, from the client's lock")
    kind = type(error).__name__
    if isinstance(error, ImportError | AttributeError):
        return Trouble(f"{what} lacks something there: {kind}: {error}", mender, remedy)
    found = f"{what} cannot be imported there: {kind}: {error}"
    return Trouble(found, "client", "look at what that code does when it is imported, or unpickled, on a worker")


def missing_library(text: str) -> Trouble | None:
    """What to do about a shared library that an exception's text names; None if it names none."""
    missing = _MISSING.search(text)
    if missing is not None:
        return _missing(missing["name"])
    too_old = _TOO_OLD.search(text)
    if too_old is not None:
        by = f", which {too_old['by']} needs" if too_old["by"] else ""
        found = f"the image's C or C++ library is too old: it has no {too_old['version']}{by}"
        return Trouble(found, "image", "build the image from a newer base, such as the client's own system")
    symbol = _SYMBOL.search(text)
    if symbol is not None:
        found = f"{symbol['file']} does not fit what it was built for: symbol {symbol['symbol']} is missing"
        return Trouble(found, "image", "install it, and what it depends on, from one lock")
    return None


def _missing(name: str) -> Trouble:
    found = f"the shared library {name} is missing there"
    if name.startswith(_DRIVER):
        remedy = "it comes with the GPU's driver: start the node's container with the NVIDIA runtime"
        return Trouble(found, "cluster", remedy)
    if name.startswith(_CUDA):
        return Trouble(found, "image", "install the CUDA libraries that the package was built for, in the image")
    package = _DEBIAN.get(name)
    if package is None:
        return Trouble(
            found, "image", f"install the system package that brings it; to find it:\napt-file search {name}"
        )
    return Trouble(found, "image", f"install it in the image:\napt-get install -y {package}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 20:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1
