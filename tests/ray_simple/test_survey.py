"""What is made of the answers of nodes, and of their silence; on a local Ray, whose workers an overlay makes others."""

from __future__ import annotations

import pytest
from ray.experimental import internal_kv

from checkmaite_core import (
    DeploymentError,
    JobStatus,
    VersionSkewError,
    VersionSkewWarning,
    configure_job_backend,
)
from checkmaite_core.deployment import Environment, NodeEnvironment, describe_environment
from checkmaite_ray_simple import survey
from checkmaite_ray_simple.survey_findings import error_of, kinds_of, text_of
from checkmaite_ray_simple.survey_memory import recall, remember, same_as_the_nodes_own

CLIENT = Environment(python="3.11.7", platform="linux-x86_64", versions={"ray": "2.60.0", "numpy": "2.4.6"})


def node(number, problem=None, **versions):
    environment = CLIENT.model_copy(update={"versions": {**CLIENT.versions, **versions}})
    return NodeEnvironment(f"{number:040x}", f"worker-{number}", environment, problem)


def test_nodes_that_are_alike_share_one_table_and_the_worst_comes_first():
    nodes = [node(1), node(2, numpy="2.0.0"), *(node(number, ray="2.59.0") for number in range(3, 9))]
    kinds = kinds_of(CLIENT, nodes, ())
    assert [kind.nodes for kind in kinds] == [tuple(f"worker-{number}" for number in range(3, 9)), ("worker-2",)]
    text = text_of(kinds)
    assert "nodes worker-3, worker-4, worker-5 and 3 more:\n" in text
    assert text.count("2.59.0") == 2, "the version, and what to type"
    assert text.index("2.59.0") < text.index("node worker-2:")


def test_only_what_jobs_fail_of_is_an_error_and_it_says_of_how_many_nodes():
    assert error_of(kinds_of(CLIENT, [node(1), node(2, numpy="2.0.0")], ()), "head:6379") is None
    skew = error_of(kinds_of(CLIENT, [node(1, "it has no pip"), node(2, ray="2.59.0")], ()), "head:6379")
    assert isinstance(skew, VersionSkewError)
    assert str(skew).startswith("2 nodes of the Ray at head:6379 do not fit")
    assert "it has no pip" in str(skew)
    other = error_of(kinds_of(CLIENT, [node(1, "it has no pip")], ()), "head:6379")
    assert type(other) is DeploymentError
    assert str(other).startswith("1 node of the Ray at head:6379 cannot run")


def test_notes_are_left_to_those_who_ask():
    stamped = CLIENT.model_copy(update={"lock": "sha256:" + "0" * 64})
    assert not kinds_of(stamped, [node(1)], ()), "it does not say which lock it is from, and is right all the same"


@pytest.mark.parametrize(
    ("overlay", "same"),
    [
        ({}, True),
        ({"env_vars": {"AWS_REGION": "here"}, "working_dir": "gcs://_ray_pkg_1.zip", "pip": []}, True),
        ({"py_modules": ["gcs://_ray_pkg_1.zip"], "config": {"setup_timeout_seconds": 1}}, True),
        ({"py_modules": ["gcs://a-1-py3-none-any.whl"]}, False),
        ({"working_dir": "s3://bucket/code.zip"}, False),
        ({"env_vars": {"PYTHONPATH": "/opt"}}, False),
        ({"env_vars": {"LD_LIBRARY_PATH": "/opt"}}, False),
        ({"pip": {"packages": ["six"]}}, False),
        ({"uv": ["six"]}, False),
        ({"conda": "base"}, False),
        ({"py_executable": "uv run"}, False),
        ({"something_new": 1}, False),
    ],
)
def test_an_overlay_that_only_brings_code_and_settings_leaves_the_nodes_environment_as_it_is(overlay, same):
    assert same_as_the_nodes_own(overlay) is same


