"""What a preflight says where Ray raises instead of an answer, in words of its own and without secrets."""

from __future__ import annotations

import pytest
from ray import exceptions as raised

from checkmaite_ray_simple.site import names_of
from checkmaite_ray_simple.site_answers import explained, unanswered


def of_task(text):
    """What Ray raises where our function could not run; its text is all that is known then."""
    return raised.RayTaskError("answer_question", text, RuntimeError(text))


@pytest.mark.parametrize(
    ("error", "mender", "words"),
    [
        (
            of_task("ModuleNotFoundError: No module named 'checkmaite_ray_simple'"),
            "image",
            "checkmaite-ray-simple is not",
        ),
        (
            of_task("ImportError: cannot import name 'answer' from 'checkmaite_core.preflight' (x)"),
            "image",
            "another version",
        ),
        (of_task("ModuleNotFoundError: No module named 'pydantic'"), "image", "no module pydantic"),
        (of_task("failed to import on the worker\nOSError: libx.so: no such file"), "image", "libx.so"),
        (of_task("a traceback\nValueError: odd"), "checkmaite", "unexpected exception in checkmaite"),
        (raised.WorkerCrashedError(), "image", "crashed"),
        (raised.OutOfMemoryError("used 15.9 GB\nand a page of figures"), "cluster", "for memory"),
        (raised.TaskUnschedulableError("gone"), "cluster", "went away"),
        (raised.NodeDiedError("gone"), "cluster", "went away"),
        (raised.RuntimeEnvSetupError("many lines\nno matching distribution for my-lib==9"), "client", "my-lib==9"),
        (raised.RaySystemError("what nobody has seen before"), "cluster", "RaySystemError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error_of_rays_has_a_reason_a_mender_and_a_remedy(error, mender, words):
    answer = explained("node", error)
    assert (answer.node_id, answer.text, answer.mender) == ("node", None, mender)
    assert words in answer.problem
    assert answer.remedy
    assert "\n" not in answer.problem


def test_what_an_installer_prints_of_secrets_is_not_repeated():
    said = "looking in indexes: https://robot:planted-1@pypi.internal/simple\nERROR: token planted-2 was refused"
    answer = explained("node", raised.RuntimeEnvSetupError(said), ["planted-2"])
    assert "pypi.internal" in answer.problem
    assert "planted" not in answer.problem


def test_a_question_without_an_answer_says_what_may_take_so_long():
    assert "packages of runtime_env" in unanswered("node", 9.5, builds=True).problem
    assert "within 9.5 s" in unanswered("node", 9.5, builds=False).problem


def test_nodes_are_called_by_their_name_or_host_and_told_apart_where_that_is_shared():
    def node(node_id, address, host, name="", alive=True):
        named = {"NodeManagerAddress": address, "NodeManagerHostname": host, "NodeName": name}
        return {"NodeID": node_id, "Alive": alive, **named}

    nodes = [
        node("a" * 56, "10.0.0.1", "pod-1", "10.0.0.1"),
        node("b" * 56, "10.0.0.2", "pod-2", "gpu-worker"),
        node("c" * 56, "10.0.0.3", "pod-3", "10.0.0.3"),
        node("d" * 56, "10.0.0.3", "pod-3", "10.0.0.3"),
        node("e" * 56, "10.0.0.4", ""),
        node("f" * 56, "10.0.0.9", "pod-1", alive=False),
    ]
    assert list(names_of(nodes).values()) == [
        "pod-1",
        "gpu-worker",
        "pod-3 (cccccccc)",
        "pod-3 (dddddddd)",
        "10.0.0.4",
        "pod-1 (ffffffff)",
    ]
