"""A backend by the name of a profile: keywords win, and an error says whether the file or the caller is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from checkmaite_core import (
    AnalyticsStoreConfig,
    ConfigurationError,
    JobBackend,
    PluginNotFoundError,
    UnknownOptionError,
    configure_job_backend,
    shutdown_job_backend,
)
from checkmaite_core.profiles import load_profile
from checkmaite_core.testing import ThreadBackend, write_distribution

SECRET = "s3cr3t-planted-value"
PROFILE = """\
[profiles.team-a-prod]
backend = "fake"
address = "ray://cluster-head:10001"
idempotency_scope = "team-a-prod-evals"
node_maxima = [{ CPU = 8 }, { CPU = 4, GPU = 1 }]
registry.controllers = 3

[profiles.team-a-prod.runtime_env]
pip = ["small==1.0"]
env_vars = { AWS_REGION = "us-east-1", MODE = "prod" }

[profiles.team-a-prod.analytics_store]
uri = "s3://team-checkmaite/results"
storage_options = { anon = false }
"""


def check_overlay(given: Any) -> Any:
    """As the Ray backends do it: with an error of ours, which says nothing of where it is from."""
    for name, value in given.get("env_vars", {}).items() if isinstance(given, dict) else ():
        if not isinstance(value, str):
            raise ConfigurationError(f"runtime_env: env_vars[{name!r}] must be text.", hint="Put it in quotes.")
    return given


class Registry(BaseModel):
    controllers: int = Field(default=2, le=16)
    window: int = 64


class Options(BaseModel):
    """Options of the kinds that the Ray backends have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = "local"
    idempotency_scope: str = Field(min_length=1)
    node_maxima: tuple[dict[str, float], ...] = ()
    registry: Registry = Registry()
    runtime_env: Annotated[dict[str, Any], BeforeValidator(check_overlay)] = Field(default_factory=dict)
    num_cpus: int | None = None

    @model_validator(mode="after")
    def _local_only(self) -> Options:
        if self.num_cpus and self.address != "local":
            raise ValueError("num_cpus is for address='local'")
        return self


class Fake:
    """Opens no cluster: what is tested is what it would be opened with."""

    options = Options

    def __init__(self) -> None:
        self.opened: list[tuple[Options, AnalyticsStoreConfig]] = []

    def open(self, options: Options, store: AnalyticsStoreConfig) -> JobBackend:
        self.opened.append((options, store))
        return ThreadBackend(store)


@pytest.fixture
def fake(tmp_path: Path, fakes: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """The backend, installed, and a current directory for the profile file."""
    plugin = Fake()
    monkeypatch.setattr("builtins.fake_of_the_profiles", plugin, raising=False)
    installed = tmp_path / "installed"
    points = {"checkmaite.job_backends": {"fake": "fake_module_of_the_profiles:plugin"}}
    write_distribution(installed, points, name="fake-of-the-profiles")
    (installed / "fake_module_of_the_profiles.py").write_text(
        "import builtins\nplugin = builtins.fake_of_the_profiles\n"
    )
    monkeypatch.syspath_prepend(installed)
    monkeypatch.delenv("CHECKMAITE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    yield plugin
    sys.modules.pop("fake_module_of_the_profiles", None)
    shutdown_job_backend(wait=False)


def write(text: str) -> str:
    path = Path("checkmaite.toml").absolute()
    path.write_text(text)
    return str(path)


def changed(old: str, new: str) -> str:
    assert old in PROFILE
    return write(PROFILE.replace(old, new))


def test_the_name_of_a_profile_is_enough(fake: Fake) -> None:
    write(PROFILE)
    backend = configure_job_backend(profile="team-a-prod")
    ((options, store),) = fake.opened
    assert (options.address, options.idempotency_scope) == ("ray://cluster-head:10001", "team-a-prod-evals")
    assert list(options.node_maxima) == [{"CPU": 8}, {"CPU": 4, "GPU": 1}]
    assert options.registry.controllers == 3
    assert (store.uri, store.storage_options) == ("s3://team-checkmaite/results", {"anon": False})
    assert configure_job_backend(profile="team-a-prod") is backend


def test_keywords_win_over_the_profile(fake: Fake) -> None:
    write(PROFILE)
    configure_job_backend(
        profile="team-a-prod",
        idempotency_scope="mine",
        registry={"window": 8},
        analytics_store={"backend": "memory", "uri": "memory://mine"},
    )
    ((options, store),) = fake.opened
    assert (options.address, options.idempotency_scope) == ("ray://cluster-head:10001", "mine")
    assert options.registry == Registry(controllers=2, window=8)
    assert store == AnalyticsStoreConfig(backend="memory", uri="memory://mine")


def test_a_users_overlay_is_added_to_the_platforms(fake: Fake) -> None:
    write(PROFILE)
    configure_job_backend(
        profile="team-a-prod", runtime_env={"working_dir": "/mine", "env_vars": {"MODE": "trial", "MINE": "1"}}
    )
    ((options, _),) = fake.opened
    assert options.runtime_env == {
        "pip": ["small==1.0"],
        "working_dir": "/mine",
        "env_vars": {"AWS_REGION": "us-east-1", "MODE": "trial", "MINE": "1"},
    }


def test_a_kind_that_is_given_wins_too(fake: Fake) -> None:
    path = write(PROFILE)
    with pytest.raises(UnknownOptionError) as caught:
        configure_job_backend("threads", profile="team-a-prod")
    assert caught.value.message == f"{path}:3: the threads backend has no option 'address'."
    assert fake.opened == []


def test_an_unknown_option_is_refused_with_its_line_and_the_nearest(fake: Fake) -> None:
    path = changed("idempotency_scope", "idempotency_scop")
    with pytest.raises(UnknownOptionError) as caught:
        configure_job_backend(profile="team-a-prod")
    assert caught.value.message == f"{path}:4: the fake backend has no option 'idempotency_scop'."
    assert "Did you mean 'idempotency_scope'?" in caught.value.hint


def test_a_backend_that_is_not_installed_is_named_with_the_line_and_what_brings_it(fake: Fake) -> None:
    path = changed('"fake"', '"ray-simpel"')
    with pytest.raises(PluginNotFoundError) as caught:
        configure_job_backend(profile="team-a-prod")
    assert caught.value.message.startswith(f"{path}:2: job backend 'ray-simpel' is not installed")
    assert "ray-simple" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("controllers = 3", "controllers = 30", 6, "registry.controllers: Input should be less than or equal to 16"),
        ('address = "ray://cluster-head:10001"', "address = 3", 3, "address: Input should be a valid string"),
        (
            "node_maxima = [{ CPU = 8 }, {",
            'node_maxima = [{ CPU = 8 },\n{ CPU = "x" }, {',
            6,
            "node_maxima.1.CPU: Input should be a valid number",
        ),
        ('idempotency_scope = "team-a-prod-evals"', "", 1, "idempotency_scope: Field required"),
        ('idempotency_scope = "t', 'num_cpus = 2\nidempotency_scope = "t', 1, "value: num_cpus is for address='local'"),
    ],
)
def test_a_value_of_the_profile_that_cannot_be_used_is_refused_with_its_line(
    fake: Fake, old: str, new: str, line: int, problem: str
) -> None:
    path = changed(old, new)
    with pytest.raises(ConfigurationError) as caught:
        configure_job_backend(profile="team-a-prod")
    assert caught.value.message.startswith(
        f"the fake backend cannot use profile 'team-a-prod': {path}:{line}: {problem}"
    )


