"""Options and addresses: what is understood, and what is said of the rest."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core import ClusterUnreachableError, ConfigurationError, UnknownOptionError, configure_job_backend
from checkmaite_ray_simple import RaySimpleOptions
from checkmaite_ray_simple.address import Kind, resolve
from checkmaite_ray_simple.dispatcher import Dispatcher

STORE = {"backend": "parquet", "uri": "/nowhere"}


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"idempotency_scope": "team"}, 'kind="ray"'),
        ({"on_cluster_loss": "resubmit"}, 'kind="ray"'),
        ({"num_gpus": 1}, "CUDA_VISIBLE_DEVICES"),
        ({"max_retry": 1}, "'max_retries'"),
        ({"adress": "local"}, "'address'"),
    ],
)
def test_an_option_that_it_does_not_have_is_explained(option, says):
    with pytest.raises(UnknownOptionError, match=says):
        configure_job_backend("ray-simple", analytics_store=STORE, **option)


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": -1},
        {"oom_retries": -1},
        {"exception_retries": 1.5},
        {"max_unfinished": 0},
        {"retry_exceptions": ["not a name"]},
        {"retry_exceptions": "ConnectionError"},
        {"cancel_grace_seconds": float("inf")},
        {"address": "127.0.0.1:6379", "num_cpus": 2},
        {"address": "auto", "dashboard": True},
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_is_started(options):
    with pytest.raises(ConfigurationError, match=next(reversed(options))):
        configure_job_backend("ray-simple", analytics_store=STORE, **options)


def test_secrets_in_the_overlay_are_not_shown():
    options = RaySimpleOptions(runtime_env={"env_vars": {"KEY": "planted-secret"}})
    assert "planted-secret" not in repr(options)
    with pytest.raises(ConfigurationError) as caught:
        configure_job_backend("ray-simple", analytics_store=STORE, runtime_env={"env_vars": {"planted-secret"}})
    assert "planted-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [
        ("local", Kind.LOCAL, "local"),
        ("head:6379", Kind.CLUSTER, "head:6379"),
        ("[::1]:6379", Kind.CLUSTER, "[::1]:6379"),
        ("ray://head:10001", Kind.CLIENT, "ray://head:10001"),
        ("ray://head", Kind.CLIENT, "ray://head:10001"),
    ],
)
def test_an_address_is_read_and_given_to_ray_as_it_is(text, kind, address):
    target = resolve(text)
    assert (target.kind, target.address) == (kind, address)


@pytest.mark.parametrize(
    "text", ["head", "head:", ":6379", "head:0", "head:99999", "http://head:8265", "ray://", "a b"]
)
def test_what_is_no_address_is_refused_with_the_forms_there_are(text):
    with pytest.raises(ConfigurationError, match="ray://host:10001"):
        resolve(text)


HOSTS = st.text("abz019.-", min_size=1, max_size=20)


@given(host=HOSTS, port=st.integers(1, 65535), scheme=st.sampled_from(["", "ray://"]))
def test_every_host_and_port_comes_through_unchanged(host, port, scheme):
    target = resolve(f"{scheme}{host}:{port}")
    assert (target.host, target.port) == (host, port)
    assert target.address == f"{scheme}{host}:{port}"


def test_auto_without_any_ray_says_how_to_start_one(monkeypatch):
    from ray._private import services

    # Other Rays may run on this machine; this is the answer of a machine where none does.
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: set())
    monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: None)
    with pytest.raises(ClusterUnreachableError, match="ray start --head"):
        resolve("auto")


def test_the_dispatcher_calls_in_order_of_time_and_survives_what_is_raised():
    said, done = [], threading.Event()
    dispatcher = Dispatcher("test", lambda: True, lambda error, arguments: said.append((str(error), arguments)))

    def broken(value):
        raise ValueError(f"broken {value}")

    dispatcher.call_later(0.05, done.set)
    dispatcher.call_later(0.02, said.append, "late")
    dispatcher.call(said.append, "first")
    dispatcher.call(broken, 1)
    dispatcher.call(said.append, "second")
    assert done.wait(10)
    assert said == ["first", ("broken 1", (1,)), "second", "late"]
    dispatcher.call_later(0.01, said.append, "never")
    dispatcher.stop()
    dispatcher.call(said.append, "nor this")
    assert said[-1] == "late"
