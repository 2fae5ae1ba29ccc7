"""The files that platform teams copy: a RayCluster that Kubernetes accepts, and the profiles that go with it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from checkmaite_core.profiles import load_profiles, resolve_profile
from checkmaite_ray import RayOptions
from checkmaite_ray_simple import RaySimpleOptions

ROOT = Path(__file__).parents[2]
PLATFORM = ROOT / "docs" / "platform"
SCHEMA = json.loads((Path(__file__).parent / "raycluster.schema.json").read_text())
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@pytest.fixture
def cluster() -> dict[str, Any]:
    documents = yaml.safe_load_all((PLATFORM / "raycluster.yaml").read_text())
    (found,) = [document for document in documents if document["kind"] == "RayCluster"]
    return dict(found)


def templates(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    spec = cluster["spec"]
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def amount(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]] if quantity[-2:] in UNITS else int(quantity)


def test_the_manifest_fits_the_schema_of_kuberay(cluster: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(cluster, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "workerGroupSpec"), []),
        (("spec", "authOptions", "mode"), "on"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0, "resources", "limits", "memory"), "8 GB"),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "container"), []),
    ],
)
def test_the_schema_refuses_what_kubernetes_would(cluster: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    changed = json.loads(json.dumps(cluster))
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, SCHEMA)


def test_the_manifest_keeps_the_rules_that_the_operator_adds(cluster: dict[str, Any]) -> None:
    """As its validation has them: names, what the second autoscaler and tokens need, and who sets resources."""
    spec = cluster["spec"]
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?", cluster["metadata"]["name"])
    assert spec["enableInTreeAutoscaling"]
    assert all(pod.get("restartPolicy", "Never") == "Never" for pod in templates(cluster))
    assert tuple(map(int, spec["rayVersion"].split("."))) >= (2, 52, 0)
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert not (group.get("resources") and group["rayStartParams"])
        assert "labels" not in group["rayStartParams"]
        assert not group.get("suspend")
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_manifest_has_the_ray_of_the_lock_and_one_image_by_digest(cluster: dict[str, Any]) -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    (ray,) = [package["version"] for package in lock["package"] if package["name"] == "ray"]
    assert cluster["spec"]["rayVersion"] == ray
    (image,) = {pod["containers"][0]["image"] for pod in templates(cluster)}
    assert re.search(r"@sha256:[0-9a-f]{64}$", image)


def test_each_pod_is_probed_where_its_ray_listens(cluster: dict[str, Any]) -> None:
    """The operator's own probes ask a dashboard that the image does not have; see test_platform_probes.py."""
    listens = ["6379", *(group["rayStartParams"]["node-manager-port"] for group in cluster["spec"]["workerGroupSpecs"])]
    for pod, port in zip(templates(cluster), listens, strict=True):
        container = pod["containers"][0]
        ports = {named["name"]: str(named["containerPort"]) for named in container["ports"]}
        for probe in ("readinessProbe", "livenessProbe"):
            assert ports[container[probe]["tcpSocket"]["port"]] == port


def test_users_code_has_no_rights_in_kubernetes(cluster: dict[str, Any]) -> None:
    head, *workers = templates(cluster)
    for pod in workers:
        assert pod["serviceAccountName"] != head["serviceAccountName"], "the autoscaler's account is the head's"
        assert pod["automountServiceAccountToken"] is False


def test_no_pod_runs_as_root_or_may_become_it(cluster: dict[str, Any]) -> None:
    for pod in templates(cluster):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_head_has_no_cpus_for_jobs_and_the_workers_go_to_zero(cluster: dict[str, Any]) -> None:
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert {group["minReplicas"] for group in cluster["spec"]["workerGroupSpecs"]} == {0}


def test_the_profiles_can_be_used_with_the_backends_that_they_name() -> None:
    options = {
        name: resolve_profile(profile).options for name, profile in load_profiles(PLATFORM / "checkmaite.toml").items()
    }
    assert {name: type(found) for name, found in options.items()} == {
        "team-a-prod": RayOptions,
        "team-a-ci": RaySimpleOptions,
        "local": RayOptions,
    }


def test_the_profile_knows_what_the_autoscaler_of_the_manifest_can_add(cluster: dict[str, Any]) -> None:
    options = resolve_profile(load_profiles(PLATFORM / "checkmaite.toml")["team-a-prod"]).options
    assert isinstance(options, RayOptions)
    limits = [pod["containers"][0]["resources"]["limits"] for pod in templates(cluster)[1:]]
    names = {"cpu": "CPU", "memory": "memory", "nvidia.com/gpu": "GPU"}
    groups = [{names[name]: amount(quantity) for name, quantity in limit.items()} for limit in limits]
    assert list(options.node_maxima) == groups