def test_an_error_of_the_backends_own_gets_the_line_too(fake: Fake) -> None:
    path = changed('MODE = "prod" }', "MODE = 3 }\n")
    with pytest.raises(ConfigurationError) as caught:
        configure_job_backend(profile="team-a-prod")
    assert caught.value.message == f"{path}:10: runtime_env: env_vars['MODE'] must be text."
    assert caught.value.hint == "Put it in quotes."


def test_an_error_of_the_backends_own_about_a_keyword_has_no_line(fake: Fake) -> None:
    write(PROFILE)
    with pytest.raises(ConfigurationError) as caught:
        configure_job_backend(profile="team-a-prod", runtime_env={"env_vars": {"MINE": 3}})
    assert caught.value.message == "runtime_env: env_vars['MINE'] must be text."


def test_a_keyword_mends_a_value_of_the_profile(fake: Fake) -> None:
    changed("controllers = 3", "controllers = 30")
    configure_job_backend(profile="team-a-prod", registry={"controllers": 1})
    assert fake.opened[0][0].registry.controllers == 1


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        (
            {"registry": {"controllers": 17}},
            "registry.controllers: Input should be less",
        ),
        (
            {"runtime_env": [SECRET]},
            "runtime_env: Input should be a valid dictionary",
        ),
    ],
)
def test_a_keyword_that_cannot_be_used_is_not_blamed_on_the_profile(
    fake: Fake, keywords: dict[str, Any], problem: str
) -> None:
    path = write(PROFILE)
    with pytest.raises(ConfigurationError) as caught:
        configure_job_backend(profile="team-a-prod", **keywords)
    assert f"the fake backend cannot use its options: {problem}" in caught.value.message
    assert path not in caught.value.message
    assert SECRET not in str(caught.value)


def test_each_of_two_mistakes_is_blamed_on_its_own(fake: Fake) -> None:
    path = changed("controllers = 3", "controllers = 30")
    with pytest.raises(ConfigurationError) as caught:
        configure_job_backend(profile="team-a-prod", node_maxima=3)
    assert "the argument node_maxima: Input should be a valid tuple" in caught.value.message
    assert f"{path}:6: registry.controllers: Input should be less" in caught.value.message


def test_an_unknown_keyword_is_refused_beside_a_profile_as_without(fake: Fake) -> None:
    write(PROFILE)
    with pytest.raises(UnknownOptionError, match=r"\Athe fake backend has no option 'adress'"):
        configure_job_backend(profile="team-a-prod", adress="local")


def test_a_profile_without_a_store_leaves_it_to_the_caller(fake: Fake) -> None:
    write('[profiles.p]\nbackend = "fake"\nidempotency_scope = "s"\n')
    with pytest.raises(ConfigurationError, match="no analytics_store was given"):
        configure_job_backend(profile="p")
    configure_job_backend(profile="p", analytics_store={"backend": "memory", "uri": "memory://p"})
    assert fake.opened[0][1].uri == "memory://p"


def test_nothing_is_interpolated(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "eu-west-1")
    changed("us-east-1", "${REGION} $REGION %(REGION)s ~")
    configure_job_backend(profile="team-a-prod")
    assert fake.opened[0][0].runtime_env["env_vars"]["AWS_REGION"] == "${REGION} $REGION %(REGION)s ~"


def test_what_is_printed_of_a_profile_has_no_overlay(fake: Fake) -> None:
    write(PROFILE)
    assert "us-east-1" not in repr(load_profile("team-a-prod"))
