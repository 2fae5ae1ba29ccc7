"""``checkmaite preflight``: look at a cluster before anything runs. What is needed is imported when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkmaite_core.deployment import SkewPolicy
    from checkmaite_core.preflight import PreflightReport
    from checkmaite_core.store import AnalyticsStoreConfig

__all__ = ["parsed_options", "preflight"]

RED, NOT_LOOKED = 1, 2
_STYLES = {"ERROR": "bold red", "warning": "yellow", "note": "dim", "ok": "green"}


def preflight(
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="What a checkmaite.toml says of the cluster.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME", help="The job backend: ray, or ray-simple.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDRESS", help="Where the cluster is, such as ray://head:10001, or local."),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", metavar="URI", help="The analytics store that jobs would write to.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option("--scope", metavar="SCOPE", help="The idempotency_scope, for the backend ray.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=JSON",
            help='Another option of the backend, such as runtime_env=\'{"working_dir": "."}\'. May be repeated.',
        ),
    ] = None,
    work: Annotated[
        list[str] | None,
        typer.Option(
            "--work",
            metavar="MODULE:NAME",
            help="What would be run: a Work, a capability, or a list of them under this name; a function is called "
            "for it. May be repeated. Without any, cluster and store are looked at.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1.0, metavar="SECONDS", help="How long it may take, about.")
    ] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, for other programs.")] = False,
) -> None:
    """Look at a cluster before anything runs on it.

    Code, inputs, analytics store, resources and the backend's own processes are looked at on every kind of node, as a
    job would find them there. Each line that is not in order says who mends it, and how. Nothing is left behind.

    Exit status: 0 if jobs can run (there may be warnings), 1 if something would stop them, 2 if it could not be looked
    at all.
    """
    from checkmaite_cli.console import show_error
    from checkmaite_core.errors import CheckmaiteError, SubmissionError

    given = {"address": address, "idempotency_scope": scope}
    try:
        options = {name: value for name, value in given.items() if value is not None} | parsed_options(option or [])
        report = _looked(profile, backend, options, store, work or [], timeout)
    except CheckmaiteError as error:
        show_error(error)
        raise typer.Exit(RED if isinstance(error, SubmissionError) else NOT_LOOKED) from None
    _show(report, json=json)
    raise typer.Exit(report.exit_code)


def parsed_options(pairs: list[str]) -> dict[str, Any]:
    """Options of a backend, given as ``NAME=JSON``.

    Raises:
        ConfigurationError: One is not of that form.
    """
    import json

    from checkmaite_core.errors import ConfigurationError

    found = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        try:
            found[name.strip()] = json.loads(text)
        except ValueError:
            separator = ""
        if not separator or not name.strip():
            raise ConfigurationError(  # without the value: it may hold a secret
                f"--option {name[:100]} is not of the form NAME=JSON.",
                hint='Write texts with quotes, such as --option \'runtime_env={"working_dir": "."}\'.',
            )
    return found


def _looked(
    profile: str | None,
    backend: str | None,
    options: Mapping[str, Any],
    store: str | None,
    works: list[str],
    timeout: float,
) -> PreflightReport:
    from checkmaite_cli.works import load_works
    from checkmaite_core.backend import load_backend_plugin, parse_options
    from checkmaite_core.errors import ConfigurationError
    from checkmaite_core.preflight.running import run_preflight
    from checkmaite_core.preflight.trials import trial_of

    configured = _store(store)
    if profile is not None:
        from checkmaite_core.profiles import load_profile, resolve_profile

        chosen = load_profile(profile)
        kind, plugin, parsed = resolve_profile(chosen, options, kind=backend)
        configured = configured or chosen.analytics_store
    else:
        kind = backend or "ray"
        plugin = load_backend_plugin(kind)
        if "idempotency_scope" in plugin.options.model_fields and "idempotency_scope" not in options:
            raise ConfigurationError(
                f"the {kind} backend needs a scope.",
                hint="Add --scope SCOPE: the idempotency_scope that jobs would be submitted with; or --profile NAME.",
            )
        parsed = parse_options(kind, plugin, options)
    if configured is None:
        raise ConfigurationError("where results would go was not said.", hint="Add --store URI.")
    connect = getattr(plugin, "site", None)
    if connect is None:
        raise ConfigurationError(
            f"the {kind} backend has no cluster that could be looked at.", hint="Name another: --backend ray"
        )
    skew: SkewPolicy = getattr(parsed, "version_skew", "error")
    trials = [trial_of(work, backend=kind, store=configured, version_skew=skew) for work in load_works(works)]
    _say_that_it_takes_a_while()
    with connect(parsed, configured) as site:
        return run_preflight(site, trials, configured, version_skew=skew, timeout=timeout)


def _say_that_it_takes_a_while() -> None:
    from checkmaite_cli.console import make_console

    console = make_console(stderr=True)
    if console.is_terminal:
        console.print("Looking at the cluster, which takes some seconds ...", style="dim")


def _store(uri: str | None) -> AnalyticsStoreConfig | None:
    from pydantic import ValidationError

    from checkmaite_core.backend import explain
    from checkmaite_core.errors import ConfigurationError
    from checkmaite_core.store import AnalyticsStoreConfig

    if uri is None:
        return None
    try:
        return AnalyticsStoreConfig(uri=uri)
    except ValidationError as error:
        raise ConfigurationError(f"--store cannot be used: {explain(error)}.", hint="Pass a folder or a URI.") from None


def _show(report: PreflightReport, *, json: bool) -> None:
    from rich.text import Text

    from checkmaite_cli.console import make_console, plain

    if json:
        typer.echo(report.model_dump_json(indent=2))
        return
    console = make_console()
    for line in report.table(console.width).split("\n"):
        text = Text(plain(line))
        sign = line[2:].partition(" ")[0] if line.startswith("  ") and not line.startswith("   ") else ""
        text.stylize(_STYLES.get(sign, ""), 2, 2 + len(sign))
        if line and not line.startswith(" "):
            text.stylize("bold")
        console.print(text, soft_wrap=True)
