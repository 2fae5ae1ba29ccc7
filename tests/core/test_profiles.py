"""Profile files: where they are found, what stands in them, and what is refused, with file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from checkmaite_core import ConfigurationError
from checkmaite_core.profiles import load_profile, load_profiles
from checkmaite_core.profiles._places import profile_files

PROFILE = """
[profiles.team-a-prod]
backend = "ray"
address = "ray://cluster-head:10001"
idempotency_scope = "team-a-prod-evals"

[profiles.team-a-prod.analytics_store]
uri = "s3://team-checkmaite/results"
storage_options = { anon = false }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with no profile file that counts but those that a test writes."""
    monkeypatch.delenv("CHECKMAITE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkmaite.toml"
    path.write_text(text, newline="")
    return path


def refused(path: Path, text: str) -> ConfigurationError:
    write(path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_profile("p")
    return caught.value


def test_a_profile_says_which_backend_with_which_options_and_which_store(folder: Path) -> None:
    path = write(folder, PROFILE)
    profile = load_profile("team-a-prod")
    assert profile.kind == "ray"
    assert profile.options == {"address": "ray://cluster-head:10001", "idempotency_scope": "team-a-prod-evals"}
    assert profile.analytics_store is not None
    assert profile.analytics_store.uri == "s3://team-checkmaite/results"
    assert profile.analytics_store.storage_options == {"anon": False}
    assert profile.file == path


def test_an_unknown_profile_names_the_nearest_and_its_file(folder: Path) -> None:
    path = write(folder, PROFILE)
    with pytest.raises(ConfigurationError, match="there is no profile 'team-a-prd'") as caught:
        load_profile("team-a-prd")
    assert f"Did you mean 'team-a-prod' of {path}?" in caught.value.hint


def test_without_any_file_the_error_says_where_one_is_looked_for(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no checkmaite\.toml with profiles was found") as caught:
        load_profile("p")
    for place in ("$CHECKMAITE_CONFIG", "./checkmaite.toml", "~/.config/checkmaite", "/etc/checkmaite"):
        assert place in caught.value.hint


def test_the_nearest_file_that_has_the_profile_counts(folder: Path, tmp_path: Path) -> None:
    def store(name: str) -> str | None:
        found = load_profile(name).analytics_store
        return found.uri if found else None

    for where, names in ((tmp_path / "xdg" / "checkmaite", "abc"), (tmp_path, "ab"), (folder, "a")):
        write(
            where,
            "".join(f'[profiles.{n}]\nbackend = "ray"\nanalytics_store.uri = "s3://{where.name}"\n' for n in names),
        )
    assert store("a") == "s3://work"
    assert store("b") == f"s3://{tmp_path.name}"
    assert store("c") == "s3://checkmaite"


def test_a_file_that_is_named_in_the_environment_is_the_only_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, PROFILE)
    named = write(tmp_path / "elsewhere", '[profiles.p]\nbackend = "ray"\n')
    monkeypatch.setenv("CHECKMAITE_CONFIG", str(named))
    assert load_profile("p").file == named
    with pytest.raises(ConfigurationError, match="no profile 'team-a-prod'"):
        load_profile("team-a-prod")


def test_a_named_file_that_is_not_there_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKMAITE_CONFIG", str(folder / "no.toml"))
    with pytest.raises(ConfigurationError, match=r"\$CHECKMAITE_CONFIG is '.*no\.toml', which is not a file"):
        load_profile("p")


def test_the_file_of_the_machine_is_looked_at_last(tmp_path: Path) -> None:
    found = list(profile_files(environ={"XDG_CONFIG_HOME": str(tmp_path)}, folder=tmp_path))
    assert found == [path for path in [Path("/etc/checkmaite/checkmaite.toml")] if path.is_file()]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files to others")
def test_a_strangers_file_in_a_folder_of_everybody_is_not_taken_for_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, PROFILE)
    folder.chmod(0o1777)
    assert load_profile("team-a-prod").file == path
    os.chown(path, 4242, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        load_profile("team-a-prod")
    below = write(folder / "mine", PROFILE)
    monkeypatch.chdir(below.parent)
    assert load_profile("team-a-prod").file == below, "it is not in the way of what is nearer"
    monkeypatch.chdir(folder)
    folder.chmod(0o755)
    assert load_profile("team-a-prod").file == path


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("[profiles.p]\nbackend = ray\n", 2, "this is not TOML: Invalid value", "Correct that line"),
        ('[profiles.p]\nbackend = "ray"\n\n"', 4, "this is not TOML: ", "Correct that line"),
        ("\n\n[profiles.p", 3, "this is not TOML: ", "Correct that line"),
        ('[profiles.p]\nbackend = "ray"\n[profile.q]\n', 3, "has no 'profile'", "Did you mean 'profiles'?"),
        ("profiles = 3", 1, "'profiles' is not a table", "[profiles.team-a]"),
        ("[profiles]\n\np = 3", 3, "profile 'p' is not a table", "[profiles.p]"),
        ('\n[profiles.p]\naddress = "local"', 2, "does not say its job backend", 'backend = "ray"'),
        ("[profiles.p]\n\nbackend = 3", 3, "does not say its job backend", 'backend = "ray"'),
        (
            '[profiles.p]\nbackend = "ray"\n[profiles.p.analytics_store]\n# where\nurl = "s3://b/p"\n',
            3,
            "analytics_store of profile 'p' cannot be used: uri: Field required; url: Extra inputs",
            "[profiles.p.analytics_store]",
        ),
        (
            '[profiles.p]\nbackend = "ray"\nanalytics_store = "s3://b/p"\n',
            3,
            "analytics_store of profile 'p' cannot be used",
            "[profiles.p.analytics_store]",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(folder: Path, text: str, line: int, message: str, hint: str) -> None:
    error = refused(folder, text)
    assert error.message.startswith(f"{folder / 'checkmaite.toml'}:{line}: ")
    assert message in error.message
    assert hint in error.hint


def test_a_file_of_windows_has_the_same_lines(folder: Path) -> None:
    assert f"{folder / 'checkmaite.toml'}:3: " in refused(folder, "[profiles.p]\r\n\r\nbackend = 3\r\n").message


def test_a_mark_of_windows_at_the_beginning_of_a_file_does_not_count(folder: Path) -> None:
    (folder / "checkmaite.toml").write_bytes(b"\xef\xbb\xbf" + PROFILE.encode())
    assert load_profile("team-a-prod").kind == "ray"


def test_a_process_without_a_home_finds_the_other_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, PROFILE)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # a container's user that no file names
    assert load_profile("team-a-prod").kind == "ray"


def test_a_file_that_may_not_be_read_is_named(folder: Path) -> None:
    (folder / "checkmaite.toml").symlink_to("/proc/self/mem")  # root may read any other file
    with pytest.raises(ConfigurationError, match=r"checkmaite\.toml cannot be read: "):
        load_profile("p")


def test_a_file_that_is_no_text_is_refused_with_its_line(folder: Path) -> None:
    (folder / "checkmaite.toml").write_bytes(b'[profiles.p]\nbackend = "\xff"\n')
    with pytest.raises(ConfigurationError, match=r"checkmaite\.toml:2: this is not UTF-8 text"):
        load_profile("p")


def test_a_name_that_is_no_text_is_refused(folder: Path) -> None:
    write(folder, PROFILE)
    with pytest.raises(ConfigurationError, match="the profile is 3, not a name"):
        load_profile(3)  # type: ignore[arg-type]


def test_paths_are_meant_from_the_file_that_names_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        folder,
        """
[profiles.p]
backend = "ray"
analytics_store.uri = "./store"
ledger.uri = "ledger"
runtime_env.working_dir = "."
runtime_env.py_modules = ["mine", "https://host/package.zip"]
runtime_env.pip = ["not-a-path"]
""",
    )
    below = folder / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    profile = load_profile("p")
    assert profile.analytics_store is not None
    assert profile.analytics_store.uri == str(folder / "store")
    assert profile.options == {
        "ledger": {"uri": str(folder / "ledger")},
        "runtime_env": {
            "working_dir": str(folder),
            "py_modules": [str(folder / "mine"), "https://host/package.zip"],
            "pip": ["not-a-path"],
        },
    }


def test_one_broken_profile_leaves_the_others_usable_and_fails_the_check_of_the_file(folder: Path) -> None:
    path = write(folder, PROFILE + "[profiles.broken]\n")
    assert load_profile("team-a-prod").kind == "ray"
    with pytest.raises(ConfigurationError, match=r":10: profile 'broken' does not say its job backend"):
        load_profiles(path)
