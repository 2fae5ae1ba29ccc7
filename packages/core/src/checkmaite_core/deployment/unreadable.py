"""Why a worker cannot read what a client has sent."""

from __future__ import annotations

import re

from checkmaite_core.deployment.comparison import compare_environments
from checkmaite_core.deployment.environment import Environment, describe_alike
from checkmaite_core.deployment.origin import folders_alone
from checkmaite_core.deployment.table import findings_table

__all__ = ["why_unreadable"]

_MODULE = re.compile(r"<module '([^']+)'")
_LIBRARY = re.compile(r"(\S+\.so[.\d]*): cannot open shared object file")


def why_unreadable(error: BaseException, client: Environment) -> tuple[str, str]:
    """Explain what stopped the unpickling of work on this worker.

    Args:
        error: What was raised.
        client: The client's environment; what differs from it here becomes part of the explanation.

    Returns:
        A message and a hint.
    """
    message = f"the work cannot be read on this worker: {type(error).__name__}: {error}"
    findings = compare_environments(client, describe_alike(client))
    if findings:
        message += "\nThe worker's environment differs from the client's:\n" + findings_table(findings)
    return message, _hint(error, client)


def _hint(error: BaseException, client: Environment) -> str:
    library = _LIBRARY.search(str(error)) if isinstance(error, ImportError | OSError) else None
    if library is not None:
        return (
            f"Add the system package that brings {library[1]} to the worker's image; pip does not install it. "
            '"checkmaite preflight" looks for such libraries on every kind of node.'
        )
    bare = folders_alone(_module_of(error).partition(".")[0])
    if bare:
        return (
            f"On the worker this module is only a folder of its name, {', '.join(bare)}, without the code: such as a "
            "project's folder that lies in working_dir. Send the folder that holds the package (often src), or "
            "install the package in the worker's image."
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"Add what brings {error.name!r} to the worker's image{_requirement(error.name, client)}, or send it "
            "with runtime_env (working_dir or py_modules)."
        )
    if isinstance(error, ImportError | AttributeError):
        return (
            "Most likely the worker has another version of that code than the client: install the client's in the "
            "worker's image, or send it with runtime_env (working_dir or py_modules)."
        )
    return "Look at what the capability and its inputs do when they are unpickled."


def _module_of(error: BaseException) -> str:
    """The module that an error of an import, or of a look into a module, is about."""
    if isinstance(error, ImportError):
        return error.name or ""
    found = _MODULE.search(str(error)) if isinstance(error, AttributeError) else None
    return found[1] if found else ""


def _requirement(module: str, client: Environment) -> str:
    """What to type for a module, where the client has said which distribution brings it."""
    subject = client.subject
    if subject is None or client.module is None or client.module.partition(".")[0] != module.partition(".")[0]:
        return ""
    version = client.versions.get(subject)
    return f': pip install "{subject}=={version}"' if version else f" (distribution {subject})"