def test_what_is_remembered_comes_back_and_what_is_not_understood_does_not(local):
    one, other = CLIENT, CLIENT.model_copy(update={"python": "3.12.1"})
    remember({"a": one, "b": other, "c": one.model_copy(update={"distributions": {"six": "1.0"}})})
    assert recall() == {"a": one, "b": other, "c": one}, "what is only shown is not kept"
    for text in (b"", b"{", b"[]", b'{"environments": [], "nodes": {"a": 0}}', b'{"environments": [{}], "nodes": {}}'):
        internal_kv._internal_kv_put(b"environments-1", text, overwrite=True, namespace=b"checkmaite")
        assert recall() == {}


@pytest.fixture
def connect(local, store):
    """Open clients of the local Ray, and leave none behind."""
    opened = []

    def connect(**options):
        opened.append(configure_job_backend("ray-simple", analytics_store=store, num_cpus=2, **options))
        return opened[-1]

    yield connect
    for backend in opened:
        backend.shutdown(wait=False)


@pytest.fixture
def image(tmp_path):
    """Give workers another environment: distributions that say that they are there, and modules of this code."""

    def image(*distributions, **modules):
        for name, version in distributions:
            (tmp_path / f"{name}-{version}.dist-info").mkdir()
            about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (tmp_path / f"{name}-{version}.dist-info" / "METADATA").write_text(about)
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
        return {"env_vars": {"PYTHONPATH": str(tmp_path)}}

    return image


def test_workers_of_our_own_ray_are_not_asked_unless_the_overlay_makes_them_others(connect, image, monkeypatch):
    really, asked = survey.ask_all, []
    monkeypatch.setattr(survey, "ask_all", lambda nodes, *rest: asked.append(nodes) or really(nodes, *rest))
    backend = connect(runtime_env={"env_vars": {"FLAVOUR": "vanilla"}})
    assert not asked
    (only,) = backend.environments()
    assert only.environment.versions == describe_environment().versions
    asked.clear()
    with pytest.raises(VersionSkewError, match=r"error +pydantic +2\.\S+ +1\.10\.2 "):
        connect(runtime_env=image(("pydantic", "1.10.2")))
    assert len(asked) == 1


@pytest.mark.parametrize("module", ["checkmaite_core", "checkmaite_ray_simple"])
def test_a_node_where_our_packages_are_missing_or_broken_can_still_say_so(connect, image, module):
    with pytest.raises(DeploymentError, match=r"no job can start there, .* left out of the image") as caught:
        connect(runtime_env=image(**{module: "raise ImportError('left out of the image')"}))
    assert type(caught.value) is DeploymentError


def test_a_node_whose_packages_are_too_old_to_describe_it_is_compared_all_the_same(connect, image):
    with pytest.raises(VersionSkewError, match=r"error +pydantic +2\.\S+ +1\.10\.2 "):
        connect(runtime_env=image(("pydantic", "1.10.2"), checkmaite_core="OLD = True"))


def test_an_answer_that_is_too_late_for_connecting_is_a_warning(connect, image, monkeypatch, until, work):
    monkeypatch.setattr(survey, "_BUILDING", 0.0)
    backend = connect(runtime_env=image(("pydantic", "1.10.2")))
    until(lambda: backend._survey._answers, "the answer")
    with pytest.warns(VersionSkewWarning, match=r"error +pydantic +2\.\S+ +1\.10\.2 "):
        job = backend.submit(work(lambda: 1))
    assert job.wait(60) is JobStatus.FAILED, "workers look for themselves"


def test_a_node_that_never_answers_is_named(connect, image, monkeypatch, until):
    monkeypatch.setattr(survey, "_BUILDING", 0.0)
    monkeypatch.setattr(survey, "_LOOK", 0.05)
    monkeypatch.setattr(survey, "_SILENT", 0.1)
    backend = connect(runtime_env=image(sitecustomize="import time; time.sleep(1000)"))
    # As long as there are jobs; one that waits for such a node would hold up the test's end.
    monkeypatch.setattr(backend._survey, "_busy", lambda: True)
    until(lambda: backend._survey._answers, "it is given up")
    with pytest.warns(VersionSkewWarning, match="no worker of it has answered"):
        backend.shutdown(wait=False)
