"""``checkmaite store``: fold, vacuum and verify."""

from __future__ import annotations

from rich.text import Text

from checkmaite_cli.console import make_console, plain
from checkmaite_cli.opening import opened

__all__ = ["fold_store", "vacuum_store", "verify_store"]


def fold_store(uri: str) -> None:
    """Fold a store and say what that did.

    Raises:
        StoreError: The store cannot be read or written.
    """
    console = make_console()
    with opened(uri) as store:
        report = store.fold()
        files = sum(len(store.files(table)) for table in store.tables())
    console.print(f"{_count(report.folded, 'run')} folded; the tables now lie in {_count(files, 'Parquet file')}.")
    if report.deleted:
        console.print(f"{_count(report.deleted, 'inbox object')} removed that had been folded before.")
    for key in report.quarantined:
        console.print(Text(f"set aside, since it cannot be read: {plain(key)}", style="bold red"), soft_wrap=True)


def vacuum_store(uri: str) -> None:
    """Vacuum a store and say what that removed.

    Raises:
        StoreError: The store cannot be read, or may not be deleted from.
    """
    console = make_console()
    with opened(uri) as store:
        report = store.vacuum()
    objects = report.files + report.segments + report.reports + report.probes + report.staged
    if not objects and not report.manifests:
        console.print("There was nothing to remove.")
        return
    console.print(
        f"{_count(objects, 'object')} removed, {_count(report.manifests, 'superseded manifest')} emptied: "
        f"{report.bytes / 2**20:,.1f} MiB."
    )


def verify_store(uri: str) -> int:
    """Verify a store and print what is damaged.

    Returns:
        The exit status: 0 if everything is well, 1 if something is damaged.

    Raises:
        StoreError: The store cannot be reached.
    """
    console = make_console()
    with opened(uri) as store:
        report = store.verify()
    for finding in report.findings:
        text = Text.assemble(("damaged: ", "bold red"), plain(finding.key), ": ", plain(finding.problem))
        console.print(text, soft_wrap=True)
    if report.ok:
        console.print(f"{_count(report.objects, 'object')} read; all of them are what was written.")
        return 0
    console.print(f"{_count(report.objects, 'object')} read, {len(report.findings)} damaged.")
    if all(finding.key.startswith(("inbox/", "tables/")) for finding in report.findings):
        console.print('Run "checkmaite store fold" to set them aside, so that queries answer from the rest.')
    else:
        console.print("Restore them from a copy; only damaged results (inbox/, tables/) can be set aside by a fold.")
    return 1


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
