"""What it means when Ray could not set an overlay up on a node, out of the pages that it says then."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from checkmaite_ray_simple.overlay.masking import masked_text

__all__ = ["SetupFailure", "explain_setup"]


@dataclass(frozen=True, slots=True)
class SetupFailure:
    """Why an overlay could not be set up.

    Attributes:
        node: Address of the node, as Ray names it; empty if it does not.
        reason: What went wrong, in a line or two, without secrets.
        remedy: What to do about it.
        text: All that Ray said, without secrets.
    """

    node: str
    reason: str
    remedy: str
    text: str


_NODE = re.compile(r"\[Node (?P<node>[^\]\s]+)\]")
_OF_AN_INSTALLER = re.compile(r"^\s*(?:ERROR|error|\u00d7|\u2570\u2500[\u25b6>])[: ]*\s*(?P<said>.+)$", re.MULTILINE)
_EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception|Timeout)\b.*$", re.MULTILINE)
_LONGEST = 600
_REMEDIES: Mapping[str, str] = {
    r"Please install virtualenv": "Install virtualenv and pip in the nodes' image: environments made by uv have "
    "neither.",
    r"No module named (?:pip|uv|virtualenv)\b": "Install virtualenv and pip in the nodes' image: environments made by "
    "uv have neither.",
    r"[Cc]onda executable": "Install conda in the nodes' image, or take 'conda' out of runtime_env: 'pip' and 'uv' add "
    "to the image's own environment.",
    r"podman": "Install podman on the nodes, or make that image the nodes' own.",
    r"Changing the ray version": "Leave Ray to the image: a package in the list asks for another version of it. Pin "
    "that package to a version that takes the image's.",
    r"Connection refused|[Nn]ame or service not known|[Nn]ame resolution|ConnectTimeout|dns error": "The nodes must "
    "reach the package index: give it by PIP_INDEX_URL (UV_INDEX_URL) in the nodes' own environment, or put the "
    "packages into the image.",
    r"No matching distribution|no version of|not found in the package registry|No solution found": "Correct the name "
    "and the version; the index must be one that the nodes reach, and have a build for their Python and platform.",
    r"ResolutionImpossible|conflicting dependencies": "Pin versions that go together, and with what the image holds.",
    r"gcs://_ray_pkg|Failed to download runtime_env": "The cluster does not have the package of code any more: submit "
    "the work again from a client that has the folder.",
    r"[Ss]etup_timeout|TimeoutError|asyncio.exceptions.Timeout": "Put what takes so long into the nodes' image, or "
    "give it longer: runtime_env={..., 'config': {'setup_timeout_seconds': 1800}}.",
}
_OTHERWISE = "Correct what is named here in runtime_env={...}, or put what it brings into the nodes' image."


def explain_setup(text: str, secrets: Collection[str] = ()) -> SetupFailure:
    """Read what Ray says when a ``runtime_env`` could not be set up.

    Args:
        text: The text of its ``RuntimeEnvSetupError``: pages of traceback, with the command that failed in full.
        secrets: Values that must not be shown (see :func:`~checkmaite_ray_simple.overlay.masking.secrets_of`).
    """
    text = masked_text(text.strip(), secrets)
    node = _NODE.search(text)
    said = list(dict.fromkeys(match["said"].strip() for match in _OF_AN_INSTALLER.finditer(text)))
    if not said:
        # The last exception is the one that Ray gave up for.
        said = [match.group().strip() for match in _EXCEPTION.finditer(text)][-1:]
    reason = " ".join(said or text.splitlines()[-1:])[:_LONGEST]
    ways = (way for where in (reason, text) for sign, way in _REMEDIES.items() if re.search(sign, where))
    remedy = next(ways, _OTHERWISE)
    return SetupFailure(node["node"] if node else "", reason, remedy, text)
