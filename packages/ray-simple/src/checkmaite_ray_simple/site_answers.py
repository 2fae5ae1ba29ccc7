"""What a preflight runs on a node, and what it means if nothing comes back."""

from __future__ import annotations

import re
from typing import Any

import ray
from ray import cloudpickle
from ray import exceptions as raised

from checkmaite_core.preflight.site import Answer
from checkmaite_ray_simple.failures import first_line

__all__ = ["answer_question", "explained", "unanswered"]

_NO_MODULE = re.compile(r"No module named '(?P<module>[^']+)'")
_NO_NAME = re.compile(r"cannot import name '(?P<name>[^']+)' from '(?P<module>[^']+)'")
_OURS = "checkmaite"


# Without a CPU unless the question asks for one: what is free must be enough to look at a node.
@ray.remote(num_cpus=0, max_retries=0)
def answer_question(inquiry: str, payload: bytes) -> str:
    """Answer one question of a preflight on the node where it runs."""
    from checkmaite_core.preflight import answer

    return answer(inquiry, payload, cloudpickle.loads)


def explained(node_id: str, error: BaseException) -> Answer:
    """The answer to a question that Ray could not have answered, out of what it raised."""

    def because(problem: str, mender: Any, remedy: str) -> Answer:
        return Answer(node_id=node_id, problem=problem, mender=mender, remedy=remedy)

    if isinstance(error, raised.RuntimeEnvSetupError):
        return because(
            f"the runtime_env could not be set up: {_setup_failure(error)}",
            "client",
            "Correct what is named here in runtime_env={...}, or put what it brings into the worker image.",
        )
    if isinstance(error, raised.OutOfMemoryError):
        return because(
            f"Ray killed the process that looked, for memory: {first_line(error)}",
            "cluster",
            "Free memory on the node, or give it more: a job would be killed as well.",
        )
    if isinstance(error, raised.NodeDiedError | raised.LocalRayletDiedError | raised.TaskUnschedulableError):
        return because(
            f"the node went away while it was asked: {first_line(error)}",
            "cluster",
            "Look at the node's Ray logs, and run the preflight again.",
        )
    if isinstance(error, raised.WorkerCrashedError):
        return because(
            "the process that looked was killed or crashed, as a native library that does not fit the machine does.",
            "image",
            "Run `python -X faulthandler -c 'import MODULE'` with the capability's module in the worker image.",
        )
    if isinstance(error, raised.RayTaskError):
        return because(*_not_importable(str(error)))
    return because(f"Ray could not have it answered: {first_line(error)}", "cluster", "Look at the node's Ray logs.")


def unanswered(node_id: str, timeout: float, *, builds: bool) -> Answer:
    """The answer to a question that was given up.

    Args:
        node_id: Where it was asked.
        timeout: Seconds that it was given.
        builds: Whether packages are installed before it can be answered.
    """
    cause = (
        "The packages of runtime_env may still be on their way"
        if builds
        else "No process could be started there, or something that it looked at hangs: an import, a mount, a firewall "
        "that drops packets"
    )
    return Answer(
        node_id=node_id,
        problem=f"no answer within {timeout:.3g} s. {cause}.",
        mender="cluster",
        remedy="Give it longer (timeout=SECONDS); if that does not help, look at the node's Ray logs and at what else "
        "this report says of it.",
    )


def _setup_failure(error: raised.RuntimeEnvSetupError) -> str:
    """The end of what the installer said, where the reason stands."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[-3:])[-600:]


def _not_importable(text: str) -> tuple[str, Any, str]:
    """Problem, mender and remedy, where our own function has raised: it does that only if something is missing."""
    module, name = _NO_MODULE.search(text), _NO_NAME.search(text)
    if module and module["module"].startswith(_OURS):
        distribution = module["module"].partition(".")[0].replace("_", "-")
        problem = f"{distribution} is not installed there, or an older version: there is no module {module['module']}."
        return problem, "image", f"Install {distribution} in the worker image, at the client's version."
    if module:
        problem = f"the worker's environment is incomplete: there is no module {module['module']}."
        return problem, "image", "Build the worker image from the lock, with all that its packages need."
    if name and name["module"].startswith(_OURS):
        distribution = name["module"].partition(".")[0].replace("_", "-")
        problem = f"{distribution} is another version there: {name['module']} has no {name['name']}."
        return problem, "image", f"Install the client's version of {distribution} in the worker image."
    lines = text.strip().splitlines()
    return f"it could not be looked at: {lines[-1] if lines else 'Ray does not say why'}", "image", "Read its Ray logs."
