"""What preflight makes of what a worker runs into: missing libraries, modules, GPUs, stores that cannot be used."""

from __future__ import annotations

import pytest

from checkmaite_core.errors import (
    AccessDeniedError,
    ConditionalPutError,
    ContainerNotFoundError,
    PluginNotFoundError,
    StorageError,
    StorageUnreachableError,
    StoreFormatError,
    UnauthenticatedError,
)
from checkmaite_core.preflight.gpus import GpuFacts, judge_gpus
from checkmaite_core.preflight.libraries import explain_import, missing_library
from checkmaite_core.preflight.storage import explain_storage, is_local, shown, size_text

LIBGL = "libGL.so.1: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("text", "mender", "found", "typed"),
    [
        (LIBGL, "image", "libGL.so.1", "apt-get install -y libgl1"),
        ("libfoo-2.so.3: cannot open shared object file", "image", "libfoo-2.so.3", "apt-file search libfoo-2.so.3"),
        ("libcuda.so.1: cannot open shared object file", "cluster", "libcuda.so.1", "NVIDIA runtime"),
        ("libcudnn.so.9: cannot open shared object file", "image", "libcudnn.so.9", "CUDA libraries"),
        (
            "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /opt/v/_x.so)",
            "image",
            "GLIBC_2.38, which /opt/v/_x.so needs",
            "newer base",
        ),
        ("/opt/v/_x.so: undefined symbol: _ZN3c10", "image", "_ZN3c10 is missing", "from one lock"),
    ],
    ids=["known", "unknown", "driver", "cuda", "old-base", "other-build"],
)
def test_a_shared_library_that_is_missing_is_named_with_what_brings_it(
    text: str, mender: str, found: str, typed: str
) -> None:
    trouble = missing_library(text)
    assert trouble is not None
    assert (trouble.mender, found in trouble.found, typed in trouble.remedy) == (mender, True, True), trouble


def test_a_text_that_names_no_library_is_not_taken_for_one() -> None:
    assert missing_library("No module named 'demo'") is None


def test_a_missing_library_is_found_behind_the_error_that_it_caused() -> None:
    error = RuntimeError("cannot start the viewer")
    error.__cause__ = OSError(LIBGL)
    assert "libgl1" in explain_import(error, "module demo", remedy="-").remedy


def test_the_module_itself_that_is_missing_is_told_from_one_that_it_needs() -> None:
    itself = explain_import(ModuleNotFoundError("-", name="demo"), "module demo.vision", remedy="send demo")
    assert (itself.found, itself.remedy) == ("module demo is not installed there", "send demo")
    needed = explain_import(ModuleNotFoundError("-", name="cv2"), "module demo.vision", remedy="send demo")
    assert needed.found == "module demo.vision needs module cv2, which is not installed there"
    assert (needed.mender, "cv2" in needed.remedy) == ("image", True)


def test_code_that_fails_when_it_is_imported_is_the_clients_to_mend() -> None:
    trouble = explain_import(KeyError("HOME"), "module demo", remedy="-")
    assert trouble.mender == "client"
    assert "KeyError" in trouble.found


STORAGE = {
    PluginNotFoundError("no s3.", hint="pip install x"): "image",
    UnauthenticatedError("who?", hint="Set keys.", uri="s3://b"): "cluster",
    AccessDeniedError("no.", hint="Allow it.", uri="s3://b"): "storage",
    ContainerNotFoundError("no b.", hint="Make it.", uri="s3://b"): "storage",
    StorageUnreachableError("silence.", hint="Wait.", uri="s3://b"): "cluster",
    ConditionalPutError("twice.", hint="Elsewhere.", uri="s3://b"): "storage",
    StoreFormatError("a photo album.", hint="Elsewhere."): "client",
    StorageError("odd.", hint="Look.", uri="s3://b"): "storage",
    RuntimeError("odd"): "storage",
}


@pytest.mark.parametrize("error", STORAGE, ids=lambda error: type(error).__name__)
def test_each_error_of_a_store_has_one_who_mends_it(error: Exception) -> None:
    trouble = explain_storage(error)
    assert trouble.mender == STORAGE[error]
    assert trouble.remedy


