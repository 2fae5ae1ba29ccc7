"""``checkmaite deployment``: the environments of client and workers. What is needed is imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkmaite_core.deployment import NodeEnvironment
    from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["deployment_app"]

_LOOKED_AT_BY = {"ray": "ray-simple"}
"""Backends that do more on a cluster than look at it when they are opened, and the one that looks in their place."""

deployment_app = typer.Typer(
    help="Stamp, show and compare environments of client and workers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@deployment_app.command()
def stamp(
    lock: Annotated[
        Path, typer.Option("--lock", metavar="FILE", help="What the environment was made from, such as uv.lock.")
    ],
    prefix: Annotated[
        Path | None,
        typer.Option("--prefix", metavar="FOLDER", help="The environment; left out, it is the one that runs this."),
    ] = None,
) -> None:
    """Write the digest of a lock into an environment.

    Do it for client and image, with the same lock: then both know that they fit. In an image without this command:
    python -m checkmaite_core.deployment stamp --lock FILE
    """
    from checkmaite_core.deployment import write_stamp
    from checkmaite_core.deployment.commands import written

    _say(written(write_stamp(lock, prefix=prefix), prefix))


@deployment_app.command()
def show(
    json: Annotated[bool, typer.Option("--json", help="Write JSON, all of it, as diff reads it.")] = False,
) -> None:
    """Describe the environment that runs this command.

    In an image without it: python -m checkmaite_core.deployment show
    """
    from checkmaite_core.deployment import describe_environment
    from checkmaite_core.deployment.commands import summary

    here = describe_environment(whole=True)
    _say(here.model_dump_json(indent=2) if json else summary(here))


@deployment_app.command()
def diff(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="The client's and the worker's, written by \"show --json\"; of one alone, it is the worker's, and the "
            'client is where this runs. "-" is the standard input.',
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDRESS", help="Compare with the nodes of the cluster at this address."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="The same, with what a checkmaite.toml says of the cluster."),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", metavar="NAME", help="The job backend that looks at the cluster at --address.")
    ] = "ray-simple",
) -> None:
    """Compare a client's environment with a worker's.

    Or with that of each node of a cluster, as jobs find it there. The table says of each difference why it matters
    and what to type. Exit status: 0 if they are the same, 1 if there are errors or warnings, 2 if that could not be
    told.
    """
    given = [files, address, profile]
    if sum(value is not None for value in given) != 1 or len(files or ()) > 2:
        raise typer.BadParameter("name one or two files, or a cluster with --address or --profile.")
    from checkmaite_cli.console import show_error
    from checkmaite_core.errors import CheckmaiteError

    try:
        text, status = _difference(files, address, profile, backend)
    except CheckmaiteError as error:
        from checkmaite_core.deployment.commands import Status

        show_error(error)
        raise typer.Exit(Status.UNKNOWN) from None
    _say(text)
    raise typer.Exit(status)


def _difference(files: list[str] | None, address: str | None, profile: str | None, backend: str) -> tuple[str, int]:
    from checkmaite_core.deployment import describe_environment, needed_for
    from checkmaite_core.deployment.commands import file_difference, node_differences

    if files is not None:
        return file_difference(files)
    if profile is None:
        return node_differences(describe_environment(whole=True), _nodes(backend, {"address": address}, None))
    from checkmaite_core.profiles import load_profile

    found = load_profile(profile)
    store = found.analytics_store
    nodes = _nodes(found.kind, found.options, store)
    return node_differences(describe_environment(whole=True), nodes, needed=needed_for(store) if store else ())


def _nodes(kind: str, options: Mapping[str, Any], store: AnalyticsStoreConfig | None) -> list[NodeEnvironment]:
    """The environments of a cluster's nodes, looked at without a word about what does not fit: that comes later."""
    from checkmaite_core.backend import load_backend_plugin, parse_options
    from checkmaite_core.store import AnalyticsStoreConfig

    looking = _LOOKED_AT_BY.get(kind, kind)
    plugin = load_backend_plugin(looking)
    known = plugin.options.model_fields
    chosen = {name: value for name, value in options.items() if looking == kind or name in known}
    if "version_skew" in known:
        chosen["version_skew"] = "ignore"
    # Nothing is written there: no job is run.
    opened = plugin.open(
        parse_options(looking, plugin, chosen), store or AnalyticsStoreConfig(uri="./not-used-by-deployment-diff")
    )
    try:
        return opened.environments()
    finally:
        opened.shutdown(wait=False)


def _say(text: str) -> None:
    from checkmaite_cli.console import plain

    typer.echo(plain(text, keep="\n"))
