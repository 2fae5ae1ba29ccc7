"""What is known of nodes, kept in the cluster for the next client.

To ask a node takes the start of a process there, a second or so, since no client is given another's processes; to look
up what was said takes a millisecond. A node keeps its environment for as long as it lives, if nobody installs into it:
so what is remembered is good enough to let a client in, whose jobs are looked at again where they run, but not to turn
one away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from ray.experimental import internal_kv

from checkmaite_core.deployment import Environment

__all__ = ["recall", "remember", "same_as_the_nodes_own"]

_NAMESPACE = b"checkmaite"
_KEY = b"environments-1"
"""With the version of the form."""
_HARMLESS = frozenset({"env_vars", "working_dir", "py_modules", "excludes", "worker_process_setup_hook", "config"})
"""What in a runtime_env brings code or settings, and installs nothing."""
_PATHS = ("PYTHON", "PATH", "LD_", "VIRTUAL_ENV", "CONDA")
"""What the names of variables begin with that can lead to another environment."""


def same_as_the_nodes_own(overlay: Mapping[str, Any]) -> bool:
    """Whether jobs with this runtime_env find the node's own distributions, and setting it up cannot well fail."""
    if not _HARMLESS.issuperset(name for name, value in overlay.items() if value):
        return False
    if any(str(name).startswith(_PATHS) for name in overlay.get("env_vars") or ()):
        return False
    modules = [overlay.get("working_dir"), *(overlay.get("py_modules") or ())]
    # A wheel is installed; what lies elsewhere is fetched by the node, which may lack what it needs for that.
    return not any(
        str(one).endswith(".whl") or ("://" in str(one) and not str(one).startswith("gcs://")) for one in modules
    )


def recall() -> dict[str, Environment]:
    """What was remembered, by node id; nothing of what cannot be understood."""
    text = internal_kv._internal_kv_get(_KEY, namespace=_NAMESPACE)
    if not text:
        return {}
    try:
        found = json.loads(text)
        environments = [Environment.model_validate(one) for one in found["environments"]]
        return {node_id: environments[number] for node_id, number in found["nodes"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ValidationError):
        return {}  # another version's; it costs a question


def remember(found: Mapping[str, Environment]) -> None:
    """Keep what is known, by node id, in the place of what was remembered.

    Of two clients that do so at the same time, one does it for nothing.
    """
    # What is only shown need not be remembered; and hundreds of nodes have few different environments.
    texts = {
        node_id: environment.model_dump_json(exclude={"distributions", "tools"})
        for node_id, environment in found.items()
    }
    different = list(dict.fromkeys(texts.values()))
    document = {
        "environments": [json.loads(text) for text in different],
        "nodes": {node_id: different.index(text) for node_id, text in texts.items()},
    }
    internal_kv._internal_kv_put(_KEY, json.dumps(document).encode(), overwrite=True, namespace=_NAMESPACE)
