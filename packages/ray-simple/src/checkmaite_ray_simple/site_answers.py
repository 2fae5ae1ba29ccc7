"""What a preflight runs on a node, and what it means if nothing comes back."""

from __future__ import annotations

import re
from collections.abc import Collection

import ray
from ray import cloudpickle
from ray import exceptions as raised

from checkmaite_core.errors import DefectError
from checkmaite_core.preflight.checks import Mender
from checkmaite_core.preflight.site import Answer
from checkmaite_ray_simple.failures import first_line, why_raised
from checkmaite_ray_simple.overlay.masking import masked_text

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


def explained(node_id: str, error: BaseException, secrets: Collection[str] = ()) -> Answer:
    """The answer to a question that Ray could not have answered, out of what it raised.

    Args:
        node_id: Where it was asked.
        error: What Ray raised.
        secrets: Values that must not be shown, such as those of the overlay's variables.
    """
    problem, mender, remedy = _reason(error)
    return Answer(node_id=node_id, problem=masked_text(problem, secrets), mender=mender, remedy=remedy)


def unanswered(node_id: str, timeout: float, *, builds: bool) -> Answer:
    """The answer to a question that was given up.

    Args:
        node_id: Where it was asked.
        timeout: Seconds that it was given.
        builds: Whether packages are installed before it can be answered.
    """
    cause = (
        "the packages of runtime_env may still be on their way"
        if builds
        else "no process could be started there, or something that it looked at hangs, such as an import, a mount or a "
        "firewall that drops packets"
    )
    return Answer(
        node_id=node_id,
        problem=f"no answer within {timeout:.3g} s: {cause}",
        mender="cluster",
        remedy="give it longer (timeout=SECONDS); if that does not help, look at the node's Ray logs",
    )


def _reason(error: BaseException) -> tuple[str, Mender, str]:
    """Problem, mender and remedy."""
    if isinstance(error, raised.RuntimeEnvSetupError):
        return (
            f"the runtime_env cannot be set up there: {_end_of(str(error.error_message or error))}",
            "client",
            "correct what is named here in runtime_env={...}, or have what it brings put into the worker image",
        )
    if isinstance(error, raised.OutOfMemoryError):
        return (
            f"Ray killed the process that looked, for memory: {first_line(error)}",
            "cluster",
            "free memory on the node, or give it more: a job would be killed as well",
        )
    if isinstance(error, raised.NodeDiedError | raised.LocalRayletDiedError | raised.TaskUnschedulableError):
        return (
            f"the node went away, or has less than it said ({type(error).__name__})",
            "cluster",
            "look at the node's Ray logs, and run the preflight again",
        )
    if isinstance(error, raised.WorkerCrashedError):
        return (
            "the process that looked was killed or has crashed, as happens with native libraries that do not fit",
            "image",
            "import what the job needs in the worker image, and see where it crashes:\n"
            "python -X faulthandler -c 'import MODULE'",
        )
    if isinstance(error, raised.RayTaskError):
        return _raised(error)
    return f"Ray did not have it answered: {first_line(error)}", "cluster", "look at the node's Ray logs"


def _end_of(text: str) -> str:
    """The last lines of what an installer said, where the reason stands."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " ".join(lines[-3:])[-600:]


def _raised(error: raised.RayTaskError) -> tuple[str, Mender, str]:
    """What it means that our own function has raised: something is missing, or it has a defect."""
    text = str(error)
    module, name = _NO_MODULE.search(text), _NO_NAME.search(text)
    if module and module["module"].startswith(_OURS):
        distribution = module["module"].partition(".")[0].replace("_", "-")
        problem = f"{distribution} is not installed there, or an older version: it has no module {module['module']}"
        return problem, "image", f"install {distribution} in the worker image, at the client's version"
    if module:
        problem = f"its environment is incomplete: there is no module {module['module']}"
        return problem, "image", "build the worker image from the lock, with all that its packages need"
    if name and name["module"].startswith(_OURS):
        distribution = name["module"].partition(".")[0].replace("_", "-")
        problem = f"{distribution} is another version there: {name['module']} has no {name['name']}"
        return problem, "image", f"install {distribution} in the worker image, at the client's version"
    found = why_raised(error, "looking at the node")
    if isinstance(found, DefectError):
        return found.message, "checkmaite", found.hint
    return f"it could not be looked at: {_end_of(found.message)}", "image", "build the worker image from the lock"
