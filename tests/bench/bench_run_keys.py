"""What a run key over all code that work can reach costs at each submission, over that of work without such code."""

from __future__ import annotations

import importlib
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.code.stamps import stamp_of
from checkmaite_core.identity import run_key
from checkmaite_core.submission import prepare_submission
from checkmaite_core.testing._workloads import Data, Write

pytestmark = pytest.mark.bench

STORE = AnalyticsStoreConfig(uri="/results")
ROUNDS = 200
TARGET = 2.0
"""Milliseconds that a submission may take more (medians), once the modules are known."""
WORK = "\nclass Own:\n    id = 'own'\n    def run(self, **_):\n        return 1\n"
BODY = "".join(
    f"\ndef f{number}(a, b=1):\n    x = [a * each for each in range(b)]\n    return {{'k{number}': x}}\n"
    for number in range(20)
)


@pytest.fixture(params=[50, 500])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, list[str]]]:
    """A capability of a package of so many modules, and their files."""
    count = request.param
    package = tmp_path / f"many_{count}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for number in range(count):
        # As a tree, so that it is not too deep to be imported.
        others = [other for other in (2 * number + 1, 2 * number + 2) if other < count]
        imports = "".join(f"from {package.name} import m{other}\n" for other in others)
        (package / f"m{number}.py").write_text(f"import os\n{imports}{BODY}{WORK}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        before = set(sys.modules)
        yield importlib.import_module(f"{package.name}.m0").Own(), [str(path) for path in package.glob("*.py")]
        for name in set(sys.modules) - before:
            del sys.modules[name]


def _milliseconds(action: Callable[[], object]) -> float:
    begun = perf_counter()
    action()
    return (perf_counter() - begun) * 1e3


def _submitted(**work: Any) -> None:
    assert run_key(prepare_submission(work, backend="test", store=STORE), overlay="{}").digest is not None


def test_the_code_that_work_can_reach_is_looked_at_again(project: tuple[Any, list[str]]) -> None:
    capability, files = project
    first = _milliseconds(lambda: _submitted(capability=capability))
    own, floor, stats = [], [], []
    for _ in range(ROUNDS):
        floor.append(_milliseconds(lambda: _submitted(capability=Write(), datasets=[Data("d")])))
        own.append(_milliseconds(lambda: _submitted(capability=capability)))
        stats.append(_milliseconds(lambda: [stamp_of(path) for path in files]))
    more = statistics.median(own) - statistics.median(floor)
    print(f"\n\n{len(files)} modules: first look {first:.0f} ms, then {more:.2f} ms over work with no code of its own")
    print(f"(their stats alone: {statistics.median(stats):.2f} ms; that work: {statistics.median(floor):.2f} ms)")
    # Of hundreds of modules the file system's share alone may be more than that.
    assert more <= (TARGET if len(files) <= 100 else TARGET + 5 * statistics.median(stats))
