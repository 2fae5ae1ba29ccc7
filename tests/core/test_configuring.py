"""Choosing a backend: the calls of the documentation, options, and which backend answers."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

import checkmaite_core
from checkmaite_core import (
    AnalyticsStoreConfig,
    JobBackend,
    configure_job_backend,
    get_job,
    list_jobs,
    shutdown_job_backend,
    submit_capability,
)
from checkmaite_core.errors import (
    CheckmaiteError,
    ConfigurationError,
    JobNotFoundError,
    NotConfiguredError,
    PluginNotFoundError,
    UnknownOptionError,
)
from checkmaite_core.testing import ThreadBackend, write_distribution
from checkmaite_core.testing._workloads import Data, Write

SECRET = "s3cr3t-planted-value"
MEMORY: dict[str, Any] = {"backend": "memory", "uri": "memory://configuring"}


class RayOptions(BaseModel):
    """The options of the calls in the documentation; a Ray that is only a name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    explained: ClassVar[dict[str, str]] = {"num_workers": "Ray decides; ask for resources instead."}

    address: str = "local"
    idempotency_scope: str | None = None
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    token: str | None = Field(default=None, max_length=30)
    mode: Literal["fast", "safe"] = "safe"


class FakeRay:
    """Jobs in threads under the name of Ray, that remembers how it was opened."""

    options = RayOptions

    def __init__(self) -> None:
        self.opened: list[tuple[RayOptions, AnalyticsStoreConfig]] = []

    def open(self, options: RayOptions, store: AnalyticsStoreConfig) -> JobBackend:
        self.opened.append((options, store))
        return ThreadBackend(store)


