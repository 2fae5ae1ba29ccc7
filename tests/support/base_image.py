"""A base image out of this machine's own Python, so that a build needs no registry of images."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

PROGRAMS = ("sh", "env", "mkdir", "chown", "chmod", "rm", "cat", "ls", "grep", "sed", "id")
"""What the Containerfiles and Ray's scripts call."""
MULTIARCH = sysconfig.get_config_var("MULTIARCH")
LEFT_OUT = shutil.ignore_patterns("site-packages", "test", "tests", "idlelib", "tkinter", "__pycache__", "config-*")
SETTINGS = ("/etc/nsswitch.conf", "/etc/ssl/certs/ca-certificates.crt")


def make_base(root: Path, *more: Path) -> None:
    """Lay out a file tree that runs this interpreter as ``/usr/local/bin/python3``.

    Args:
        root: Where; must not exist.
        more: Programs and libraries whose shared libraries it is to hold too.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = Path(sys.base_prefix, "bin", version)
    libraries = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}))
    (root / "usr/local/bin").mkdir(parents=True)
    shutil.copy(python, root / "usr/local/bin" / version)
    for name in ("python3", "python"):
        (root / "usr/local/bin" / name).symlink_to(version)
    shutil.copytree(libraries, root / "usr/local/lib" / version, symlinks=True, ignore=LEFT_OUT)
    (root / "usr/local/lib" / version / "site-packages").mkdir()
    programs = [Path(shutil.which(name) or name).resolve() for name in PROGRAMS]
    for name, program in zip(PROGRAMS, programs, strict=True):
        _put(program, root / "usr/bin" / name)
    for link in ("bin", "lib", "lib64", "sbin"):
        (root / link).symlink_to(f"usr/{link}")
    extensions = list((libraries / "lib-dynload").glob("*.so"))
    for library in sorted(_needed([python, *programs, *extensions, *more])):
        # Where this machine has them, but for the interpreter's own: it looked for that where it was built.
        own = library.is_relative_to(sys.base_prefix)
        _put(library, root / (f"usr/lib/{MULTIARCH}" if own else _merged(library.parent)) / library.name)
    for name in SETTINGS:
        if Path(name).exists():
            _put(Path(name), root / name.lstrip("/"))
    for folder in ("etc", "tmp", "var/tmp", "var/cache", "proc", "sys", "dev", "root", "run", "home"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("tmp", "var/tmp"):
        (root / folder).chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")


def _merged(folder: Path) -> str:
    """A folder of libraries, in the merged layout of current Linux distributions."""
    name = str(folder).lstrip("/")
    return name if name.startswith("usr/") else f"usr/{name}"


def _needed(binaries: Iterable[Path]) -> set[Path]:
    found: set[Path] = set()
    for binary in binaries:
        listing = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
        found.update(Path(path) for path in re.findall(r"(?:=> )?(/\S+) \(0x", listing))
    return found


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
