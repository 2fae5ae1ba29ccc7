"""Client and worker compared: what must match, what should, and the table that says so."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core import AnalyticsStoreConfig
from checkmaite_core.deployment import (
    Environment,
    Finding,
    Level,
    compare_environments,
    describe_alike,
    describe_environment,
    findings_table,
    needed_for,
    require_match,
)
from checkmaite_core.errors import VersionSkewError

BASE = {"checkmaite-core": "0.1.0", "ray": "2.60.0", "pydantic": "2.12.1", "pyarrow": "26.0.0", "their-models": "1.0"}


def _environment(python: str = "3.11.7", subject: str | None = None, **versions: str | None) -> Environment:
    chosen = {**BASE, **{name.replace("_", "-"): version for name, version in versions.items()}}
    kept = {name: version for name, version in chosen.items() if version is not None}
    return Environment(python=python, platform="linux-x86_64", versions=kept, subject=subject)


def test_equal_environments_match() -> None:
    assert compare_environments(_environment(), _environment()) == []
    require_match(_environment(), _environment(python="3.11.9"))


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"python": "3.12.0"}, "python", Level.ERROR),
        ({"ray": "2.60.1"}, "ray", Level.ERROR),
        ({"pydantic": "2.13.0"}, "pydantic", Level.ERROR),
        ({"checkmaite_core": "0.2.0"}, "checkmaite-core", Level.ERROR),
        ({"pyarrow": "25.0.0"}, "pyarrow", Level.WARNING),
        ({"their_models": "2.0"}, "their-models", Level.WARNING),
    ],
)
def test_a_difference_matters_as_much_as_it_does(change: dict[str, str], name: str, level: Level) -> None:
    (finding,) = compare_environments(_environment(), _environment(**change))
    assert (finding.distribution, finding.level) == (name, level)
    assert finding.client != finding.worker
    assert finding.reason


@pytest.mark.parametrize(
    "change",
    [{"pydantic": "2.12.9"}, {"checkmaite_core": "0.1.7"}, {"pyarrow": None}, {"their_models": None}, {"ray": None}],
)
def test_a_patch_of_ours_or_less_on_the_worker_need_not_match(change: dict[str, str | None]) -> None:
    assert compare_environments(_environment(), _environment(**change)) == []
    assert compare_environments(_environment(**change), _environment()) == []


def test_the_package_that_defines_the_capability_must_match_where_both_have_it_installed() -> None:
    client = _environment(subject="their-models")
    (finding,) = compare_environments(client, _environment(their_models="1.1"))
    assert finding.level is Level.ERROR
    # With working_dir or py_modules the code comes without metadata; unpickling says what is missing.
    require_match(client, _environment(their_models=None))


def test_skew_is_told_in_one_table_with_what_must_agree_first() -> None:
    client, worker = _environment(), _environment(python="3.12.1", pyarrow="25.0.0", ray="2.59.0")
    with pytest.raises(VersionSkewError) as caught:
        require_match(client, worker)
    head, columns, *lines = caught.value.message.splitlines()
    assert head == "the worker's environment does not fit the client's:"
    cells = [re.split(r" {2,}", line.strip()) for line in lines]
    assert re.split(r" {2,}", columns.strip()) == [
        "distribution",
        "client",
        "worker",
        "why it matters",
        "what to type",
    ]
    assert [cell[:4] for cell in cells] == [
        ["error", "python", "3.11.7", "3.12.1"],
        ["error", "ray", "2.60.0", "2.59.0"],
        ["warning", "pyarrow", "26.0.0", "25.0.0"],
    ]
    assert [cell[4:] for cell in cells[1:]] == [
        ["Ray needs the same version on both sides", 'client: pip install "ray==2.59.0"'],
        ["results could differ from those of a run on the client", 'client: pip install "pyarrow==25.0.0"'],
    ]
    assert "same lock" in caught.value.hint


def test_warnings_alone_stop_nothing() -> None:
    require_match(_environment(), _environment(pyarrow="1.0"))


def test_an_environment_describes_what_is_installed_and_travels_as_json() -> None:
    here = describe_environment()
    assert here.versions["checkmaite-core"]
    assert here.versions["pydantic"].startswith("2.")
    assert Environment.model_validate_json(here.model_dump_json()) == here
    hypothesis = describe_environment("hypothesis.strategies")
    assert hypothesis.subject == "hypothesis"
    assert "hypothesis" in hypothesis.versions
    assert describe_alike(hypothesis) == hypothesis


@pytest.mark.parametrize("module", [None, "__main__", "no_such_module", "json"])
def test_code_of_a_notebook_or_script_has_no_distribution(module: str | None) -> None:
    assert describe_environment(module).subject is None


def test_what_is_not_installed_here_has_no_version() -> None:
    client = Environment(python="3.11.7", platform="linux", subject="their-models", versions={"their-models": "1.0"})
    here = describe_alike(client)
    assert here.subject == "their-models"
    assert "their-models" not in here.versions


def test_a_namespace_that_several_distributions_share_belongs_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {"shared": ["one", "two"], "alone": ["three", "three"]}
    monkeypatch.setattr("checkmaite_core.deployment.origin._packages", lambda: owners)
    assert describe_environment("shared.mine").subject is None
    assert describe_environment("alone.mine").subject == "three"


def test_what_the_store_needs_must_be_on_the_worker_whether_or_not_the_client_has_it() -> None:
    needed = needed_for(AnalyticsStoreConfig(uri="s3://team/results"))
    assert needed == ("checkmaite-analytics-store", "checkmaite-storage", "pyarrow", "s3fs")
    everything = {name.replace("-", "_"): "1.0" for name in needed}
    assert compare_environments(_environment(), _environment(**everything | {"pyarrow": "26.0.0"}), needed) == []
    worker = _environment(checkmaite_analytics_store="0.1.0", checkmaite_storage="0.1.0")
    (finding,) = compare_environments(_environment(), worker, needed)
    assert (finding.level, finding.distribution, finding.client, finding.worker) == (Level.ERROR, "s3fs", "-", "-")
    assert finding.remedy == "image: pip install s3fs"
    (finding,) = compare_environments(_environment(s3fs="2026.9.0"), worker, needed)
    assert finding.remedy == 'image: pip install "s3fs==2026.9.0"'


@pytest.mark.parametrize(
    ("store", "connector"),
    [
        ({"uri": "./results"}, None),
        ({"uri": "/s3/results"}, None),
        ({"uri": "gs://b/x"}, "gcsfs"),
        ({"uri": "abfss://c/x"}, "adlfs"),
        ({"uri": "memory://x"}, None),
        ({"backend": "memory", "uri": "s3://x"}, None),
    ],
)
def test_each_kind_of_location_needs_its_connector(store: dict[str, str], connector: str | None) -> None:
    needed = needed_for(AnalyticsStoreConfig.model_validate(store))
    assert {"s3fs", "gcsfs", "adlfs"} & set(needed) == ({connector} if connector else set())


def test_whether_a_distribution_is_there_that_is_not_described_is_not_guessed() -> None:
    assert compare_environments(_environment(), _environment(), ["their-connector"]) == []
    whole = _environment().model_copy(update={"distributions": BASE})
    (finding,) = compare_environments(_environment(), whole, ["their-connector"])
    assert finding.level is Level.ERROR


ONE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("client", "worker", "level", "who"),
    [
        (ONE, ONE, None, ""),
        (None, None, None, ""),
        (ONE, None, Level.NOTE, "image: "),
        (None, ONE, Level.NOTE, "client: "),
        (ONE, OTHER, Level.WARNING, "make both from one"),
    ],
)
def test_two_stamps_are_two_locks_and_a_missing_one_is_a_note(
    client: str | None, worker: str | None, level: Level | None, who: str
) -> None:
    findings = compare_environments(
        _environment().model_copy(update={"lock": client}), _environment().model_copy(update={"lock": worker})
    )
    assert [finding.level for finding in findings] == ([level] if level else [])
    for finding in findings:
        assert finding.remedy.startswith(who)
        assert "deployment stamp --lock" in finding.remedy
        assert len(finding.client) < 30


def test_where_versions_differ_a_missing_stamp_is_no_news_but_two_locks_are_the_cause() -> None:
    client = _environment().model_copy(update={"lock": ONE})
    worker = _environment(ray="2.59.0")
    assert [finding.distribution for finding in compare_environments(client, worker)] == ["ray"]
    stamped = worker.model_copy(update={"lock": OTHER})
    assert [finding.distribution for finding in compare_environments(client, stamped)] == ["ray", "(lock)"]


def test_what_is_not_known_to_matter_is_one_line_however_much_it_is() -> None:
    names = {f"library-{number:02}": "1.0" for number in range(60)}
    client = _environment().model_copy(update={"distributions": BASE | names})
    worker = _environment().model_copy(update={"distributions": BASE | dict.fromkeys(names, "2.0") | {"more": "1"}})
    (finding,) = compare_environments(client, worker)
    assert (finding.level, finding.distribution) == (Level.NOTE, "60 others")
    assert finding.reason.endswith("library-00 1.0 / 2.0, library-01 1.0 / 2.0, library-02 1.0 / 2.0, ...")


def test_patches_are_told_where_all_is_compared() -> None:
    """Of ours, of Python, and by whatever spelling of a name; but nothing twice."""
    client = _environment().model_copy(
        update={"distributions": BASE | {"theirs-too": "1"}, "versions": BASE | {"Theirs.Too": "1"}}
    )
    newer = BASE | {"checkmaite-core": "0.1.7"}
    worker = _environment(python="3.11.9").model_copy(
        update={"distributions": newer | {"theirs-too": "2"}, "versions": newer | {"Theirs.Too": "2"}}
    )
    warning, note = compare_environments(client, worker)
    assert (warning.level, warning.distribution) == (Level.WARNING, "Theirs.Too")
    assert note.distribution == "2 others"
    assert note.reason.endswith("checkmaite-core 0.1.0 / 0.1.7, python 3.11.7 / 3.11.9")


def test_foreign_names_neither_break_the_table_nor_act_on_a_terminal() -> None:
    (finding,) = compare_environments(_environment(), _environment(ray="2\x1b[2J\n3\x9b"))
    (_, line) = findings_table([finding]).splitlines()
    assert "2?[2J?3?" in line


VERSIONS = st.sampled_from(["0.1.0", "0.1.9", "0.2.0", "3.11.1", "26"])
NAMES = st.sampled_from(["ray", "pydantic", "checkmaite-core", "numpy", "s3fs", "their-models", "theirs"])
ENVIRONMENTS = st.builds(
    Environment,
    python=VERSIONS,
    platform=st.just("linux"),
    versions=st.dictionaries(NAMES, VERSIONS),
    subject=st.just("their-models"),
    module=st.just("their_models"),
    code=st.none() | st.sampled_from(["a-1", "b-1", "b-2"]),
    lock=st.none() | st.sampled_from([ONE, OTHER]),
    distributions=st.dictionaries(NAMES, VERSIONS),
)


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_every_difference_has_a_reason_and_something_to_type_and_the_worst_come_first(
    client: Environment, worker: Environment
) -> None:
    findings = compare_environments(client, worker, ["s3fs"])
    assert all(finding.reason and finding.remedy and finding.client and finding.worker for finding in findings)
    levels = [list(Level).index(finding.level) for finding in findings]
    assert levels == sorted(levels)
    lines = findings_table(findings, worker="gpu-1").splitlines()
    assert len(lines) == 1 + len(findings)
    columns = [lines[0].index(name) for name in ("distribution", "client", "gpu-1", "why", "what")]
    for line in lines[1:]:
        assert all(line[column - 1] == " " != line[column] for column in columns)


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_client_and_worker_are_equals(one: Environment, other: Environment) -> None:
    assert [item for item in compare_environments(one, one) if item.level is not Level.NOTE] == []

    def told(findings: list[Finding]) -> set[tuple[Level, str]]:
        return {(finding.level, finding.distribution) for finding in findings if " other" not in finding.distribution}

    assert told(compare_environments(one, other)) == told(compare_environments(other, one))
