"""What pip and uv are to install on workers is read and judged on the client, before anything is installed."""

from __future__ import annotations

import platform
import warnings
from importlib import metadata

import pytest

from checkmaite_core import ConfigurationError, VersionSkewError
from checkmaite_core.deployment import VersionSkewWarning
from checkmaite_ray_simple.overlay import OverlayWarning
from checkmaite_ray_simple.overlay.reading import read_overlay
from checkmaite_ray_simple.overlay.requirements import logical_lines

RAY, PYDANTIC = metadata.version("ray"), metadata.version("pydantic")
MINOR = ".".join(PYDANTIC.split(".")[:2])
PYTHON = ".".join(platform.python_version_tuple()[:2])


@pytest.mark.parametrize("field", ["pip", "uv"])
def test_requirements_files_are_read_here_with_those_that_they_include(tmp_path, field):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/more.txt").write_text("attrs==25.1 \\\n    --hash=sha256:aa  # of the index\n\n# nothing\n")
    (tmp_path / "requirements.txt").write_text("-r inner/more.txt\n-i https://host/packages\nidna\n")
    wanted = ["attrs==25.1      --hash=sha256:aa", "-i https://host/packages", "idna"]
    assert read_overlay({field: str(tmp_path / "requirements.txt")})[field] == wanted
    assert read_overlay({field: {"packages": [f"-r {tmp_path}/requirements.txt"]}})[field] == {"packages": wanted}


def test_a_file_that_includes_itself_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    with pytest.raises(ConfigurationError, match="includes itself"):
        read_overlay({"pip": str(tmp_path / "a.txt")})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("idna=3.4", "Write 'idna==3.4'"),
        ("two words", "no requirement"),
        ("idna @ https://user:planted-secret@host/idna==1", ""),
        ("not a thing @ https://user:planted-secret@host/", "no requirement"),
        ("-e .", "editable"),
        ("./dist/tool-1.0-py3-none-any.whl", "py_modules"),
        ("tool-1.0-py3-none-any.whl", "py_modules"),
        ("-r missing.txt", "missing.txt cannot be read"),
        ("-c constraints.txt", "RAY_RUNTIME_ENV_CREATE_WORKING_DIR"),
    ],
)
def test_a_line_that_no_node_could_use_is_refused_with_what_to_write(line, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not said:
        assert read_overlay({"pip": [line]})["pip"] == [line]
        return
    with pytest.raises(ConfigurationError) as caught:
        read_overlay({"pip": ["attrs", line]})
    assert said in str(caught.value)
    assert "planted-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "/shared/wheels/tool-1.0-py3-none-any.whl",
        "-r ${RAY_RUNTIME_ENV_CREATE_WORKING_DIR}/requirements.txt",
        "--find-links=/shared/wheels",
        "git+https://host/tool.git@v1",
        "tool[extra]==1.0; python_version > '3'",
    ],
)
def test_what_nodes_can_use_stays_as_it_is(line):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_overlay({"pip": [line]})["pip"] == [line]


@pytest.mark.parametrize(
    ("line", "distribution"),
    [
        ("ray==2.1.0", "ray"),
        ("Ray[default]<2", "ray"),
        ("pydantic==1.10.0", "pydantic"),
        ("pydantic<2", "pydantic"),
        ("pydantic>=99", "pydantic"),
        ("checkmaite-core==99.1", "checkmaite-core"),
        ("checkmaite_core~=99.1", "checkmaite-core"),
    ],
)
@pytest.mark.parametrize("field", ["pip", "uv"])
@pytest.mark.filterwarnings("ignore::checkmaite_ray_simple.overlay.OverlayWarning")
def test_a_pin_against_what_must_match_is_skew_in_one_table(field, line, distribution):
    with pytest.raises(VersionSkewError) as caught:
        read_overlay({field: ["idna", line]})
    (row,) = [row for row in str(caught.value).splitlines() if row.strip().startswith("error")]
    assert row.split()[1:3] == [distribution, metadata.version(distribution)]
    assert "out of runtime_env" in row
    with pytest.warns(VersionSkewWarning, match=distribution):
        read_overlay({field: [line]}, version_skew="warn")
    assert read_overlay({field: [line]}, version_skew="ignore") == {field: [line]}


@pytest.mark.parametrize(
    "line",
    [
        f"pydantic=={PYDANTIC}",
        f"pydantic=={MINOR}.999",
        f"pydantic~={MINOR}.999",
        "pydantic>=2",
        "pydantic",
        "pydantic==1.0; python_version < '3'",
        "pydantic-settings==1.0",
    ],
)
def test_a_requirement_that_leaves_what_must_match_is_no_skew(line):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_overlay({"pip": [line]})


def test_a_pin_against_what_should_match_is_warned_about():
    with pytest.warns(VersionSkewWarning, match=r"warning +numpy .* 1\.0 "):
        read_overlay({"pip": ["numpy==1.0"]})


@pytest.mark.parametrize(
    ("line", "way"),
    [
        ("torch==2.9.1", "in a layer of its own"),
        ("nvidia-cudnn-cu12", "in a layer of its own"),
        ("tensorflow", "in a layer of its own"),
        (f"ray[serve]=={RAY}", "Ray starts no worker where its own version changes"),
        ("checkmaite-capabilities", "from the client's lock"),
    ],
)
def test_what_belongs_in_the_image_is_explained_and_goes_on(line, way):
    with pytest.warns(OverlayWarning) as caught:
        assert read_overlay({"pip": [line, "idna"]})["pip"] == [line, "idna"]
    (warning,) = caught
    assert way in str(warning.message)


def test_a_conda_environment_of_another_python_is_skew_and_its_pip_list_is_judged_too():
    with pytest.raises(VersionSkewError, match=r"python +\S+ +3\.1 "):
        read_overlay({"conda": {"dependencies": ["python=3.1", "pip"]}})
    with pytest.raises(VersionSkewError, match="pydantic"):
        read_overlay({"conda": {"dependencies": [f"python={PYTHON}", {"pip": ["pydantic==1.10"]}]}})
    read_overlay({"conda": {"dependencies": [f"python={PYTHON}", "pip", {"pip": ["idna"]}]}})


def test_logical_lines_are_those_that_pip_sees():
    text = "a==1 \\\n  --hash=x # why\r\n#b\n\n  c @ https://host/c#egg=c\n"
    assert logical_lines(text) == ["a==1    --hash=x", "c @ https://host/c#egg=c"]
