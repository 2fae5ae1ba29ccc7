"""One test per page, and the count of blocks that do not simply run."""

from __future__ import annotations

import code_pages
import pytest

PAGES = {page: code_pages.blocks_of(page, (code_pages.ROOT / page).read_text()) for page in code_pages.all_pages()}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", [page for page, blocks in PAGES.items() if blocks])


@pytest.fixture
def blocks(page: str) -> list[code_pages.Block]:
    return PAGES[page]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    runnable = [block for blocks in PAGES.values() for block in blocks if block.language in code_pages.RUN]
    special = [block for block in runnable if block.marker]
    terminalreporter.section("code blocks in the documentation")
    for block in special:
        terminalreporter.line(f"{block.marker}: {block.page}:{block.line}: {block.argument}")
    terminalreporter.line(f"{len(runnable) - len(special)} blocks run as they stand, {len(special)} as listed")
