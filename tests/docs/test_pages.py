"""The code on every page works, and prints what the page says."""

from __future__ import annotations

from pathlib import Path

from code_pages import ROOT, RUN, SHOWN, Block, check_distributions, check_output, check_syntax, run_page, script_of


def test_the_code_of_a_page_runs(page: str, blocks: list[Block], tmp_path: Path) -> None:
    result = run_page(script_of(blocks, ROOT / page), tmp_path, page)
    assert result.returncode == 0, f"{page}\n{result.stdout}"
    check_output(blocks, result.stdout)


def test_every_block_says_what_language_it_is(blocks: list[Block], page: str) -> None:
    unknown = {f"{page}:{block.line}: {block.language}" for block in blocks if block.language not in {*RUN, *SHOWN}}
    assert unknown == set()


def test_a_block_that_is_not_run_here_says_why_and_is_checked(blocks: list[Block], page: str) -> None:
    for block in blocks:
        where = f"{page}:{block.line}"
        if block.marker in ("not run", "fails here", "run by"):
            assert block.argument, f"{where}: a reason is missing"
        if block.marker == "run by":
            assert (ROOT / block.argument).is_file(), f"{where}: {block.argument} does not exist"
        if block.marker == "not run":
            check_syntax(block, where)
            check_distributions(block.source, where)