@pytest.fixture
def ray(tmp_path: Path, fakes: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    """A backend installed under the name ``ray``, whatever else is installed."""
    plugin = FakeRay()
    monkeypatch.setattr("builtins.fake_ray_of_a_test", plugin, raising=False)
    folder = tmp_path / "installed"
    points = {"checkmaite.job_backends": {"ray": "fake_ray_module_of_a_test:plugin"}}
    write_distribution(folder, points, name="checkmaite-ray")
    (folder / "fake_ray_module_of_a_test.py").write_text("import builtins\nplugin = builtins.fake_ray_of_a_test\n")
    monkeypatch.syspath_prepend(folder)
    yield plugin
    sys.modules.pop("fake_ray_module_of_a_test", None)
    shutdown_job_backend(wait=False)


def test_the_local_call_of_the_documentation(ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend = configure_job_backend(
        "ray",
        address="local",
        idempotency_scope="local-dev",
        analytics_store={"backend": "parquet", "uri": "./analytics_store"},
    )
    ((options, store),) = ray.opened
    assert (options.address, options.idempotency_scope) == ("local", "local-dev")
    assert store == AnalyticsStoreConfig(backend="parquet", uri=str(tmp_path / "analytics_store"))
    assert backend.store_config is store


def test_the_cluster_call_of_the_documentation(ray: FakeRay) -> None:
    configure_job_backend(
        "ray",
        address="ray://cluster-head:10001",
        idempotency_scope="team-a-prod-evals",
        runtime_env={
            "working_dir": ".",
            "pip": ["my-small-lib==0.3.1"],
            "env_vars": {
                "MODEL_REGISTRY_URL": "https://registry.internal",
            },
        },
        analytics_store={
            "backend": "parquet",
            "uri": "s3://team-checkmaite/analytics-store",
            "storage_options": {"anon": False},
        },
    )
    ((options, store),) = ray.opened
    assert options.runtime_env["env_vars"] == {"MODEL_REGISTRY_URL": "https://registry.internal"}
    assert (store.uri, store.storage_options) == ("s3://team-checkmaite/analytics-store", {"anon": False})


def test_the_object_store_call_of_the_documentation(ray: FakeRay) -> None:
    configure_job_backend(
        "ray",
        address="ray://cluster-head:10001",
        idempotency_scope="team-a-prod-evals",
        analytics_store={
            "backend": "parquet",
            "uri": "s3://team-checkmaite/results",
            "storage_options": {
                "anon": False,
            },
        },
        runtime_env={
            "env_vars": {
                "AWS_REGION": "us-east-1",
            }
        },
    )
    assert ray.opened[0][1].uri == "s3://team-checkmaite/results"


def test_a_cell_that_is_run_twice_gives_the_same_backend(ray: FakeRay) -> None:
    def cell() -> JobBackend:
        return configure_job_backend(analytics_store=dict(MEMORY), runtime_env={"env_vars": {"A": "1"}})

    first = cell()
    assert cell() is first
    assert len(ray.opened) == 1
    first.shutdown()
    assert cell() is not first


def test_a_cell_that_is_run_again_after_the_connection_was_lost_connects_anew(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cell() -> JobBackend:
        return configure_job_backend(analytics_store=dict(MEMORY))

    first = cell()
    other = configure_job_backend(analytics_store=dict(MEMORY), mode="fast")
    lost = [first]
    monkeypatch.setattr(type(first), "lost", property(lambda backend: backend in lost))
    second = cell()
    assert second is not first
    assert first.closed, "what it held is let go"
    assert not other.closed, "others are left alone"
    assert cell() is second
    assert len(ray.opened) == 3
    with pytest.raises(ConfigurationError):
        first.submit(Write(), datasets=[Data("a")])
    assert submit_capability(Write(), datasets=[Data("a")]).result(60).event_id


def test_an_overlay_that_was_changed_in_place_is_another_backend(ray: FakeRay) -> None:
    overlay: dict[str, Any] = {"env_vars": {"A": "1"}, "py_modules": [sys]}
    first = configure_job_backend(analytics_store=MEMORY, runtime_env=overlay)
    overlay["env_vars"]["A"] = "2"
    second = configure_job_backend(analytics_store=MEMORY, runtime_env=overlay)
    assert second is not first
    assert [options.runtime_env["env_vars"] for options, _ in ray.opened] == [{"A": "1"}, {"A": "2"}]
    assert ray.opened[0][0].runtime_env["py_modules"] == [sys]


def test_configuring_from_many_threads_opens_one_backend(ray: FakeRay) -> None:
    start, found = threading.Barrier(8), []

    def configure() -> None:
        start.wait(10)
        found.append(configure_job_backend(analytics_store=MEMORY))

    threads = [threading.Thread(target=configure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == len(ray.opened) == 1


def test_another_configuration_leaves_the_first_backend_and_its_jobs_alone(ray: FakeRay) -> None:
    first = configure_job_backend(analytics_store=MEMORY)
    job = submit_capability(Write(), datasets=[Data("one")])
    second = configure_job_backend(analytics_store=MEMORY, address="elsewhere:6379")
    assert not first.closed
    assert get_job(job.job_id, backend=first).result(60) == job.result(60)
    with pytest.raises(JobNotFoundError):
        get_job(job.job_id)  # the functions ask the one that was configured last
    assert [each.job_id for each in list_jobs(backend=first)] == [job.job_id]
    assert list(list_jobs()) == []
    assert configure_job_backend(analytics_store=MEMORY) is first  # and so does this make it the last again
    assert get_job(job.job_id).job_id == job.job_id
    second.shutdown()
    shutdown_job_backend()
    assert first.closed


def test_without_a_backend_every_function_says_what_to_call(ray: FakeRay) -> None:
    shutdown_job_backend()  # fine
    for act in (lambda: submit_capability(Write()), lambda: get_job("job-1"), list_jobs):
        with pytest.raises(NotConfiguredError, match="configure_job_backend"):
            act()
    backend = configure_job_backend(analytics_store=MEMORY)
    backend.shutdown()
    with pytest.raises(NotConfiguredError):
        list_jobs()
    with pytest.raises(ConfigurationError, match="shut down"):
        submit_capability(Write(), datasets=[Data("x")], backend=backend)


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    ("store", "words"),
    [
        (None, "no analytics_store was given"),
        ("./analytics_store", "is a str, not a mapping"),
        ({}, "uri"),
        ({"uri": ""}, "uri"),
        ({"uri": "x", "url": "y"}, "url"),
        ({"uri": "s3://bucket/x?key=1"}, "storage_options"),
        ({"uri": "x", "storage_options": {"session": object()}}, "storage_options"),
    ],
)
def test_a_store_that_cannot_be_understood_is_refused_with_a_call_that_works(store: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure_job_backend("ray", analytics_store=store)
    assert words in caught.value.message
    assert 'analytics_store={"backend": "parquet", "uri": "./analytics_store"}' in caught.value.hint


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("adress", "Did you mean 'address'? It has address,"),
        ("runtimeenv", "Did you mean 'runtime_env'?"),
        ("zzz", "It has address, idempotency_scope, mode, runtime_env, token."),
        ("num_workers", "Ray decides; ask for resources instead."),
    ],
)
def test_an_unknown_option_is_refused_by_name_with_the_nearest(name: str, hint: str) -> None:
    unknown: dict[str, Any] = {name: 1}
    with pytest.raises(UnknownOptionError, match=repr(name)) as caught:
        configure_job_backend("ray", analytics_store=MEMORY, **unknown)
    assert caught.value.hint.startswith(hint)


@pytest.mark.usefixtures("ray")
def test_a_value_that_cannot_be_understood_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"mode: Input should be 'fast' or 'safe'"):
        configure_job_backend("ray", analytics_store=MEMORY, mode="loud")


def test_a_backend_that_is_not_installed_is_named_with_what_brings_it(fakes: None) -> None:
    with pytest.raises(PluginNotFoundError, match="ray-simpel") as caught:
        configure_job_backend("ray-simpel", analytics_store=MEMORY)
    assert "ray-simple" in caught.value.hint


@pytest.mark.parametrize("kind", [b"ray", 3, ["ray"]])
def test_a_kind_that_is_no_name_is_refused_with_the_names_there_are(fakes: None, kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a name") as caught:
        configure_job_backend(kind, analytics_store=MEMORY)
    assert "'threads'" in caught.value.hint


def test_a_name_in_the_place_of_a_backend_is_refused_and_says_what_to_pass() -> None:
    name: Any = "ray-simple"
    for act in (
        lambda: submit_capability(Write(), backend=name),
        lambda: get_job("job-1", backend=name),
        lambda: list_jobs(backend=name),
        lambda: shutdown_job_backend(backend=name),
    ):
        with pytest.raises(ConfigurationError, match="'ray-simple', not a job backend") as caught:
            act()
        assert "configure_job_backend" in caught.value.hint


@pytest.mark.usefixtures("ray")
def test_secrets_are_in_no_error_and_no_repr() -> None:
    backend = configure_job_backend("ray", analytics_store=MEMORY | {"storage_options": {"secret": SECRET}})
    shown = [repr(backend), repr(backend.store_config), str(backend.store_config), repr(backend.store)]
    wrong: list[dict[str, Any]] = [
        {"analytics_store": {"uri": f"s3://user:{SECRET}@bucket/x"}},
        {"analytics_store": {"uri": f"s3://bucket/x?signature={SECRET}"}},
        {"analytics_store": {"uri": "x", "storage_options": {"secret": SECRET}, "more": SECRET}},
        {"analytics_store": {"uri": "x", "storage_options": {"secret": {SECRET.encode()}}}},
        {"analytics_store": {"uri": "x", "storage_options": SECRET}},
        {"analytics_store": MEMORY, "token": SECRET * 2},
        {"analytics_store": MEMORY, "mode": SECRET},
    ]
    for arguments in wrong:
        with pytest.raises(CheckmaiteError) as caught:
            configure_job_backend("ray", **arguments)
        error: BaseException | None = caught.value
        while error is not None:  # a traceback shows every error of the chain
            shown += [str(error), repr(error)]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert [text for text in shown if SECRET in text] == []


@pytest.mark.parametrize("wrong", [{"uri": f"s3://user:{SECRET}@bucket"}, {"uri": "x", "storage_options": [SECRET]}])
def test_a_store_config_that_is_made_directly_shows_no_secret_either(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="AnalyticsStoreConfig") as caught:
        AnalyticsStoreConfig(**wrong)
    assert SECRET not in str(caught.value)


@pytest.mark.usefixtures("ray")
def test_the_store_is_opened_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"backend": f"nowhere-{uuid.uuid4().hex}", "uri": "memory://x"}
    backend = configure_job_backend("ray", analytics_store=nowhere)
    with pytest.raises(PluginNotFoundError):
        backend.store  # noqa: B018 - that is what raises
    other = configure_job_backend("ray", analytics_store=MEMORY)
    assert other.store is other.store


def test_everything_public_is_importable_by_its_name() -> None:
    missing = [name for name in checkmaite_core.__all__ if not hasattr(checkmaite_core, name)]
    assert missing == []
    assert len(set(checkmaite_core.__all__)) == len(checkmaite_core.__all__)
