"""Two environments compared: what must match, what should, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from checkmaite_core.deployment.environment import OURS, SHOULD_MATCH, Environment, normalized
from checkmaite_core.deployment.finding import Finding, Level
from checkmaite_core.deployment.table import findings_table
from checkmaite_core.errors import VersionSkewError
from checkmaite_core.notices import warn

__all__ = [
    "SkewPolicy",
    "VersionSkewWarning",
    "compare_environments",
    "require_match",
]

SkewPolicy = Literal["error", "warn", "ignore"]
"""What to do where versions that must match do not: refuse, say so and go on, or go on."""

_ABSENT = "-"
_SHOWN = 3


class VersionSkewWarning(UserWarning):
    """Client and worker differ; the message has the table."""


def compare_environments(client: Environment, worker: Environment, needed: Sequence[str] = ()) -> list[Finding]:
    """Differences, the worst first.

    Only what both have is compared: a worker may hold less (no command line) or more.

    Args:
        client: The client's environment.
        worker: The worker's.
        needed: Distributions that the worker must have, such as those of :func:`needed_for` for its store.
    """
    findings = [
        *_pythons(client, worker),
        *_missing(client, worker, needed),
        *_versions(client, worker),
        *_code(client, worker),
        *_reach(client, worker),
    ]
    findings += _locks(client, worker, same=not findings)
    findings += _others(client, worker, findings)
    order = list(Level)
    return sorted(findings, key=lambda finding: (order.index(finding.level), finding.distribution))


def _pythons(client: Environment, worker: Environment) -> Iterator[Finding]:
    if _minor(client.python) != _minor(worker.python):
        yield Finding(
            Level.ERROR,
            "python",
            client.python,
            worker.python,
            "code pickled by one minor version of Python cannot be read by another",
            f"client: uv venv --python {'.'.join(_minor(worker.python))}, and install again",
        )


def _missing(client: Environment, worker: Environment, needed: Sequence[str]) -> Iterator[Finding]:
    for name in needed:
        # Of what is not among the versions, only a whole description tells whether it is there.
        if name in worker.versions or name in worker.distributions:
            continue
        if name not in SHOULD_MATCH and name not in OURS and not worker.distributions:
            continue
        version = client.versions.get(name) or client.distributions.get(name)
        yield Finding(
            Level.ERROR,
            name,
            version or _ABSENT,
            _ABSENT,
            "jobs write to the analytics store with it",
            f'image: pip install "{name}=={version}"' if version else f"image: pip install {name}",
        )


def _versions(client: Environment, worker: Environment) -> Iterator[Finding]:
    for name, ours in client.versions.items():
        theirs = worker.versions.get(name)
        # What the worker lacks may come with runtime_env (working_dir or py_modules), which brings code and no
        # metadata; if it does not, unpickling says which module is missing.
        if theirs is None or ours == theirs:
            continue
        follow = f'client: pip install "{name}=={theirs}"'
        if name == client.subject and name not in OURS:
            remedy = f'image: pip install "{name}=={ours}", or send the code with runtime_env (py_modules)'
            yield Finding(Level.ERROR, name, ours, theirs, "it defines the submitted capability", remedy)
        elif name == "ray":
            yield Finding(Level.ERROR, name, ours, theirs, "Ray needs the same version on both sides", follow)
        elif name == "pydantic" or name in OURS:
            if _minor(ours) != _minor(theirs):
                reason = "its values travel between client and worker"
                yield Finding(Level.ERROR, name, ours, theirs, reason, follow)
        else:
            reason = "results could differ from those of a run on the client"
            yield Finding(Level.WARNING, name, ours, theirs, reason, follow)


def _code(client: Environment, worker: Environment) -> Iterator[Finding]:
    """The capability's own module, where no version tells that the worker has another."""
    if None in (client.code, worker.code) or client.code == worker.code or client.module != worker.module:
        return
    name = client.subject or ""
    ours, theirs = client.versions.get(name), worker.versions.get(name)
    if None not in (ours, theirs) and ours != theirs:
        return
    yield Finding(
        Level.ERROR,
        name or str(client.module),
        f"{ours or ''} {str(client.code)[:8]}".strip(),
        f"{theirs or ''} {str(worker.code)[:8]}".strip(),
        f"{client.module} defines the capability: another build, or loaded before it was edited",
        "client: configure_job_backend(...) again, with the code in runtime_env (working_dir); "
        "or image: install the client's build",
    )


