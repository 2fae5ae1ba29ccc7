"""Weigh the workers: what each backend with each storage connector installs, and what its processes import.

The committed table on the documentation's page of footprints is the baseline. Growth beyond the tolerances below is an
error; what is meant to grow is written anew with ``--write``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from image_layers import ROOT, Choice, build_wheels, export_layers

PAGE = ROOT / "docs" / "platform" / "footprints.md"
WORKERS = tuple(
    Choice(backend, connectors)
    for backend in ("ray-simple", "ray")
    for connectors in ((), ("s3",), ("gcs",), ("azure",))
)
TOLERANCES: Mapping[str, float] = {"distributions": 0.0, "megabytes": 0.03, "modules": 0.03, "imports": 0.25}
"""The share by which a figure may be above the baseline."""

_PROCESSES = {
    "ray-simple": ["checkmaite_ray_simple.worker"],
    # Its control plane runs on the same image.
    "ray": ["checkmaite_ray_simple.worker", "checkmaite_ray.registry", "checkmaite_ray.controller"],
}
_CONNECTORS = {"s3": "s3fs", "gcs": "gcsfs", "azure": "adlfs"}
_IMPORTS = """
import json, sys, time
begun = time.perf_counter()
import ray
bare = time.perf_counter() - begun
import checkmaite_analytics_store, {modules}
whole = time.perf_counter() - begun
print(json.dumps([len(sys.modules), bare, whole]))
"""
_HEADER = "| worker | distributions | MB | modules | import ms | of bare Ray |"


@dataclass(frozen=True)
class Footprint:
    """What one worker takes.

    Attributes:
        worker: Its backend and connectors.
        distributions: How many are installed.
        megabytes: Size of their files, without bytecode (10^6 bytes).
        modules: How many a process has imported that is ready for a job.
        milliseconds: How long that took, at best.
        imports: The same as a multiple of importing Ray alone, at best: a figure that other machines share.
    """

    worker: str
    distributions: int
    megabytes: float
    modules: int
    milliseconds: float = 0.0
    imports: float = 0.0


def name_of(choice: Choice) -> str:
    """The requirement that brings such a worker."""
    return f"checkmaite-{choice.backend}" + (f"[{','.join(choice.connectors)}]" if choice.connectors else "")


def weigh(choice: Choice, folder: Path, *, rounds: int) -> Footprint:
    """Install a worker's layers in a new environment and weigh it.

    Args:
        choice: What the worker has.
        folder: Where the environment is to be.
        rounds: How often to time the imports; 0 counts the modules alone.
    """
    layers = export_layers(ROOT, choice)
    python = folder / "bin" / "python"
    _uv("venv", "--no-project", "--python", sys.executable, folder)
    build_wheels(ROOT, layers.members, folder / "wheels")
    pins = folder / "requirements.txt"
    pins.write_text("".join(text for layer in layers.requirements.values() for text in layer.values()))
    _uv("pip", "install", "--no-deps", "--python", python, "-r", pins, *sorted((folder / "wheels").iterdir()))
    (installed,) = folder.glob("lib/python*/site-packages")
    files = [path for path in installed.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    # The first time writes the bytecode.
    taken = [_imported(python, choice) for _ in range(rounds + 1)]
    return Footprint(
        name_of(choice),
        len(list(installed.glob("*.dist-info"))),
        sum(path.stat().st_size for path in files) / 1e6,
        taken[0].modules,
        min(one.whole for one in taken) * 1e3 if rounds else 0.0,
        min(one.whole for one in taken) / min(one.bare for one in taken) if rounds else 0.0,
    )


class _Imports(NamedTuple):
    """Number of modules, and seconds for Ray alone and for all."""

    modules: int
    bare: float
    whole: float


def _imported(python: Path, choice: Choice) -> _Imports:
    modules = [*_PROCESSES[choice.backend], *(_CONNECTORS[name] for name in choice.connectors)]
    program = _IMPORTS.format(modules=", ".join(modules))
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": ""}
    command = [str(python), "-P", "-s", "-c", program]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=python.parent)
    return _Imports(*json.loads(result.stdout.splitlines()[-1]))


def _uv(*arguments: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    command = ["uv", "--quiet", *map(str, arguments)]
    subprocess.run(command, check=True, env={**environment, "UV_PYTHON_DOWNLOADS": "never"})


def table(footprints: Iterable[Footprint]) -> str:
    """The table of the page."""
    rows = [
        f"| `{one.worker}` | {one.distributions} | {one.megabytes:.0f} | {one.modules} | {one.milliseconds:.0f} "
        f"| {one.imports:.2f} |"
        for one in footprints
    ]
    return "\n".join([_HEADER, re.sub(r"[^|]+", " ---: ", _HEADER).replace(" ---: ", " --- ", 1), *rows])


def read_table(page: str) -> dict[str, Footprint]:
    """The baseline, by worker."""
    found = {}
    for name, *cells in re.findall(
        r"(?m)^\| `(checkmaite-\S+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \|$", page
    ):
        distributions, megabytes, modules, milliseconds, imports = cells
        found[name] = Footprint(
            name, int(distributions), float(megabytes), int(modules), float(milliseconds), float(imports)
        )
    return found


def measured_here(page: str) -> bool:
    """Whether the baseline is of this Python's minor version: others have other modules and other wheels."""
    return f"Python {sys.version_info.major}.{sys.version_info.minor} on Linux" in page


def growth(baseline: Mapping[str, Footprint], now: Iterable[Footprint]) -> list[str]:
    """What has grown beyond its tolerance, for people; a figure that was not taken has not grown."""
    grown = []
    for one in now:
        before = baseline.get(one.worker)
        if before is None:
            grown.append(f"{one.worker} has no baseline")
            continue
        for figure, tolerance in TOLERANCES.items():
            was, is_now = getattr(before, figure), getattr(one, figure)
            # Half a unit, because the table is rounded.
            if is_now > was * (1 + tolerance) + (0.5 if figure == "megabytes" else 0.0):
                grown.append(f"{one.worker}: {figure} {was:g} -> {is_now:g} (may grow by {tolerance:.0%})")
    return grown


def weigh_all(
    rounds: int, workers: Iterable[Choice] = WORKERS, said: Callable[[str], None] = lambda _: None
) -> list[Footprint]:
    """Weigh one worker after the other, and say which one is next."""
    found = []
    with tempfile.TemporaryDirectory(prefix="footprints-") as name:
        for number, choice in enumerate(workers):
            said(name_of(choice))
            found.append(weigh(choice, Path(name) / str(number), rounds=rounds))
    return found


def main() -> int:
    """Print the table; say what has grown, or write it into the page."""
    parser = argparse.ArgumentParser(prog="footprints.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="make what is measured now the baseline")
    parser.add_argument("--rounds", type=int, default=7, help="how often imports are timed; the best counts")
    given = parser.parse_args()
    found = weigh_all(given.rounds, said=lambda name: print(f"weighing {name}", file=sys.stderr))
    print(table(found))
    page = PAGE.read_text()
    if given.write:
        PAGE.write_text(re.sub(rf"{re.escape(_HEADER)}\n(?:\|.*\n)+", lambda _: f"{table(found)}\n", page))
        return 0
    if not measured_here(page):
        print("The baseline is of another Python: nothing is compared.", file=sys.stderr)
        return 1
    grown = growth(read_table(page), found)
    for line in grown:
        print(line, file=sys.stderr)
    if grown:
        print("If that is meant: uv run nox -s footprints -- --write, and commit the page.", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
