"""What a contributor must pass: ``uv run nox``.

Every session installs its own environment from ``uv.lock``; with a warm uv cache that is hard links and takes seconds.
Outside the default: ``image-layers``, ``footprints``, ``bench``, ``soak``, ``pythons`` and ``maite``; run one with
``uv run nox -s NAME``.
Arguments after ``--`` go to the session's main tool: ``uv run nox -s tests -- tests/core -k progress``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
# A session whose interpreter is missing fails by name, instead of being skipped.
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
SOURCES = sorted(str(path) for path in ROOT.glob("packages/*/src"))
EVERYTHING = ("--all-packages", "--all-extras")
OTHER_MAITE = "0.9.4"
"""The oldest supported MAITE; the lock holds the newest."""


def install(session: nox.Session, *selection: str) -> None:
    """Make the session's environment exactly what the lock says for ``selection``, and nothing else."""
    session.run_install(
        "uv",
        "sync",
        "--frozen",
        "--quiet",
        "--no-default-groups",
        *selection,
        external=True,
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location, "UV_PYTHON_DOWNLOADS": "never"},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format, and that packages import only what lies below them."""
    install(session, "--only-group", "lint")
    session.run("uv", "lock", "--check", "--quiet", external=True)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    # The import graph is read from the sources; nothing has to be installed for it.
    session.run("lint-imports", "--no-cache", "--no-logo", env={"PYTHONPATH": os.pathsep.join(SOURCES)})


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types strictly: the packages, and how users are meant to write against them."""
    install(session, *EVERYTHING, "--group", "typecheck")
    session.run("mypy", *(session.posargs or [*SOURCES, ".ci", "tests/typing"]))


@nox.session
def packages(session: nox.Session) -> None:
    """Build each wheel, install it alone with only its declared dependencies, import and weigh it."""
    install(session, "--only-group", "test")
    session.run("pytest", "-m", "packages", "tests/packages", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site; a warning is an error. The code blocks on it run in ``tests``."""
    install(session, "--only-group", "docs")
    quiet = {"NO_MKDOCS_2_WARNING": "1"}  # the theme's advertisement for its successor
    session.run("mkdocs", "build", "--strict", "--quiet", "--config-file", ".mkdocs.yml", *session.posargs, env=quiet)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests."""
    install(session, *EVERYTHING, "--group", "integration")
    session.run("pytest", "--durations=10", *session.posargs)


@nox.session(name="image-layers", default=False, venv_backend="none")
def image_layers(session: nox.Session) -> None:
    """Export the layers of a worker image: ``nox -s image-layers -- --backend ray --connector s3``."""
    session.run(sys.executable, ".ci/image_layers.py", *session.posargs, external=True)


@nox.session(default=False, venv_backend="none")
def footprints(session: nox.Session) -> None:
    """Weigh the workers, and refuse what has grown; ``-- --write`` makes what is measured the baseline."""
    session.run(sys.executable, ".ci/footprints.py", *session.posargs, external=True)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure, with each figure's floor beside it."""
    install(session, *EVERYTHING, "--group", "bench")
    session.run("pytest", "-m", "bench", "--timeout", "900", "-s", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Run the tests that take minutes."""
    install(session, *EVERYTHING, "--group", "integration")
    session.run("pytest", "-m", "soak", "--timeout", "1800", *session.posargs)


@nox.session(python=["3.12", "3.13"], default=False)
def pythons(session: nox.Session) -> None:
    """Run the tests on the other supported Pythons; each must be on PATH (with pyenv: set PYENV_VERSION)."""
    install(session, *EVERYTHING, "--group", "integration", "--python", session.virtualenv.location)
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def maite(session: nox.Session) -> None:
    """Run the capabilities' tests with the other supported MAITE, which is not in the lock."""
    install(session, *EVERYTHING, "--group", "integration")
    session.run_install("uv", "pip", "install", "--quiet", f"maite=={OTHER_MAITE}", external=True)
    session.run("python", "-c", f"import importlib.metadata as m; assert m.version('maite') == '{OTHER_MAITE}'")
    session.run("pytest", *(session.posargs or ["tests/capabilities"]))
