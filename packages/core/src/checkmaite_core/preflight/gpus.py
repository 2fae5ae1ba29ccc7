"""Run by the worker: whether the process sees the GPUs that Ray has given it."""

from __future__ import annotations

import glob
import importlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib import util

from checkmaite_core.preflight.checks import Check

__all__ = ["GpuFacts", "judge_gpus", "look_for_gpus"]

_DEVICES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu")
"""NVIDIA's, AMD's, those of Windows' Linux, and NVIDIA's on boards."""
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """What can be seen of GPUs in a process.

    Attributes:
        visible: The value of ``CUDA_VISIBLE_DEVICES``; None if it is not set.
        devices: The device files that there are.
        listed: Lines of ``nvidia-smi -L``; None where there is no such command or it fails.
        torch: Version of PyTorch; None where it is not installed or cannot be imported.
        torch_cuda: The CUDA version that PyTorch was built for; None for a build without.
        torch_devices: How many GPUs PyTorch can use.
    """

    visible: str | None = None
    devices: tuple[str, ...] = ()
    listed: tuple[str, ...] | None = None
    torch: str | None = None
    torch_cuda: str | None = None
    torch_devices: int = 0


def look_for_gpus() -> GpuFacts:
    """Look at this process's GPUs. Imports PyTorch where it is installed, as the jobs will."""
    version, cuda, count = _torch()
    return GpuFacts(
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        devices=tuple(sorted(path for pattern in _DEVICES for path in glob.glob(pattern))),
        listed=_listed(),
        torch=version,
        torch_cuda=cuda,
        torch_devices=count,
    )


def _listed() -> tuple[str, ...] | None:
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the driver's own command, with no argument from outside
            [command, "-L"], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tuple(line for line in done.stdout.splitlines() if line.startswith("GPU ")) if done.returncode == 0 else None


def _torch() -> tuple[str | None, str | None, int]:
    if util.find_spec("torch") is None:
        return None, None, 0
    try:
        torch = importlib.import_module("torch")
        cuda = torch.version.cuda or getattr(torch.version, "hip", None)
        return str(torch.__version__), cuda, int(torch.cuda.device_count())
    except Exception:  # a broken PyTorch is reported where the job's own code needs it
        return None, None, 0


def judge_gpus(job: str, amount: float, facts: GpuFacts) -> Check:
    """Whether what a process sees is what its job was given.

    Args:
        job: The job's name.
        amount: How many GPUs it asks for.
        facts: What a process that was given as many sees.
    """
    subject = f"GPUs for {job}"
    if facts.visible is not None and not facts.visible.strip():
        found = f"Ray has given the process {amount:g} GPU, but CUDA_VISIBLE_DEVICES is empty in it"
        remedy = "remove CUDA_VISIBLE_DEVICES from the image's and the overlay's variables, and leave it to Ray"
        return Check(section="resources", subject=subject, level="error", found=found, mender="cluster", remedy=remedy)
    if not facts.devices and not facts.listed and not facts.torch_devices:
        found = f"Ray has {amount:g} GPU to give there, but the process sees none: no device under /dev"
        remedy = (
            "start the node's container with its GPUs (on Kubernetes resources.limits: nvidia.com/gpu), or start Ray "
            "with the number that there is:\nray start --num-gpus=0 ..."
        )
        return Check(section="resources", subject=subject, level="error", found=found, mender="cluster", remedy=remedy)
    if facts.torch is not None and facts.torch_devices == 0:
        built = f"was built for CUDA {facts.torch_cuda}" if facts.torch_cuda else "was built without CUDA"
        found = f"the process sees a GPU, but PyTorch {facts.torch} cannot use it: it {built}"
        remedy = "install a PyTorch for the CUDA version that the node's driver supports (nvidia-smi shows it)"
        return Check(section="resources", subject=subject, level="error", found=found, mender="image", remedy=remedy)
    seen = facts.torch_devices or len(_visible(facts)) or len(facts.listed or facts.devices)
    by = "PyTorch" if facts.torch_devices else "the process"
    if seen + 1e-9 < amount:
        found = f"Ray has given the process {amount:g} GPUs, but {by} sees {seen}"
        remedy = "make the number of GPUs that Ray was started with the one that there is (ray start --num-gpus)"
        return Check(section="resources", subject=subject, level="error", found=found, mender="cluster", remedy=remedy)
    found = f"Ray gives {amount:g}, and {by} sees {seen}"
    return Check(section="resources", subject=subject, level="ok", found=found)


def _visible(facts: GpuFacts) -> list[str]:
    return [part for part in (facts.visible or "").split(",") if part.strip()] if facts.devices else []
