"""Preflight's arithmetic: what fits where, now or ever, and how many jobs of a mix run at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from checkmaite_core import Resources
from checkmaite_core.preflight import Check, SiteNode
from checkmaite_core.preflight.capacity import amounts_text, at_once, demand_of, fits, how_many
from checkmaite_core.preflight.resources import Wanted, check_resources, distinct

GIB = 2**30
NAMES = st.sampled_from(["CPU", "memory", "GPU", "license"])
ROOMS = st.lists(st.dictionaries(NAMES, st.integers(0, 6).map(float), max_size=4), max_size=4)
WHOLE = st.dictionaries(NAMES, st.integers(0, 4).map(float), max_size=3)
DEMANDS = st.dictionaries(NAMES, st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 1.0, 2.0, 3.0]), max_size=3)
MIXES = st.lists(st.tuples(WHOLE.filter(lambda demand: sum(demand.values()) > 0), st.integers(1, 4)), max_size=3)


def node(name: str = "a", *, free: Mapping[str, float] | None = None, **resources: float) -> SiteNode:
    return SiteNode(node_id=name, name=name, resources=resources, available=resources if free is None else free)


def check(demand: Mapping[str, float], *nodes: SiteNode, **more: object) -> Check:
    (found,) = check_resources([Wanted("job", demand)], nodes, **more)  # type: ignore[arg-type]
    return found


@given(st.dictionaries(NAMES, st.integers(0, 6).map(float)), DEMANDS)
def test_a_node_takes_a_demand_as_often_as_it_can_be_subtracted(
    room: Mapping[str, float], demand: Mapping[str, float]
) -> None:
    count = how_many(room, demand)
    assert fits(room, demand) == (count is None or count > 0)
    if count is None:
        assert not any(demand.values())
        return
    assert all(count * amount <= room.get(name, 0.0) + 1e-6 for name, amount in demand.items())
    one_more = any((count + 1) * amount > room.get(name, 0.0) + 1e-6 for name, amount in demand.items())
    assert one_more or 0 < demand.get("GPU", 0.0) < 1


def test_part_of_a_gpu_is_part_of_one_gpu() -> None:
    assert how_many({"GPU": 2.0}, {"GPU": 0.6}) == 2
    assert how_many({"GPU": 2.0}, {"GPU": 0.4}) == 4
    assert how_many({"GPU": 2.0}, {"GPU": 1 / 3}) == 6


@given(ROOMS, MIXES)
def test_what_is_placed_of_a_mix_can_be_placed_and_none_is_placed_twice(
    rooms: Sequence[Mapping[str, float]], mix: Sequence[tuple[Mapping[str, float], int]]
) -> None:
    placed = at_once(rooms, mix)
    assert all(0 <= count <= wanted for count, (_, wanted) in zip(placed, mix, strict=True))
    jobs = [demand for count, (demand, _) in zip(placed, mix, strict=True) for _ in range(count)]
    assert _can_be_placed(list(map(dict, rooms)), jobs)


def _can_be_placed(rooms: list[dict[str, float]], jobs: Sequence[Mapping[str, float]]) -> bool:
    """By trying; the jobs of these tests are few, and equal ones are tried once."""
    if not jobs:
        return True
    ordered = sorted(jobs, key=lambda demand: -sum(demand.values()))
    for index, room in enumerate(rooms):
        if all(room.get(name, 0.0) >= amount for name, amount in ordered[0].items()):
            less = {name: amount - ordered[0].get(name, 0.0) for name, amount in room.items()}
            if _can_be_placed([*rooms[:index], less, *rooms[index + 1 :]], ordered[1:]):
                return True
    return False


@given(ROOMS, WHOLE.filter(lambda demand: sum(demand.values()) > 0), st.integers(1, 9))
def test_of_one_demand_as_many_are_placed_as_fit(
    rooms: Sequence[Mapping[str, float]], demand: Mapping[str, float], wanted: int
) -> None:
    assert at_once(rooms, [(demand, wanted)]) == [min(wanted, sum(how_many(room, demand) or 0 for room in rooms))]


@given(ROOMS, MIXES)
def test_something_of_a_mix_is_placed_where_anything_fits(
    rooms: Sequence[Mapping[str, float]], mix: Sequence[tuple[Mapping[str, float], int]]
) -> None:
    anything = any(fits(room, demand) for room in rooms for demand, _ in mix)
    assert (sum(at_once(rooms, mix)) > 0) == anything


@given(ROOMS, WHOLE, st.integers(1, 5))
def test_another_node_never_makes_it_fewer(
    rooms: Sequence[Mapping[str, float]], demand: Mapping[str, float], count: int
) -> None:
    for more in ({"CPU": 2.0}, {"GPU": 1.0, "memory": 3.0}):
        assert at_once([*rooms, more], [(demand, count)]) >= at_once(rooms, [(demand, count)])


def test_the_large_ones_of_a_mix_do_not_lose_their_place_to_small_ones() -> None:
    rooms = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0}]
    for order in itertools.permutations([({"CPU": 1.0}, 4), ({"CPU": 4.0, "GPU": 1.0}, 1)]):
        assert sum(at_once(rooms, order)) == 5


@given(st.floats(0, 64), st.floats(0, 8), st.integers(0, 2**40))
def test_a_demand_by_rays_names_has_nothing_that_is_nothing(cpus: float, gpus: float, memory: int) -> None:
    demand = demand_of(Resources(num_cpus=cpus, num_gpus=gpus, memory=memory, custom={"license": 1}))
    assert all(demand.values())
    expected = {"CPU": cpus, "GPU": gpus, "memory": memory, "license": 1}
    assert demand == {name: amount for name, amount in expected.items() if amount}


def test_amounts_are_shown_as_people_say_them() -> None:
    text = amounts_text({"memory": 4 * GIB, "GPU": 0.5, "CPU": 2.0, "node:10.0.0.1": 1.0, "license": 1})
    assert text == "2 CPU, 0.5 GPU, 4 GiB memory, 1 license"
    assert amounts_text({}) == "nothing"


def test_equal_demands_are_looked_at_once() -> None:
    found = distinct([("a", {"CPU": 1.0}), ("b", {"GPU": 1.0, "CPU": 1.0}), ("c", {"CPU": 1.0})])
    assert found == [Wanted("a", {"CPU": 1.0}, 2), Wanted("b", {"GPU": 1.0, "CPU": 1.0}, 1)]
    assert found[0].subject == "a and 1 more like it"


def test_what_fits_now_is_in_order_and_says_how_often() -> None:
    found = check({"CPU": 1.0}, node("a", CPU=4.0, free={"CPU": 1.0}), node("b", CPU=2.0), node("c", CPU=0.0))
    assert found.level == "ok"
    assert found.found == "1 CPU: fits on 2 of 3 nodes, 6 times when idle, 3 times now"


def test_what_fits_only_once_others_have_ended_is_a_note() -> None:
    found = check({"CPU": 1.0}, node("a", CPU=4.0, free={}))
    assert found.level == "note"
    assert "waits for others to end" in found.found


def test_what_no_node_has_is_an_error_that_says_what_is_short() -> None:
    found = check({"CPU": 1.0, "GPU": 2.0}, node("a", CPU=8.0, GPU=1.0), node("b", CPU=64.0))
    assert (found.level, found.mender) == ("error", "cluster")
    assert "1 CPU, 2 GPU" in found.found
    assert "no node has more than 1 GPU" in found.found
    assert 'node_maxima=[{"CPU": 1, "GPU": 2}]' in found.remedy


def test_what_no_node_has_together_is_an_error_that_says_so() -> None:
    found = check({"CPU": 8.0, "GPU": 1.0}, node("a", CPU=2.0, GPU=1.0), node("b", CPU=64.0))
    assert found.level == "error"
    assert "no node has all of that together" in found.found


def test_a_cluster_without_nodes_is_an_error() -> None:
    assert "there is no node" in check({"CPU": 1.0}).found


def test_what_a_node_has_that_may_be_added_is_a_note() -> None:
    found = check({"GPU": 1.0}, node("a", CPU=8.0), node_maxima=[{"CPU": 8.0, "GPU": 4.0}])
    assert found.level == "note"
    assert "may be added" in found.found


def test_what_even_the_largest_node_that_may_be_added_lacks_is_an_error() -> None:
    found = check({"GPU": 8.0}, node("a", CPU=8.0), node_maxima=[{"CPU": 8.0, "GPU": 4.0}], autoscales=True)
    assert found.level == "error"
    assert "nor has one that may be added" in found.found


def test_where_a_cluster_grows_by_nodes_unknown_it_is_a_warning_that_says_what_to_configure() -> None:
    found = check({"GPU": 1.0, "memory": 2.0 * GIB}, node("a", CPU=8.0), autoscales=True)
    assert (found.level, found.mender) == ("warning", "client")
    assert 'node_maxima=[{"GPU": 1, "memory": 2147483648}]' in found.remedy


def test_of_several_jobs_it_says_how_many_run_at_the_same_time() -> None:
    wanted = [Wanted("small", {"CPU": 1.0}, 6), Wanted("large", {"CPU": 4.0}), Wanted("too large", {"CPU": 64.0})]
    *_, mix = check_resources(wanted, [node("a", CPU=4.0, free={"CPU": 1.0}), node("b", CPU=4.0)])
    assert mix.subject == "the 7 jobs that fit, together"
    assert mix.found.startswith("placed largest first, 5 of them fit at the same time when the nodes are idle, 2 now")


def test_every_finding_that_is_not_in_order_has_a_mender_and_a_remedy() -> None:
    found = [
        check({"GPU": 2.0}, node("a", CPU=8.0)),
        check({"GPU": 2.0}, node("a", CPU=8.0), autoscales=True),
    ]
    assert all(each.mender and each.remedy for each in found)