def _reach(client: Environment, worker: Environment) -> Iterator[Finding]:
    """What the capability and its inputs import, directly or through others."""
    name = client.subject or ""
    ours, theirs = client.versions.get(name), worker.versions.get(name)
    if None not in (ours, theirs) and ours != theirs:
        return  # said already
    differing = {module: both for module, both in worker.differing.items() if module != client.module}
    if not differing:
        return
    first = min(differing)
    names = ", ".join(sorted(differing)[:_SHOWN]) + (
        f" and {more} more" if (more := len(differing) - _SHOWN) > 0 else ""
    )
    yield Finding(
        Level.ERROR,
        first,
        differing[first][0][:8],
        differing[first][1][:8],
        f"the job can reach {names}: another build, or loaded before it was edited",
        "client: configure_job_backend(...) again, with the code in runtime_env (working_dir); "
        "or image: install the client's build",
    )


def _locks(client: Environment, worker: Environment, *, same: bool) -> Iterator[Finding]:
    if client.lock == worker.lock:
        return
    stamp = "python -m checkmaite_core.deployment stamp --lock FILE"
    if client.lock is not None and worker.lock is not None:
        yield Finding(
            Level.WARNING,
            "(lock)",
            _short(client.lock),
            _short(worker.lock),
            "client and image were made from two locks",
            f"make both from one, and in each: {stamp}",
        )
    elif same:
        side = "client" if client.lock is None else "image"
        yield Finding(
            Level.NOTE,
            "(lock)",
            _short(client.lock),
            _short(worker.lock),
            f"versions are right, but the {side} does not say which lock it is from",
            f"{side}: {stamp}",
        )


def _others(client: Environment, worker: Environment, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Of whole descriptions: what else differs, patches included, in one line."""
    if not (client.distributions and worker.distributions):
        return
    ours = {"python": client.python, **client.distributions}
    theirs = {"python": worker.python, **worker.distributions}
    told = {normalized(finding.distribution) for finding in findings}
    differing = sorted(name for name in ours.keys() & theirs.keys() - told if ours[name] != theirs[name])
    if differing:
        shown = ", ".join(f"{name} {ours[name]} / {theirs[name]}" for name in differing[:_SHOWN])
        more = ", ..." if len(differing) > _SHOWN else ""
        yield Finding(
            Level.NOTE,
            f"{len(differing)} other{'s' if len(differing) > 1 else ''}",
            _ABSENT,
            _ABSENT,
            f"they differ, and are not known to matter: {shown}{more}",
            "make client and image from one lock",
        )


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _short(lock: str | None) -> str:
    return _ABSENT if lock is None else lock[: len("sha256:") + 12]


def require_match(client: Environment, worker: Environment, policy: SkewPolicy = "error") -> None:
    """Refuse to go on where a version that must match does not; what only should match stops nothing.

    Args:
        client: The client's environment.
        worker: The worker's.
        policy: What to do about it.

    Raises:
        VersionSkewError: The policy is ``error``; the message has the table.

    Warns:
        VersionSkewWarning: The policy is ``warn``.
    """
    if policy == "ignore":
        return
    findings = compare_environments(client, worker)
    if not any(finding.level is Level.ERROR for finding in findings):
        return
    message = "the worker's environment does not fit the client's:\n" + findings_table(findings)
    if policy == "warn":
        warn(message, VersionSkewWarning, stacklevel=2)
        return
    raise VersionSkewError(
        message,
        hint="Install client and worker from the same lock; lines with 'error' must agree. "
        'To go on in spite of them: version_skew="warn".',
    )
