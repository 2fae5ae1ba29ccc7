"""What is installed somewhere."""

from __future__ import annotations

import functools
import platform
import re
import shutil
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib import metadata, util

from pydantic import Field

from checkmaite_core.deployment.code import code_here, code_of
from checkmaite_core.deployment.origin import comes_from, distribution_of
from checkmaite_core.deployment.reached import reached_here
from checkmaite_core.deployment.stamp import read_stamp
from checkmaite_core.evolving import Evolving

__all__ = [
    "OURS",
    "SHOULD_MATCH",
    "Environment",
    "NodeEnvironment",
    "describe_alike",
    "describe_environment",
    "normalized",
]

OURS = (
    "checkmaite-core",
    "checkmaite-storage",
    "checkmaite-analytics-store",
    "checkmaite-ledger",
    "checkmaite-ray-simple",
    "checkmaite-ray",
    "checkmaite-capabilities",
)
"""Our distributions that a client and a worker may both have."""
SHOULD_MATCH = ("pyarrow", "fsspec", "s3fs", "gcsfs", "adlfs", "numpy", "maite")
"""Others that shape results, or carry them to the store."""
_MODULES = ("pip", "virtualenv", "uv")
_COMMANDS = ("uv", "conda", "podman")


class Environment(Evolving):
    """What is installed somewhere. Travels as JSON, with every job.

    Attributes:
        python: Version of the interpreter.
        platform: Operating system and machine.
        versions: Version by distribution, of those that both sides share, and of those that define the capability
            and the classes of its inputs. What is not installed is left out, and so is a subject whose code would be
            imported from elsewhere, such as from an overlay.
        module: The module that defines the submitted capability.
        subject: Distribution that this module comes from, if it is an installed one.
        code: Digest of that module's code. On a worker, of what its process has loaded.
        reach: The first-party modules and data files that the work can reach, with their digests (see
            :mod:`checkmaite_core.deployment.reached`); empty where there are none.
        differing: Only of a worker: the modules of the client's ``reach`` that are others here, each with the client's
            digest and the worker's, of what its process has loaded.
        lock: Digest of the lock that the environment was made from, as its stamp has it (see
            :func:`checkmaite_core.deployment.write_stamp`); None without a stamp.
        distributions: Version by distribution, of all that is installed. Only in a whole description.
        tools: What overlays are made with and is here, by name, such as ``pip``, ``virtualenv`` and ``uv``: its
            version, or where its command lies. Only in a whole description.
    """

    python: str
    platform: str
    versions: dict[str, str] = Field(default_factory=dict)
    module: str | None = None
    subject: str | None = None
    code: str | None = None
    reach: str = ""
    differing: dict[str, tuple[str, str]] = Field(default_factory=dict)
    lock: str | None = None
    distributions: dict[str, str] = Field(default_factory=dict)
    tools: dict[str, str] = Field(default_factory=dict)

    def without_work(self) -> Environment:
        """The same environment, with nothing said of a capability that is to be run."""
        return self.model_copy(update={"module": None, "subject": None, "code": None, "reach": ""})


@dataclass(frozen=True, slots=True)
class NodeEnvironment:
    """The environment that jobs find on one node of a cluster.

    Attributes:
        node_id: The node's id, as the cluster has it.
        name: Its name or address, for people.
        environment: What is installed there; None if it could not be told.
        problem: Why it could not be told.
    """

    node_id: str
    name: str
    environment: Environment | None
    problem: str | None = None


def describe_environment(
    module: str | None = None,
    *,
    values: Collection[str] = (),
    distribution: str | None = None,
    reach: str = "",
    whole: bool = False,
) -> Environment:
    """Describe this process's environment.

    Args:
        module: Name of the module that defines the capability; the distribution it comes from is included.
        values: Names of the modules whose classes its inputs and its config have; their distributions are included.
        distribution: Name of the capability's distribution, where it is known already.
        reach: What the work can reach (see :func:`checkmaite_core.deployment.reached.pack`).
        whole: Also all other distributions, and the tools that overlays are made with. It takes a look at each of
            them, and is some kilobytes long.

    Raises:
        DeploymentError: The environment's stamp cannot be read.
    """
    subject = distribution or (distribution_of(_top_level(module)) if module else None)
    further = {found for name in values if (found := distribution_of(_top_level(name))) is not None}
    described = _described(module, subject, code_of(module) if module else None, frozenset(further), reach)
    return described.model_copy(update={"distributions": _all_versions(), "tools": _tools()}) if whole else described


def describe_alike(other: Environment) -> Environment:
    """Describe this process's environment by what another's description looks at, so that the two can be compared.

    Args:
        other: Such as the client's, on a worker.

    Raises:
        DeploymentError: The environment's stamp cannot be read.
    """
    code = code_here(other.module) if other.module else None
    described = _described(other.module, other.subject, code, frozenset(other.versions), other.reach)
    differing = reached_here(other.reach)
    return described.model_copy(update={"differing": differing}) if differing else described


@functools.lru_cache(maxsize=64)
def _described(
    module: str | None, subject: str | None, code: str | None, further: frozenset[str], reach: str
) -> Environment:
    """One object for each subject: many jobs have the same."""
    base = _base_environment()
    versions = dict(base.versions)
    for name in sorted({*further, subject} - {None, *versions}, key=str):
        version = _version(str(name))
        overlaid = name == subject and module is not None and not comes_from(_top_level(module), str(name))
        if version is not None and not overlaid:
            versions[str(name)] = version
    update = {"module": module, "subject": subject, "code": code, "versions": versions, "reach": reach}
    return base.model_copy(update=update)


def _top_level(module: str) -> str:
    return module.partition(".")[0]


@functools.cache
def _base_environment() -> Environment:
    versions = {name: _version(name) for name in (*OURS, "ray", "pydantic", *SHOULD_MATCH)}
    stamp = read_stamp()
    return Environment(
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine()}",
        versions={name: version for name, version in versions.items() if version is not None},
        lock=None if stamp is None else stamp.digest,
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _all_versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a folder that was left half removed has none
            # Of two with one name the first on the path counts.
            found.setdefault(normalized(name), distribution.version)
    return dict(sorted(found.items()))


def normalized(name: str) -> str:
    """The name of a distribution as indexes have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _tools() -> dict[str, str]:
    found = {name: path for name in _COMMANDS if (path := shutil.which(name)) is not None}
    for name in _MODULES:
        if util.find_spec(name) is not None:
            found[name] = _version(name) or "without metadata"
    return found
