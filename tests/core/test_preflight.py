"""What preflight asks, of which nodes, and what it concludes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from preflight_site import World, node

from checkmaite_core import AnalyticsStoreConfig, ConfigurationError, DatasetRef, JobBackend, Work
from checkmaite_core.preflight import Answer, Check, PreflightReport, Question
from checkmaite_core.preflight.running import run_preflight
from checkmaite_core.preflight.trials import trial_of
from checkmaite_core.store import open_result_store
from checkmaite_core.testing import ThreadBackend
from checkmaite_core.testing._workloads import Data, Write, WriteConfig

pytestmark = pytest.mark.usefixtures("fakes")

SECRET = "hunter2"
Run = Callable[..., PreflightReport]


@pytest.fixture
def store() -> AnalyticsStoreConfig:
    return AnalyticsStoreConfig(backend="memory", uri=f"memory://{uuid.uuid4()}", storage_options={"password": SECRET})


@pytest.fixture
def run(store: AnalyticsStoreConfig) -> Run:
    """Run a preflight on a site; nothing that it says may hold a secret, and every red line has its remedy."""

    def run(site: World, *works: Any, store: AnalyticsStoreConfig = store, **more: Any) -> PreflightReport:
        trials = [trial_of(work, backend="fake", store=store) for work in works]
        report = run_preflight(site, trials, store, **more)
        assert SECRET not in report.model_dump_json() + report.table()
        for check in report.checks:
            assert check.level in ("ok", "note") or (check.mender and check.remedy), check
        return report

    return run


def work(label: str = "a", **arguments: Any) -> Work:
    return Work(capability=Write(), datasets=[Data(label)], **arguments)


def of(report: PreflightReport, section: str, level: str) -> list[Check]:
    return [check for check in report.checks if (check.section, check.level) == (section, level)]


def test_of_nodes_that_are_alike_one_is_asked(run: Run) -> None:
    site = World([node("a", CPU=4.0), node("b", CPU=4.0), node("c", CPU=4.0)])
    report = run(site, work())
    assert (report.exit_code, len(report.nodes)) == (0, 1)
    assert len(site.questions(about="environments")) == 3
    assert site.questions(about="work") == site.questions(about="token") == ["id-of-a"]


def test_nodes_that_differ_in_resources_or_in_what_is_installed_are_asked_each(run: Run) -> None:
    site = World([node("a", CPU=4.0), node("b", CPU=8.0), node("c", CPU=4.0)], versions={"c": {"numpy": "1.0"}})
    report = run(site, work())
    assert [kind.names for kind in report.nodes] == [("a",), ("b",), ("c",)]
    assert site.questions(about="work") == ["id-of-a", "id-of-b", "id-of-c"]


def test_jobs_that_differ_in_nothing_but_their_data_are_asked_about_once(run: Run) -> None:
    site = World([node("a", CPU=4.0)])
    report = run(site, *(work(label) for label in "abc"), Work(capability=Write(), datasets=[Data("d")], name="e"))
    assert len(site.questions(about="work")) == 1
    assert [check.subject for check in of(report, "resources", "ok")] == ["Write(a) and 3 more like it"]


def test_without_work_cluster_and_store_are_looked_at(run: Run) -> None:
    report = run(World([node("a", CPU=4.0)]))
    assert report.exit_code == 0
    assert {check.section for check in report.checks} == {"code", "store", "control plane"}


def test_a_capability_alone_is_enough_to_look_at_its_code(run: Run) -> None:
    site = World([node("a", CPU=4.0)])
    assert run(site, Write()).exit_code == 0
    assert len(site.questions(about="work")) == 1


def test_what_the_workers_left_in_the_store_is_seen_and_removed_by_the_client(
    run: Run, store: AnalyticsStoreConfig
) -> None:
    report = run(World([node("a", CPU=4.0), node("b", CPU=8.0)]), work())
    (seen,) = [check for check in of(report, "store", "ok") if check.node == "client"]
    assert seen.found == "finds what 2 workers have written"
    assert open_result_store(store)._contents.probes == set()  # type: ignore[attr-defined]


def test_a_store_on_a_disk_of_the_nodes_own_is_red_and_names_the_node(run: Run, tmp_path: Any) -> None:
    local = AnalyticsStoreConfig(backend="memory", uri=str(tmp_path / "store"))
    site = World([node("a", CPU=4.0), node("b", CPU=4.0)], own_disk={"b"})
    report = run(site, work(), store=local)
    assert site.questions(about="token") == ["id-of-a", "id-of-b"]
    (found,) = of(report, "store", "error")
    assert (found.node, found.mender) == ("b", "client")
    assert "another disk" in found.found
    assert "s3://" in found.remedy


def test_a_store_that_leads_elsewhere_from_the_client_is_red(run: Run) -> None:
    (found,) = of(run(World([node("a", CPU=4.0)], own_disk={"a"}), work()), "store", "error")
    assert "leads elsewhere" in found.found


def test_a_version_that_must_match_is_red_and_nothing_is_unpickled_there(run: Run) -> None:
    site = World([node("a", CPU=4.0), node("b", CPU=4.0)], versions={"b": {"pydantic": "1.0.0"}})
    report = run(site, work())
    (found,) = of(report, "code", "error")
    assert (found.subject, found.node) == ("pydantic", "b")
    assert site.questions(about="work") == ["id-of-a"]


def test_where_the_policy_lets_jobs_go_on_skew_is_a_warning_and_the_code_is_looked_at(run: Run) -> None:
    site = World([node("a", CPU=4.0)], versions={"a": {"pydantic": "1.0.0"}})
    report = run(site, work(), version_skew="warn")
    assert report.exit_code == 0
    (found,) = of(report, "code", "warning")
    assert 'version_skew is "warn"' in found.found
    assert len(site.questions(about="work")) == 1


def test_a_head_without_cpus_is_not_held_to_what_jobs_need(run: Run) -> None:
    site = World([node("head", head=True, CPU=0.0), node("a", CPU=4.0)], versions={"head": {"pydantic": "1.0.0"}})
    report = run(site, work())
    assert report.exit_code == 0, report.table()
    assert [check.subject for check in of(report, "code", "note") if check.node == "head"] == ["pydantic"]
    assert [kind.runs_jobs for kind in report.nodes] == [False, True]
    assert "id-of-head" not in site.questions(about="work") + site.questions(about="token")


def test_a_node_that_does_not_answer_is_red_and_the_others_are_looked_at(run: Run) -> None:
    site = World([node("a", CPU=4.0), node("b", CPU=8.0)], silent={"a"})
    report = run(site, work())
    (found,) = report.errors
    assert (found.section, found.node, found.found) == ("cluster", "a", "no answer within 1 s")
    assert site.questions(about="work") == ["id-of-b"]
    assert report.exit_code == 1


def test_where_no_node_answers_nothing_was_looked_at(run: Run) -> None:
    assert run(World([node("a", CPU=4.0)], silent={"a"}), work()).exit_code == 2


def test_where_no_node_is_up_that_runs_jobs_it_says_so(run: Run) -> None:
    site = World([node("head", head=True, CPU=0.0)], node_maxima=[{"CPU": 8.0}], autoscales=True)
    report = run(site, work())
    assert report.exit_code == 0
    (found,) = report.warnings
    assert "could not be looked at" in found.found


def test_a_job_that_fits_nowhere_is_still_looked_at_in_all_else(run: Run) -> None:
    site = World([node("a", CPU=4.0)])
    report = run(site, work(resources={"num_gpus": 1}))
    assert [check.section for check in report.errors] == ["resources"]
    assert len(site.questions(about="work")) == len(site.questions(about="token")) == 1


def test_a_job_with_gpus_is_looked_at_by_a_process_with_as_many(run: Run) -> None:
    site = World([node("a", CPU=4.0, GPU=1.0, free={"CPU": 4.0}), node("b", CPU=4.0, GPU=1.0)])
    report = run(site, work(resources={"num_gpus": 1}))
    (question,) = [each for each in site.asked if each.payload]
    assert (question.node_id, question.demand) == ("id-of-b", {"GPU": 1.0})
    assert [check.subject for check in report.checks if check.subject.startswith("GPUs")] == ["GPUs for Write(a)"]


def test_gpus_that_are_all_taken_are_not_waited_for(run: Run) -> None:
    site = World([node("a", CPU=4.0, GPU=1.0, free={"CPU": 4.0})])
    report = run(site, work(resources={"num_gpus": 1}))
    (question,) = [each for each in site.asked if each.payload]
    assert question.demand == {}
    assert any("none of 1 is free now" in check.found for check in of(report, "resources", "note"))


def test_a_large_input_is_warned_of_once_with_the_way_to_pass_it_by_reference(run: Run) -> None:
    large = Data("large")
    large.pixels = b"0" * 11 * 2**20  # type: ignore[attr-defined]
    works = [Work(capability=Write(), datasets=[large], config=WriteConfig(value=value)) for value in (1.0, 2.0)]
    (found,) = run(World([node("a", CPU=4.0)]), *works).warnings
    assert (found.section, found.mender) == ("inputs", "client")
    assert "11.5 MB travel with each job" in found.found
    assert 'DatasetRef(id="large"' in found.remedy


def test_what_cannot_be_pickled_is_red(run: Run) -> None:
    closed = Data("a")
    closed.lock = threading.Lock()  # type: ignore[attr-defined]
    report = run(World([node("a", CPU=4.0)]), Work(capability=Write(), datasets=[closed]))
    (found,) = report.errors
    assert (found.section, found.node, found.mender) == ("code", "client", "client")
    assert "lock" in found.found


def test_an_input_by_reference_is_looked_for_with_its_loader(run: Run, tmp_path: Any) -> None:
    there = DatasetRef(id="a", uri=str(tmp_path), loader="checkmaite_core.testing._workloads:load_data")
    absent = DatasetRef(id="b", uri=str(tmp_path / "b"), loader="no_such_module.data:load")
    works = [Work(capability=Write(), datasets=[each]) for each in (there, absent)]
    report = run(World([node("a", CPU=4.0)]), *works)
    subjects = [check.subject for check in of(report, "inputs", "error")]
    assert sorted(subjects) == sorted([str(tmp_path / "b"), "loader no_such_module.data:load of b"])
    assert len(of(report, "inputs", "ok")) == 2


def test_an_input_of_any_class_may_name_its_locations(run: Run, tmp_path: Any) -> None:
    class Own(Data):
        def locations(self) -> list[str]:
            return [f"https://ada:{SECRET}@127.0.0.1:9/x?sig={SECRET}"]

    globals()["Own"], Own.__qualname__ = Own, "Own"
    report = run(World([node("a", CPU=4.0)]), Work(capability=Write(), datasets=[Own("a")]))
    assert [check.subject for check in of(report, "inputs", "error")] == ["https://127.0.0.1:9/x?..."]


def test_of_very_many_locations_some_are_looked_at_and_it_says_so(run: Run, tmp_path: Any) -> None:
    loader = "checkmaite_core.testing._workloads:load_data"
    references = [DatasetRef(id=f"{index}", uri=str(tmp_path / f"{index}"), loader=loader) for index in range(1000)]
    works = [Work(capability=Write(), datasets=[each]) for each in references]
    report = run(World([node("a", CPU=4.0)]), *works)
    assert len(of(report, "inputs", "error")) == 200
    (note,) = of(report, "inputs", "note")
    assert note.found == "200 of 1000 are looked at, evenly spread"
    assert len(report.table().split("\n")) < 40


def test_a_node_with_another_checkmaite_that_answers_otherwise_is_the_images_to_mend(run: Run) -> None:
    class Newer(World):
        def _answer(self, question: Question) -> Answer:
            return Answer(node_id=question.node_id, text='{"checks": ["in order"]}')

    (found,) = run(Newer([node("a", CPU=4.0)]), work()).errors
    assert (found.section, found.mender) == ("cluster", "image")


def test_a_backend_without_nodes_to_look_at_says_so(store: AnalyticsStoreConfig) -> None:
    class Bare(ThreadBackend):
        _site = JobBackend._site  # type: ignore[assignment]

    with Bare(store) as backend:
        for attempt in (backend.preflight, lambda: backend.submit(Write(), datasets=[Data("a")], preflight=True)):
            with pytest.raises(ConfigurationError, match="no nodes that a preflight could look at"):
                attempt()
        assert list(backend.jobs()) == []
