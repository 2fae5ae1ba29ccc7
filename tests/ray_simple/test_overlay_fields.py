"""A runtime_env is checked before anything is started: its fields, their types, what goes together, what is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checkmaite_core import ClusterUnreachableError, ConfigurationError, configure_job_backend
from checkmaite_ray.settings import RayOptions
from checkmaite_ray_simple.overlay import OverlayWarning, check_fields, masked, masked_text
from checkmaite_ray_simple.settings import RaySimpleOptions

SECRET = "planted-secret"


def refused(runtime_env):
    with pytest.raises(ConfigurationError) as caught:
        check_fields(runtime_env)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("runtime_env", "nearest"),
    [
        ({"envvars": {"KEY": SECRET}}, "'env_vars'"),
        ({"workingdir": "."}, "'working_dir'"),
        ({"py_module": ["."]}, "'py_modules'"),
        ({"pip": {"packages": ["idna"], "pip_install_option": []}}, "'pip_install_options'"),
        ({"uv": {"package": ["idna"]}}, "'packages'"),
    ],
)
def test_of_an_unknown_field_the_nearest_is_named(runtime_env, nearest):
    assert f"Did you mean {nearest}?" in refused(runtime_env)


@pytest.mark.parametrize(
    ("runtime_env", "said"),
    [
        ([SECRET], "is of type list"),
        ({"working_dir": [SECRET]}, "['working_dir'] is of type list"),
        ({"py_modules": SECRET}, "['py_modules'] is of type str; it must be a list of texts"),
        ({"py_modules": ["a", 2]}, "['py_modules'][1] is of type int"),
        ({"excludes": "*.bin"}, "['excludes'] is of type str"),
        ({"env_vars": {"KEY": 4711}}, "env_vars['KEY'] is of type int"),
        ({"env_vars": {"KEY": SECRET + "\0"}}, "without NUL"),
        ({"env_vars": {f"A={SECRET}": "1"}}, "no name of a variable"),
        ({"env_vars": [SECRET]}, "['env_vars'] is of type list"),
        ({"pip": 1}, "['pip'] is of type int"),
        ({"pip": {"packages": ["a"], "pip_check": "yes"}}, "['pip']['pip_check'] is of type str"),
        ({"pip": {"pip_check": True}}, "['pip'] has no 'packages'"),
        ({"uv": {"packages": [1]}}, "['uv']['packages'][0] is of type int"),
        ({"worker_process_setup_hook": print}, "'module.function'"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_name_and_not_shown(runtime_env, said):
    assert said in refused(runtime_env)


@pytest.mark.parametrize(
    ("runtime_env", "said"),
    [
        ({"pip": ["a"], "uv": ["b"]}, "'pip' and 'uv', and each makes an environment of its own"),
        ({"conda": "base", "pip": ["a"]}, "A conda environment takes packages of pip in its own description"),
        ({"image_uri": "registry/image", "working_dir": "."}, "every node needs podman"),
        ({"container": {"image": "i"}, "uv": ["a"], "env_vars": {"A": "1"}}, "not 'uv'"),
    ],
)
def test_fields_that_cannot_stand_together_are_refused_and_ray_is_explained(runtime_env, said):
    assert said in refused(runtime_env)


def test_paths_and_modules_become_texts_and_what_is_empty_is_left_out():
    given = {"working_dir": Path("/work"), "py_modules": [json, Path("/a")], "pip": None, "env_vars": {"A": "1"}}
    assert check_fields(given) == {
        "working_dir": "/work",
        "py_modules": [str(Path(json.__file__).parent), "/a"],
        "env_vars": {"A": "1"},
    }


@pytest.mark.parametrize("kind", ["ray", "ray-simple"])
def test_both_backends_refuse_before_they_connect(kind, tmp_path):
    options = {"address": "127.0.0.1:1", "analytics_store": {"uri": str(tmp_path / "store")}}
    if kind == "ray":
        options["idempotency_scope"] = "team-a"
    with pytest.raises(ConfigurationError, match="Did you mean 'env_vars'"):
        configure_job_backend(kind, **options, runtime_env={"env_var": {"KEY": SECRET}})
    with pytest.raises(ConfigurationError, match="no-such-folder"):
        configure_job_backend(kind, **options, runtime_env={"working_dir": "/no-such-folder"})


@pytest.mark.parametrize("kind", ["ray", "ray-simple"])
def test_both_backends_leave_their_stores_out_of_a_working_dir(kind, tmp_path):
    for name in ("store", "ledger"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.run").write_text("results")
    options = {"idempotency_scope": "team-a", "ledger": {"uri": str(tmp_path / "ledger")}} if kind == "ray" else {}
    with pytest.raises(ClusterUnreachableError), pytest.warns(OverlayWarning) as caught:
        configure_job_backend(
            kind,
            address="127.0.0.1:1",
            analytics_store={"uri": str(tmp_path / "store")},
            runtime_env={"working_dir": str(tmp_path)},
            **options,
        )
    left_out = [tmp_path / name for name in (("store", "ledger") if kind == "ray" else ("store",))]
    said = [str(warning.message) for warning in caught]
    assert all(text.startswith(f"runtime_env leaves out {path}, ") for text, path in zip(said, left_out, strict=True))


def test_options_show_nothing_of_an_overlay():
    overlay = {"env_vars": {"KEY": SECRET}, "pip": {"packages": ["a"], "pip_install_options": [f"--proxy={SECRET}"]}}
    for options in (RaySimpleOptions(runtime_env=overlay), RayOptions(idempotency_scope="a", runtime_env=overlay)):
        assert SECRET not in f"{options!r} {options}"


def test_what_is_printed_of_an_overlay_has_no_secrets():
    overlay = {
        "env_vars": {"AWS_SECRET_ACCESS_KEY": SECRET, "A": ""},
        "working_dir": f"https://host/code.zip?X-Amz-Signature={SECRET}",
        "pip": {
            "packages": ["idna==3.4", f"tool @ git+https://user:{SECRET}@host/tool.git@v1"],
            "pip_install_options": ["--extra-index-url", f"https://{SECRET}@index.internal/packages"],
        },
        "conda": {"variables": {"TOKEN": SECRET}, "dependencies": ["pip", {"pip": [f"-i https://u:{SECRET}@host/"]}]},
        "container": {"image": "i", "run_options": ["--env", f"TOKEN={SECRET}"]},
    }
    shown = masked(overlay)
    assert SECRET not in repr(shown)
    assert shown["env_vars"] == {"AWS_SECRET_ACCESS_KEY": "***", "A": "***"}
    assert shown["pip"]["packages"] == ["idna==3.4", "tool @ git+https://***@host/tool.git@v1"]
    assert shown["pip"]["pip_install_options"] == ["--extra-index-url", "https://***@index.internal/packages"]
    assert masked_text(f"KEY={SECRET} and {SECRET}-longer", [SECRET, f"{SECRET}-longer"]) == "KEY=*** and ***"
