"""A store in a folder of a team: real users, their groups and umasks, and the kernel that keeps them apart."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("team_worker.py")
ADA, BOB, EVE = 54001, 54002, 54003
TEAM, OWN = 54100, 54200
SHARED, USUAL, PRIVATE = 0o002, 0o022, 0o077

Act = Callable[..., dict[str, str]]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


@pytest.fixture
def team() -> Iterator[Path]:
    """A setgid folder that the team may write to, where all may come. (pytest closes its own folders to others.)"""
    with tempfile.TemporaryDirectory(prefix="checkmaite-team-") as above:
        os.chmod(above, 0o755)
        folder = Path(above) / "team"
        folder.mkdir()
        os.chown(folder, ADA, TEAM)
        folder.chmod(0o2775)
        yield folder


@pytest.fixture(scope="module")
def users() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as users:
        yield users
        assert users.stdin is not None
        users.stdin.close()


@pytest.fixture
def act(users: subprocess.Popen[str]) -> Act:
    def act(
        user: int, folder: Path, *deeds: str, umask: int = SHARED, groups: Sequence[int] = (OWN, TEAM)
    ) -> dict[str, str]:
        """What came of each deed of a user."""
        asked = {"uid": user, "groups": list(groups), "umask": umask, "folder": str(folder), "deeds": deeds}
        assert users.stdin is not None
        assert users.stdout is not None
        users.stdin.write(json.dumps(asked) + "\n")
        users.stdin.flush()
        answer: dict[str, str] = json.loads(users.stdout.readline())
        return answer

    return act


def entries(folder: Path) -> set[tuple[bool, str, int]]:
    """Kinds, modes and groups of all that lies below a folder."""
    found = [path.stat() for path in (folder, *folder.rglob("*"))]
    return {(stat.S_ISDIR(each.st_mode), oct(stat.S_IMODE(each.st_mode)), each.st_gid) for each in found}


def test_the_second_user_of_a_team_reads_writes_and_maintains_the_store_of_the_first(team: Path, act: Act) -> None:
    store = team / "results" / "store"
    assert act(ADA, store, "commit:ada", "claim", "fold", "commit:ada2") == {
        "commit:ada": "True",
        "claim": "1",
        "fold": "folded",
        "commit:ada2": "True",
    }
    assert act(BOB, store, "count", "jobs", "commit:bob", "fold", "vacuum", "claim", "verify", "count") == {
        "commit:bob": "True",
        "jobs": "0",
        "fold": "folded",
        "vacuum": "vacuumed",
        "claim": "2",
        "verify": "0",
        "count": "3",
    }
    assert act(ADA, store, "commit:ada3", "fold", "vacuum", "count", "jobs", "verify") == {
        "commit:ada3": "True",
        "fold": "folded",
        "vacuum": "vacuumed",
        "count": "4",
        "jobs": "0",
        "verify": "0",
    }
    assert entries(team / "results") == {(True, "0o2775", TEAM), (False, "0o664", TEAM)}


def test_a_colleague_who_may_only_read_is_told_what_is_denied_and_damages_nothing(team: Path, act: Act) -> None:
    store = team / "store"
    act(ADA, store, "commit:one", "claim", "fold", "commit:two", umask=USUAL)
    found = act(BOB, store, "count", "jobs", "verify", "commit:bob", "fold", "vacuum", "claim")
    assert (found["count"], found["jobs"], found["verify"]) == ("2", "0", "0")
    for deed in ("commit:bob", "fold", "claim"):
        assert found[deed].startswith("AccessDeniedError"), found
        assert str(store) in found[deed]
        assert "writing and deleting need w" in found[deed]
    assert act(ADA, store, "verify", "count", "fold", "commit:three") == {
        "verify": "0",
        "count": "2",
        "fold": "folded",
        "commit:three": "True",
    }


def test_who_is_not_of_the_team_is_denied_and_told_so(team: Path, act: Act) -> None:
    store = team / "store"
    act(ADA, store, "commit:one", "fold", "claim", umask=0o007)
    found = act(EVE, store, "count", "commit:eve", "jobs", groups=[OWN])
    assert all(came.startswith("AccessDeniedError") for came in found.values()), found
    assert act(BOB, store, "count", umask=0o007) == {"count": "1"}
    assert entries(store) == {(True, "0o2770", TEAM), (False, "0o660", TEAM)}


def test_a_private_umask_makes_a_private_store(team: Path, act: Act) -> None:
    store = team / "store"
    act(ADA, store, "commit:one", "fold", "claim", umask=PRIVATE)
    assert entries(store) == {(True, "0o2700", TEAM), (False, "0o600", TEAM)}
    found = act(BOB, store, "count", "commit:bob")
    assert all(came.startswith("AccessDeniedError") for came in found.values()), found


def test_a_default_acl_of_the_folder_counts_more_than_the_umask(team: Path, act: Act) -> None:
    """As ``setfacl -d -m u:BOB:rwx,m::rwx`` sets it."""
    nobody = 0xFFFFFFFF
    acl = [(0x01, 7, nobody), (0x02, 7, BOB), (0x04, 5, nobody), (0x10, 7, nobody), (0x20, 0, nobody)]
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in acl)
    for name in ("system.posix_acl_default", "system.posix_acl_access"):
        os.setxattr(team, name, packed)
    store = team / "store"
    act(ADA, store, "commit:one", "claim", "fold", umask=PRIVATE)
    found = act(BOB, store, "count", "commit:bob", "fold", "jobs", groups=[OWN], umask=PRIVATE)
    assert found == {"count": "1", "commit:bob": "True", "fold": "folded", "jobs": "0"}
    assert act(EVE, store, "count", groups=[OWN])["count"].startswith("AccessDeniedError")
    assert act(ADA, store, "verify", "count", umask=PRIVATE) == {"verify": "0", "count": "2"}


def test_a_store_in_a_folder_that_may_be_entered_and_not_listed_is_written_to(
    tmp_path: Path, team: Path, act: Act
) -> None:
    above = team / "home"
    above.mkdir()
    store = above / "store"
    os.chown(above, ADA, TEAM)
    above.chmod(0o2775)
    act(ADA, store, "commit:one")
    above.chmod(0o2711)
    assert act(BOB, store, "commit:bob", "count") == {"commit:bob": "True", "count": "2"}
