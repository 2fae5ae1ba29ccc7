"""What the documentation's Containerfiles promise, as far as it can be told without building them."""

from __future__ import annotations

import re

import pytest

from image_layers import ABOUT, BACKENDS, ROOT

PLATFORM = ROOT / "docs" / "platform"
every_file = pytest.mark.parametrize("name", [*BACKENDS, "capability"])


def instructions(name: str) -> list[str]:
    """Without comments, one instruction in a line."""
    text = re.sub(r"(?m)^ *#.*\n", "", (PLATFORM / f"Containerfile.{name}").read_text())
    return [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_backends_images_differ_in_nothing_but_their_files_of_requirements() -> None:
    first, second = (instructions(name) for name in BACKENDS)
    assert first == second


@every_file
def test_what_is_built_upon_has_to_be_given(name: str) -> None:
    images = {line.removeprefix("FROM ").split()[0] for line in instructions(name) if line.startswith("FROM ")}
    assert images == {"${UV}", "${WORKER}" if name == "capability" else "${BASE}"}
    assert {"ARG UV", "ARG WORKER" if name == "capability" else "ARG BASE"} <= set(instructions(name))


@pytest.mark.parametrize("name", BACKENDS)
def test_the_layers_come_in_order_and_the_lock_with_the_last(name: str) -> None:
    copied = [line.split()[1:-1] for line in instructions(name) if line.startswith("COPY ")]
    assert [files[0] for files in copied] == [f"{layer}.txt" for layer in ABOUT]
    assert copied[-1][1:] == ["uv.lock"]


@every_file
def test_nothing_is_resolved_and_what_others_made_is_hashed(name: str) -> None:
    installs = re.findall(r"uv pip install.*?(?=&&|$)", "\n".join(instructions(name)), re.MULTILINE)
    assert installs
    for install in installs:
        assert "--no-deps" in install
        assert "--require-hashes" in install or install.strip().endswith("/wheels/*.whl")


@every_file
def test_the_image_is_checked_and_stamped_and_its_processes_are_not_root(name: str) -> None:
    *_, last, user = instructions(name)
    stamp = "python -m checkmaite_core.deployment stamp --lock /usr/local/share/checkmaite/uv.lock"
    assert last.endswith(f"&& uv pip check --system && {stamp}")
    assert user == "USER 1000:1000"
