"""What holds for every test: reproducible property tests, and no test that is left out without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis

if TYPE_CHECKING:
    import pytest

# Wall time says nothing about correctness on a shared machine; pytest-timeout guards against hangs.
# The same examples in every run, so that a red run can be repeated; the soak tests look for new ones.
hypothesis.settings.register_profile("checkmaite", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.load_profile("checkmaite")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print and count everything that was collected for this run but did not run to its end."""
    left_out = [
        (kind, report.nodeid, _reason(report))
        for kind in ("skipped", "xfailed")
        for report in terminalreporter.stats.get(kind, [])
    ]
    terminalreporter.section("left out")
    for kind, nodeid, reason in left_out:
        terminalreporter.line(f"{kind}: {nodeid}: {reason}")
    terminalreporter.line(f"{len(left_out)} tests left out")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return getattr(report, "wasxfail", "") or "no reason given"
