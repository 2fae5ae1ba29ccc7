"""Requirements for ``pip`` and ``uv``, before anybody installs them: what is wrong, unwise, or skew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from checkmaite_core.deployment import Environment, Finding, Level, compare_environments
from checkmaite_core.errors import ConfigurationError
from checkmaite_ray_simple.overlay.masking import masked_text

__all__ = ["advice", "conda_skew", "logical_lines", "parse", "skew"]

_HEAVY = frozenset(
    {
        *("torch", "torchvision", "torchaudio", "tensorflow", "tensorflow-cpu", "tensorflow-gpu", "jax", "jaxlib"),
        *("triton", "vllm", "mxnet", "paddlepaddle", "paddlepaddle-gpu", "onnxruntime-gpu", "tensorrt", "pyspark"),
    }
)
_HEAVY_FAMILIES = ("nvidia-", "cupy-", "jax-cuda")
_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTIONS_OF_ONE = re.compile(r"\s--(hash|config-settings|global-option)\b.*$")
_PATH = re.compile(r"^(\.{1,2}/|/|~|file:)|^[^@;<>=!~ ]+\.(whl|zip|tar\.gz)$")
_EDITABLE = re.compile(r"^(-e|--editable)\b")
_CONDA_PYTHON = re.compile(r"^python\s*[=~ ]+\s*(?P<version>\d+\.\d+)")


def logical_lines(text: str) -> list[str]:
    """The lines of a requirements file as pip takes them: continued ones joined, comments and empty ones left out."""
    joined = re.sub(r"\\\r?\n", " ", text)
    return [line for raw in joined.splitlines() if (line := _COMMENT.sub("", raw).strip())]


def parse(line: str, field: str) -> Requirement | None:
    """Read one line.

    Args:
        line: A logical line.
        field: Where it stands, for messages.

    Returns:
        None for what names no distribution: an option, a path, a URL.

    Raises:
        ConfigurationError: It cannot be read, or names a file that only this machine has.
    """
    shown = masked_text(line)
    if _EDITABLE.match(line):
        raise ConfigurationError(
            f"runtime_env[{field!r}] has {shown!r}: an editable installation is of a folder of this machine.",
            hint='Send the package\'s folder with runtime_env={"py_modules": ["src/name"]}.',
        )
    if line.startswith("-"):
        return None
    text = _OPTIONS_OF_ONE.sub("", line)
    if _PATH.match(text):
        if not text.startswith(("/", "file:///", "$")):
            raise ConfigurationError(
                f"runtime_env[{field!r}] has {shown!r}, a path of this machine; nodes would look for it elsewhere.",
                hint='Send a wheel or a folder with runtime_env={"py_modules": ["dist/name-1.0-py3-none-any.whl"]}, or '
                "give the absolute path of a file that every node has.",
            )
        return None
    if "$" in text or re.match(r"^[A-Za-z][A-Za-z0-9+.-]*://", text):
        return None  # filled in on the node, or a URL without a name
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        single = re.fullmatch(r"([A-Za-z0-9._-]+)\s*=\s*([^=].*)", text)
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"runtime_env[{field!r}] has {shown!r}, which is no requirement: {masked_text(reason)}.",
            hint=f"Write '{single[1]}=={single[2]}'." if single else "Write 'name==1.2', or 'name @ https://...'.",
        ) from None


def skew(requirements: Iterable[Requirement], client: Environment) -> list[Finding]:
    """Pins that contradict what this client has of what both sides must share.

    Args:
        requirements: What is to be installed on workers.
        client: The client's environment.
    """
    versions, lines = dict(client.versions), dict[str, str]()
    for requirement in _applicable(requirements):
        name = canonicalize_name(requirement.name)
        ours = client.versions.get(name)
        if ours is not None and not requirement.specifier.contains(ours, prereleases=True):
            versions[name], lines[name] = _wanted(requirement), str(requirement)
    worker = client.model_copy(update={"versions": versions})
    return [
        replace(item, remedy=f'take "{lines[item.distribution]}" out of runtime_env; or {item.remedy}')
        for item in compare_environments(client, worker)
    ]


def conda_skew(description: Mapping[str, Any], client: Environment) -> list[Finding]:
    """A Python in a conda environment's description that is not this client's minor version."""
    for entry in description.get("dependencies") or ():
        found = _CONDA_PYTHON.match(entry) if isinstance(entry, str) else None
        if found and found["version"] != ".".join(client.python.split(".")[:2]):
            reason = "code pickled by one minor version of Python cannot be read by another"
            remedy = f'take "{entry}" out of runtime_env; Ray adds its own'
            return [Finding(Level.ERROR, "python", client.python, found["version"], reason, remedy)]
    return []


def advice(field: str, requirements: Sequence[Requirement]) -> Iterator[tuple[str, str]]:
    """What is unwise: each as what is so, and the better way."""
    names = list(dict.fromkeys(canonicalize_name(requirement.name) for requirement in _applicable(requirements)))
    heavy = [name for name in names if name in _HEAVY or name.startswith(_HEAVY_FAMILIES)]
    if heavy:
        yield (
            f"runtime_env[{field!r}] has {', '.join(heavy)}: hundreds of megabytes that every node downloads before "
            "its first job can start, and again after each change of the list.",
            "Install it in the workers' image, in a layer of its own, and keep here what is small and changes often.",
        )
    shared = [name for name in names if name == "ray" or name.startswith("checkmaite")]
    if shared:
        yield (
            f"runtime_env[{field!r}] has {', '.join(shared)}: client, control plane and workers must have the same, "
            "and what is installed here reaches workers only. Ray starts no worker where its own version changes.",
            "Install it in the workers' image, from the client's lock, and leave it out here.",
        )


def _applicable(requirements: Iterable[Requirement]) -> Iterator[Requirement]:
    """Those whose markers hold here; workers have the same minor version of Python."""
    return (item for item in requirements if item.marker is None or item.marker.evaluate())


def _wanted(requirement: Requirement) -> str:
    """The version that it stands for: one that it names and admits, such as a pin's; its own text otherwise."""
    named = [item.version.removesuffix(".*") for item in requirement.specifier if item.operator not in ("!=", "<", ">")]
    admitted = [text for text in named if _is_version(text) and requirement.specifier.contains(text, prereleases=True)]
    return (*admitted, str(requirement.specifier))[0]


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True