def test_what_the_workers_image_or_the_cluster_would_mend_is_on_the_client_the_clients_own() -> None:
    for error in STORAGE:
        expected = STORAGE[error] if STORAGE[error] in ("client", "storage") else "client"
        assert explain_storage(error, on_client=True).mender == expected


def gpus(**facts: object) -> tuple[str, str, str]:
    check = judge_gpus("job", 1.0, GpuFacts(**facts))  # type: ignore[arg-type]
    return check.level, check.mender, check.found


def test_a_gpu_that_ray_counts_and_the_process_does_not_have_is_the_clusters_to_mend() -> None:
    level, mender, found = gpus(visible="0")
    assert (level, mender) == ("error", "cluster")
    assert "no device under /dev" in found


def test_an_empty_cuda_visible_devices_is_found() -> None:
    level, mender, found = gpus(visible="", devices=("/dev/nvidia0",))
    assert (level, mender) == ("error", "cluster")
    assert "CUDA_VISIBLE_DEVICES is empty" in found


@pytest.mark.parametrize(("cuda", "words"), [(None, "built without CUDA"), ("13.0", "built for CUDA 13.0")])
def test_a_pytorch_that_cannot_use_the_gpu_is_the_images_to_mend(cuda: str | None, words: str) -> None:
    level, mender, found = gpus(visible="0", devices=("/dev/nvidia0",), torch="2.9.0", torch_cuda=cuda)
    assert (level, mender) == ("error", "image")
    assert words in found


def test_fewer_gpus_than_ray_has_given_are_an_error() -> None:
    check = judge_gpus("job", 2.0, GpuFacts(visible="0,1", torch="2.9.0", torch_cuda="13.0", torch_devices=1))
    assert (check.level, check.mender) == ("error", "cluster")
    assert "PyTorch sees 1" in check.found


@pytest.mark.parametrize(
    "facts",
    [
        {"visible": "0", "devices": ("/dev/nvidia0",)},
        {"visible": "0", "listed": ("GPU 0: H100",)},
        {"visible": None, "devices": ("/dev/kfd",)},
        {"visible": "0", "devices": ("/dev/nvidia0",), "torch": "2", "torch_cuda": "13.0", "torch_devices": 1},
    ],
    ids=["device", "listed", "amd", "torch"],
)
def test_a_gpu_that_the_process_sees_is_in_order(facts: dict[str, object]) -> None:
    assert gpus(**facts)[0] == "ok"


@pytest.mark.parametrize(
    "location",
    [
        "https://ada:hunter2@host/data.csv?sig=hunter2",
        "s3://key:hunter2@bucket/x#hunter2",
        "DefaultEndpointsProtocol=https;AccountKey=hunter2;AccountName=a",
        "postgresql://ada:hunter2@host/db?sslpassword=hunter2",
    ],
)
def test_a_location_is_shown_without_what_may_be_a_secret(location: str) -> None:
    assert "hunter2" not in shown(location)


def test_locations_without_secrets_are_shown_as_they_are() -> None:
    for location in ("s3://bucket/key", "/data/x.csv", "./x", "sklearn:digits", "file:///data/x"):
        assert shown(location) == location


@pytest.mark.parametrize(
    ("location", "local"),
    [
        ("/data/x", True),
        ("./x", True),
        ("x", True),
        ("file:///x", True),
        ("a b:c", True),
        ("dir/a:b", True),
        ("C:\\x", True),
        ("s3://b/x", False),
        ("sklearn:digits", False),
        ("https://x/y", False),
        ("hf://datasets/x", False),
    ],
)
def test_a_path_is_told_from_a_uri(location: str, local: bool) -> None:
    assert is_local(location) == local


def test_sizes_are_shown_as_people_say_them() -> None:
    sizes = [size_text(size) for size in (12, 2300, 23_000_000, 4.2e9, 5e12)]
    assert sizes == ["12 bytes", "2.3 KB", "23 MB", "4.2 GB", "5 TB"]
