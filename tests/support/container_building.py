"""Images built by buildah with no registry, and Ray nodes started from their file trees."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["Buildah", "Layer", "start_node"]

_PATIENCE = 120.0


@dataclass(frozen=True)
class Layer:
    """A step of an image that changed its files.

    Attributes:
        step: The instruction that made it.
        digest: Of its content.
    """

    step: str
    digest: str


class Buildah:
    """Builds in a folder of its own, as root, without a daemon and without namespaces.

    Args:
        folder: For its storage.
        cache: uv's cache on this machine, which the builds take all distributions from.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self._cache = cache
        self._policy = folder / "policy.json"
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._storage = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]
        (folder / "empty").mkdir()
        (folder / "empty" / "Containerfile").write_text("FROM scratch\nCOPY Containerfile /\n")
        for self._driver in ("overlay", "vfs"):  # not every file system can carry overlays
            try:
                self.build(folder / "empty", "empty")
            except subprocess.CalledProcessError:
                continue
            return
        raise AssertionError("buildah can use neither overlay nor vfs here")

    def build(self, context: Path, name: str, **arguments: str) -> None:
        """Build a context's Containerfile."""
        given = {"UV_OFFLINE": "1", "UV_CACHE_DIR": "/host-cache", "OS_PACKAGES": "", **arguments}
        self._run(
            "build",
            *("--isolation", "chroot", "--layers", "--signature-policy", str(self._policy)),
            *("--volume", f"{self._cache}:/host-cache", "--tag", f"localhost/{name}"),
            *(part for key, value in given.items() for part in ("--build-arg", f"{key}={value}")),
            str(context),
        )

    def layers(self, name: str) -> list[Layer]:
        """The image's layers, lowest first."""
        image = self._inspected(name)
        steps = [one["created_by"] for one in image["history"] if not one.get("empty_layer")]
        return [Layer(*both) for both in zip(steps, image["rootfs"]["diff_ids"], strict=True)]

    def config(self, name: str) -> dict[str, object]:
        """What the image says about the processes that are started from it."""
        config = self._inspected(name)["config"]
        assert isinstance(config, dict)
        return config

    def mount(self, name: str) -> Path:
        """The file tree of a new container of the image."""
        container = self._run("from", "--signature-policy", str(self._policy), f"localhost/{name}").split()[-1]
        return Path(self._run("mount", container).strip())

    def close(self) -> None:
        """Take down what was mounted."""
        self._run("umount", "--all")
        self._run("rm", "--all")

    def _inspected(self, name: str) -> dict[str, dict[str, object]]:
        image = json.loads(self._run("inspect", "--type", "image", f"localhost/{name}"))["OCIv1"]
        assert isinstance(image, dict)
        return image

    def _run(self, command: str, *arguments: str) -> str:
        result = subprocess.run(
            ["buildah", *self._storage, "--storage-driver", self._driver, command, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            error = subprocess.CalledProcessError(result.returncode, f"buildah {command}")
            error.add_note(f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}")
            raise error
        return result.stdout


ENTER = """
mount --rbind /dev {tree}/dev
mount -t proc proc {tree}/proc
exec chroot --userspec={user} {tree} "$@"
"""


def start_node(
    tree: Path, config: dict[str, object], log: IO[bytes], *arguments: str, **variables: str
) -> subprocess.Popen[bytes]:
    """Start a Ray node from an image's file tree, as the user and with the variables that the image says.

    It is in namespaces of its own for mounts and processes: when it ends, all of it is gone.
    """
    said = config["Env"]
    assert isinstance(said, list)
    environment = [*said, "HOME=/home/ray", *(f"{key}={value}" for key, value in variables.items())]
    enter = ENTER.format(tree=tree, user=config["User"])
    unshare = shutil.which("unshare")
    assert unshare is not None
    apart = ["--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", enter, "sh"]
    start = ["/usr/bin/env", "-i", *environment, "ray", "start", "--block", "--disable-usage-stats", *arguments]
    process = subprocess.Popen(
        [unshare, *apart, *start],
        stdout=log,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"]},
        start_new_session=True,
    )
    deadline = time.monotonic() + _PATIENCE
    while b"Ray runtime started" not in Path(log.name).read_bytes():
        assert process.poll() is None, Path(log.name).read_text()
        assert time.monotonic() < deadline, "the node did not start"
        time.sleep(0.1)
    return process
