"""A cluster on which things are wrong, for the tests of preflight: modules, nodes with flaws, an S3 with passwords."""

from __future__ import annotations

import contextlib
import http.client
import re
import shlex
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worker_environments import WorkerEnvironment, make_environment

from checkmaite_core.preflight.checks import Check
from checkmaite_core.preflight.report import PreflightReport
from checkmaite_storage.testing import FaultProxy, ProxiedRequest, fault_proxy

__all__ = [
    "CAPABILITY",
    "S3",
    "an_image",
    "found",
    "mounts_can_be_private",
    "s3_with_passwords",
    "started_by",
    "write_module",
]

SERVER = Path(__file__).parents[1] / "storage" / "servers" / "moto_server.py"

CAPABILITY = """
from checkmaite_core import Arity, Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun


class Images:
    def __init__(self, data):
        self.id, self.data = "images", data


class Config(CapabilityConfig):
    threshold: float = 0.5


class Outputs(CapabilityOutputs):
    answer: int


class Run(CapabilityRun[Config, Outputs]):
    pass


class Count(Capability[Config, Outputs]):
    id = "test.{name}"
    config_class = Config
    run_class = Run
    takes_datasets = Arity(0, None)

    def evaluate(self, inputs, config):
        return Outputs(answer=1)
"""
"""A capability of a package of the user's; ``{name}`` is the module's."""


def an_image(folder: Path, **options: Any) -> WorkerEnvironment:
    """An environment for nodes (see :func:`make_environment`), whose processes need not compile it first.

    Of files that are the same in this process's environment the compiled ones are linked: that halves the time in which
    a node out of a new environment starts.
    """
    made = make_environment(folder, **options)
    ours = Path(sysconfig.get_path("purelib"))
    for compiled in ours.rglob("*.pyc"):
        source = compiled.parents[1] / f"{compiled.name.partition('.')[0]}.py"
        there = made.site_packages / source.relative_to(ours)
        if there.exists() and source.exists() and there.samefile(source):
            cache = there.parent / compiled.parent.name
            cache.mkdir(exist_ok=True)
            (cache / compiled.name).hardlink_to(compiled)
    return made


def write_module(folder: Path, name: str, *, before: str = "", after: str = "") -> None:
    """A module with a capability ``Count`` and more code before and after it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(before + CAPABILITY.replace("{name}", name) + after)


def started_by(
    folder: Path,
    ray: Path,
    *,
    variables: Mapping[str, str | None],
    hides: Path | None = None,
    arguments: tuple[str, ...] = (),
) -> Path:
    """A command that starts a node as ``ray`` does, but with flaws.

    Args:
        folder: Where the command goes.
        ray: The ``ray`` command of the node's environment.
        variables: What is set in its environment; None for what is taken out of it.
        hides: A folder that is empty for this node, as one that is on another machine's disk: a mount of its own.
        arguments: More for ``ray start``.
    """
    lines = ["#!/bin/sh", "set -e"]
    for name, value in variables.items():
        lines.append(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")
    start = f'exec {shlex.quote(str(ray))} "$@" {shlex.join(arguments)}'
    if hides is not None:
        inner = f"mount -t tmpfs none {shlex.quote(str(hides))} && {start}"
        start = f'exec unshare --mount sh -c {shlex.quote(inner)} sh "$@"'
    command = folder / "ray-with-flaws"
    command.write_text("\n".join([*lines, start]) + "\n")
    command.chmod(0o755)
    return command


def mounts_can_be_private() -> bool:
    """Whether this machine lets us give a node a mount of its own."""
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def found(report: PreflightReport, text: str, *, section: str = "", node: str = "", level: str = "") -> list[Check]:
    """The checks whose subject or finding holds a text."""
    return [
        check
        for check in report.checks
        if text in f"{check.subject}: {check.found}"
        and section in ("", check.section)
        and level in ("", check.level)
        and node in ("", check.node)
    ]


class S3:
    """An S3 server that lets in one key id, knows another that may do nothing, and refuses all else.

    Attributes:
        proxy: What stands before the server and asks for the key.
        bucket: A bucket that is there.
    """

    key, secret, powerless = "right-key-id", "right-secret", "powerless-key-id"

    def __init__(self, proxy: FaultProxy, bucket: str) -> None:
        self.proxy = proxy
        self.bucket = bucket
        proxy.fault = self._judge

    @property
    def variables(self) -> dict[str, str]:
        """What a process needs in its environment to be let in."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.proxy.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _judge(self, request: ProxiedRequest) -> tuple[int, bytes] | None:
        shown = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
        if shown and shown[1] == self.key:
            return None
        code = b"AccessDenied" if shown and shown[1] == self.powerless else b"InvalidAccessKeyId"
        return 403, b"<Error><Code>%s</Code><Message>no</Message></Error>" % code


@contextlib.contextmanager
def s3_with_passwords() -> Iterator[S3]:
    """Start one."""
    with subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        bucket = f"bucket-{uuid.uuid4().hex}"
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", f"/{bucket}")
        assert connection.getresponse().status == 200
        connection.close()
        with fault_proxy(port) as proxy:
            yield S3(proxy, bucket)
        server.stdin.close()
