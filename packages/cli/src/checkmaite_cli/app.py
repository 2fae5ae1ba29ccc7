"""The commands and their options. What they need is imported when one of them runs, so that ``--help`` is fast."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from checkmaite_cli.deployment_commands import deployment_app
from checkmaite_cli.preflight_command import preflight

__all__ = ["app"]


class Format(StrEnum):
    """How the rows of an answer are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class Status(StrEnum):
    """Where a job is, as :class:`checkmaite_core.JobStatus` has it; that is not imported only for a ``--help``."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


Store = Annotated[
    str, typer.Option("--store", metavar="URI", help="The analytics store: a folder, such as ./checkmaite-demo.")
]
LedgerStore = Annotated[
    str | None,
    typer.Option("--store", metavar="URI", help="The analytics store of the jobs, under which their ledger lies."),
]
Ledger = Annotated[str | None, typer.Option("--ledger", metavar="URI", help="Where the ledger lies, if elsewhere.")]
Scope = Annotated[
    str | None, typer.Option("--scope", metavar="SCOPE", help="The idempotency_scope that they were submitted in.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for other programs.")]

app = typer.Typer(
    name="checkmaite",
    help="Run test-and-evaluation work on models and datasets as jobs, and ask the results questions in SQL.",
    epilog="Start with: checkmaite demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
store_app = typer.Typer(help="Keep an analytics store in order.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(store_app, name="store")
jobs_app = typer.Typer(
    help='Show jobs of the "ray" backend, and recommit failed ones.',
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(jobs_app, name="jobs")
app.add_typer(deployment_app, name="deployment")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"checkmaite {version('checkmaite-cli')}")
        raise typer.Exit


@app.callback()
def _checkmaite(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    store: Annotated[
        str, typer.Option("--store", metavar="PATH", help="The analytics store that the results go to.")
    ] = "./checkmaite-demo",
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="The job backend: ray, or ray-simple, which keeps no history of jobs.")
    ] = "ray",
    quick: Annotated[bool, typer.Option("--quick", help="Two models and three kinds of images only.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run anew what has been run before.")] = False,
) -> None:
    """Evaluate real models on real images, from jobs to SQL.

    Four classifiers read 797 scans of digits, clean and perturbed, in jobs on a local Ray; nothing is downloaded. The
    results go to the store, and the answer is read back from it with SQL. Run again, it uses what is there;
    with --force it adds to the history, and the tables keep one copy of each result.
    """
    from checkmaite_cli.demo.command import run_demo

    raise typer.Exit(run_demo(store, backend=backend, quick=quick, force=force))


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT statement.", show_default=False)],
    store: Store,
    format: Annotated[  # noqa: A002 - the option's name
        Format, typer.Option("--format", help="How to write the answer; csv and json are for other programs.")
    ] = Format.TABLE,
    limit: Annotated[
        int,
        typer.Option("--limit", min=1, metavar="ROWS", help="Most rows of a table; csv and json are whole."),
    ] = 50,
) -> None:
    """Ask a store a question in SQL.

    The tables are those of the capabilities that ran, and "runs", the history. In csv, control characters inside text
    are written out, such as \\x1b; json keeps them, escaped.
    """
    from checkmaite_cli.query import run_query

    run_query(store, sql, format=format.value, limit=limit)


@app.command()
def runs(
    store: Store,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="ROWS", help="Most runs to show.")] = 20,
) -> None:
    """Show the history: every run in a store, newest first."""
    from checkmaite_cli.history import show_runs

    show_runs(store, limit=limit)


@app.command()
def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="EVENT_OR_RUN",
            help='An event_id or run_uid from "checkmaite runs", or the beginning of one.',
            show_default=False,
        ),
    ],
    store: Store,
) -> None:
    """Print the report that a run has made, in Markdown.

    Of a run that ran more than once, it is the newest one's.
    """
    from checkmaite_cli.history import print_report

    print_report(store, run)


app.command()(preflight)


@store_app.command()
def fold(store: Store) -> None:
    """Move new results into the store's Parquet files.

    Queries see results either way. Folded, they are answered faster, and other tools can read the files.
    """
    from checkmaite_cli.upkeep import fold_store

    fold_store(store)


@store_app.command()
def vacuum(store: Store) -> None:
    """Remove what nothing refers to any more: files of earlier and unfinished folds, and the like.

    No result goes. What has been of no use for less than a day stays.
    """
    from checkmaite_cli.upkeep import vacuum_store

    vacuum_store(store)


@store_app.command()
def verify(store: Store) -> None:
    """Look for damage: compare all objects with their checksums.

    The exit status is 1 if something is damaged.
    """
    from checkmaite_cli.upkeep import verify_store

    raise typer.Exit(verify_store(store))


@jobs_app.command("list")
def list_jobs(
    store: LedgerStore = None,
    scope: Scope = None,
    ledger: Ledger = None,
    status: Annotated[
        Status | None, typer.Option("--status", case_sensitive=False, help="Only jobs with this status.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only jobs with this name.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            metavar="TIME",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
            help="Only jobs submitted then or later, such as 2026-11-24 or 2026-11-24T09:30; UTC.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="JOBS", help="Most jobs to show.")] = 20,
    cursor: Annotated[
        str | None, typer.Option("--cursor", metavar="CURSOR", help="Go on where an earlier listing ended.")
    ] = None,
    json: Json = False,
) -> None:
    """List jobs, newest first: their status, how long they took, why they failed.

    Of a job that has not ended it is what the ledger last knew.
    """
    from checkmaite_cli.jobs import list_jobs as run_list

    run_list(
        store,
        ledger,
        scope,
        status=None if status is None else status.value,
        name=name,
        since=since,
        limit=limit,
        cursor=cursor,
        json=json,
    )


@jobs_app.command("show")
def show_job(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help='A job id from "checkmaite jobs list", or the beginning of one.', show_default=False
        ),
    ],
    store: LedgerStore = None,
    scope: Scope = None,
    ledger: Ledger = None,
    json: Json = False,
) -> None:
    """Show everything that is known of a job.

    Who submitted it, how often it was started and why, its results or its failure with the traceback, its report.
    """
    from checkmaite_cli.job import show_job as run_show

    run_show(job, store, ledger, scope, json=json)


@jobs_app.command("recommit")
def recommit_jobs(
    jobs: Annotated[
        list[str],
        typer.Argument(metavar="JOB...", help='Job ids from "checkmaite jobs list", whole.', show_default=False),
    ],
    store: LedgerStore = None,
    scope: Scope = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="What a checkmaite.toml says of cluster and store.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME", help="The job backend; ray if left out.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", metavar="ADDRESS", help="Where the cluster is, such as auto, ray://head:10001, or local."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=JSON", help="Another option of the backend. May be repeated."),
    ] = None,
    run_class: Annotated[
        str | None,
        typer.Option(
            "--run-class", metavar="MODULE:NAME", help="The class that takes the place of the run's own, if need be."
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.0, metavar="SECONDS", help="How long to wait for each.")
    ] = None,
) -> None:
    """Store what failed jobs had computed, without running them again.

    For jobs that failed after their work was done, and whose failure is recoverable ("checkmaite jobs show" says so):
    their extract() raised, or the store was away. Mend the code where the workers have it, then call this. Each gets a
    new job that makes records and report anew from what was kept, and stores them. Exit status: 0 if all are stored.

    Whoever can write to the store can have code run on the workers by this: what was kept is unpickled there.
    """
    from checkmaite_cli.recommit_command import recommit_jobs as run_recommit

    status = run_recommit(
        jobs,
        profile=profile,
        backend=backend,
        address=address,
        store=store,
        scope=scope,
        options=option or [],
        run_class=run_class,
        timeout=timeout,
    )
    raise typer.Exit(status)
