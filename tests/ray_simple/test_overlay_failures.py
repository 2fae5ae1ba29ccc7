"""What Ray says of an overlay that it cannot set up becomes a reason, a remedy, and no secret."""

from __future__ import annotations

import pytest
from ray.exceptions import RuntimeEnvSetupError

from checkmaite_core.failure import FailureKind
from checkmaite_ray_simple.failures import classify
from checkmaite_ray_simple.overlay.setup_failures import explain_setup
from checkmaite_ray_simple.overlay.tools import lacking

FRAMES = """Failed to set up runtime environment.
[Node 192.0.2.2] Traceback (most recent call last):
  File "/site-packages/ray/_private/runtime_env/agent/runtime_env_agent.py", line 561, in _create_runtime_env_with_retry
    runtime_env_context = await asyncio.wait_for(
  File "/site-packages/ray/_private/runtime_env/pip.py", line 374, in _create_for_hash
    await PipProcessor(
"""
# Ray 2.60's own texts, shortened.
PIP = f"""{FRAMES}ray._private.runtime_env.utils.SubprocessCalledProcessError: Run cmd[18] failed.
Command '['/tmp/ray/virtualenv/bin/python', '-m', 'pip', 'install', '--token=planted-variable', '--extra-index-url', \
'https://user:planted-secret@index.internal/packages']' returned non-zero exit status 1.
Last 50 lines of stdout:
    Looking in indexes: https://pypi.org/packages, https://user:****@index.internal/packages
    ERROR: Could not find a version that satisfies the requirement nonsuch-abc==1 (from versions: none)
    ERROR: No matching distribution found for nonsuch-abc==1
"""
CONDA = f"""{FRAMES}FileNotFoundError: [Errno 2] No such file or directory: 'conda'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/site-packages/ray/_private/runtime_env/conda_utils.py", line 195, in get_conda_info_json
    raise ValueError(f"Could not find Conda executable at {{conda_path}}.")
ValueError: Could not find Conda executable at conda.
"""
VIRTUALENV = f"""{FRAMES}RuntimeError: Please install virtualenv `python -m pip install virtualenv`to enable pip \
runtime env.
"""
UV = f"""{FRAMES}ray._private.runtime_env.utils.SubprocessCalledProcessError: Run cmd[7] failed.
Last 50 lines of stdout:
    \u00d7 No solution found when resolving dependencies:
    \u2570\u2500\u25b6 Because nonsuch-abc was not found in the package registry and you require
"""


@pytest.mark.parametrize(
    ("text", "reason", "remedy"),
    [
        (PIP, "No matching distribution found for nonsuch-abc==1", "the index must be one that the nodes reach"),
        (UV, "No solution found when resolving dependencies", "the index must be one that the nodes reach"),
        (CONDA, "ValueError: Could not find Conda executable at conda.", "Install conda in the nodes' image"),
        (VIRTUALENV, "RuntimeError: Please install virtualenv", "environments made by uv have neither"),
        ("something new", "something new", "Correct what is named here"),
    ],
)
def test_the_reason_is_found_in_the_pages_and_a_way_out_is_told(text, reason, remedy):
    found = explain_setup(text)
    assert reason in found.reason
    assert "asyncio" not in found.reason
    assert remedy in found.remedy
    assert found.node == ("192.0.2.2" if text != "something new" else "")


def test_a_jobs_failure_names_node_reason_and_remedy_and_nothing_of_it_has_secrets():
    try:
        raise RuntimeEnvSetupError(PIP)
    except RuntimeEnvSetupError as error:
        record, loss = classify(error, 1, "", secrets=["planted-variable"])
    assert "planted" not in repr(explain_setup(PIP, ["planted-variable"]))
    assert (record.kind, loss) == (FailureKind.DEPLOYMENT, None)
    first, hint = record.message.split("\n")
    assert first.startswith("the runtime_env could not be set up on node 192.0.2.2: Could not find a version")
    assert hint.startswith("  -> Correct the name")
    assert "index.internal" in record.traceback
    assert "planted" not in record.model_dump_json()


@pytest.mark.parametrize(
    ("field", "present", "missing"),
    [
        ("pip", [], ["virtualenv", "pip"]),
        ("pip", ["virtualenv", "uv"], ["pip"]),
        ("pip", ["virtualenv", "pip"], []),
        ("uv", ["virtualenv"], ["uv or pip"]),
        ("uv", ["virtualenv", "pip"], []),
        ("uv", ["uv"], ["virtualenv"]),
        ("conda", [], []),
    ],
)
def test_what_a_node_lacks_for_an_overlay_is_known(field, present, missing):
    assert lacking(field, {name: name in present for name in ("pip", "uv", "virtualenv")}) == missing
