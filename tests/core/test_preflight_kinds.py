"""Which nodes preflight takes for alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core.deployment import describe_environment
from checkmaite_core.preflight import SiteNode
from checkmaite_core.preflight.kinds import able, installed_text, kinds_of

GIB = 2**30
RESOURCES = st.fixed_dictionaries(
    {"CPU": st.sampled_from([0.0, 4.0])}, optional={"GPU": st.just(1.0), "node:10.0.0.1": st.just(1.0)}
)
TEXTS = st.sampled_from(["", "a", "b"])


def node(name: str, resources: Mapping[str, float], labels: Mapping[str, str] | None = None) -> SiteNode:
    return SiteNode(node_id=name, name=name, resources=resources, available={}, labels=labels or {})


@given(st.lists(st.tuples(RESOURCES, TEXTS), max_size=8))
def test_each_node_is_of_one_kind_and_those_of_a_kind_have_the_same(
    found: Sequence[tuple[Mapping[str, float], str]],
) -> None:
    nodes = [node(str(number), resources) for number, (resources, _) in enumerate(found)]
    environments = {str(number): text for number, (_, text) in enumerate(found)}
    kinds = kinds_of(nodes, environments)
    assert sorted(each.node_id for kind in kinds for each in kind) == sorted(each.node_id for each in nodes)

    def has(each: SiteNode) -> tuple[object, ...]:
        return (each.resources["CPU"], each.resources.get("GPU"), environments[each.node_id])

    assert all(len({has(each) for each in kind}) == 1 for kind in kinds)
    assert len({has(kind[0]) for kind in kinds}) == len(kinds)


def test_nodes_that_differ_by_some_bytes_of_memory_or_their_own_names_are_alike() -> None:
    one = node("a", {"CPU": 4.0, "memory": 60.0 * GIB, "object_store_memory": 1.0, "node:10.0.0.1": 1.0})
    other = node("b", {"CPU": 4.0, "memory": 60.0 * GIB - 4096, "object_store_memory": 2.0, "node:10.0.0.2": 1.0})
    assert len(kinds_of([one, other], {})) == 1


def test_nodes_with_other_labels_are_not_alike() -> None:
    groups = [node(name, {"CPU": 4.0}, {"group": name}) for name in "ab"]
    assert len(kinds_of(groups, {})) == 2


def test_nodes_with_another_text_of_a_jobs_code_are_not_alike() -> None:
    here = describe_environment("checkmaite_core.testing._workloads")
    assert here.code is not None
    assert installed_text([here]) == installed_text([here.model_copy()])
    assert installed_text([here]) != installed_text([here.model_copy(update={"code": "0123456789abcdef"})])


def test_a_node_without_cpus_runs_jobs_only_if_they_ask_for_none() -> None:
    head = node("head", {"CPU": 0.0, "license": 1.0})
    assert not able(head, [])
    assert not able(head, [{"CPU": 1.0}])
    assert able(head, [{"CPU": 1.0}, {"license": 1.0}])
