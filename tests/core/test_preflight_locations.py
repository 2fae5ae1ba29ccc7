"""What preflight reads on a worker: the locations of inputs, on disk and behind a web server."""

from __future__ import annotations

import functools
import http.server
import os
import pickle
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkmaite_core.preflight import Check, answer
from checkmaite_core.preflight.inquiry import Inquiry, LocationFacts, Reply
from checkmaite_core.preflight.locations import check_location


def look(location: str, *, on_client: bool | None = None) -> Check:
    return check_location(LocationFacts(location=location, on_client=on_client))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server with one file, a place that is forbidden, and one where it refuses HEAD."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "data.csv").write_text("a,b\n")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if self.path == "/forbidden":
                self.send_error(403)
            elif self.path == "/no-head":
                self.send_error(405)
            else:
                super().do_HEAD()

        def do_GET(self) -> None:
            if self.path == "/forbidden":
                self.send_error(403)
            elif self.path == "/no-head":
                self.send_response(206)
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_file_and_a_folder_that_can_be_read_are_in_order(tmp_path: Path) -> None:
    (tmp_path / "x y.csv").write_text("1")
    for location in (str(tmp_path), str(tmp_path / "x y.csv"), f"file://{tmp_path}/x%20y.csv"):
        assert look(location).level == "ok", location


def test_a_file_that_only_the_client_has_is_the_clients_to_share(tmp_path: Path) -> None:
    found = look(str(tmp_path / "absent"), on_client=True)
    assert (found.level, found.mender) == ("error", "client")
    assert "on the client's disk, and not on the worker's" in found.found
    assert "where every node can read it" in found.remedy


def test_a_file_that_nobody_has_is_a_wrong_location(tmp_path: Path) -> None:
    found = look(str(tmp_path / "absent"), on_client=False)
    assert found.remedy == "check the location: the client does not have it either"


def test_of_a_relative_path_it_says_from_where_the_worker_takes_it() -> None:
    assert os.getcwd() in look("data/absent.csv", on_client=False).remedy


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A file that nobody may read."""
    (tmp_path / "x").touch(mode=0o000)
    return tmp_path / "x"


@pytest.fixture
def somebody() -> Iterator[None]:
    """Not root, who may read everything."""
    own = os.geteuid()
    os.seteuid(own or 65534)
    yield
    os.seteuid(own)


def test_a_file_that_the_worker_may_not_read_is_the_storages_to_mend(closed: Path, somebody: None) -> None:
    found = look(str(closed))
    assert (found.level, found.mender) == ("error", "storage")


def test_a_pipe_in_the_place_of_a_file_does_not_hold_anything_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert look(str(tmp_path / "pipe")).level == "ok"


@pytest.mark.parametrize("path", ["/data.csv", "/no-head"])
def test_a_page_that_answers_is_in_order(server: str, path: str) -> None:
    assert look(server + path).level == "ok"


@pytest.mark.parametrize(("path", "mender", "status"), [("/forbidden", "storage", "403"), ("/absent", "client", "404")])
def test_a_page_that_refuses_says_so(server: str, path: str, mender: str, status: str) -> None:
    found = look(server + path)
    assert (found.level, found.mender, status in found.found) == ("error", mender, True)


def test_a_page_that_cannot_be_reached_is_the_clusters_to_mend() -> None:
    found = look("http://ada:hunter2@127.0.0.1:9/x?sig=hunter2")
    assert (found.level, found.mender) == ("error", "cluster")
    assert "hunter2" not in str(found)


def test_what_does_not_answer_is_said_so_in_time_and_holds_up_nothing_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        location = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        facts = (LocationFacts(location=location), LocationFacts(location=str(tmp_path)))
        text = answer(Inquiry(locations=facts, seconds=0.3).model_dump_json(), b"", pickle.loads)
    late, there = Reply.model_validate_json(text).checks
    assert (late.level, late.mender, late.found) == ("error", "cluster", "no answer within 0.3 s")
    assert there.level == "ok"


def test_a_location_that_only_its_loader_knows_is_a_note() -> None:
    for location in ("sklearn:digits", "hf://datasets/mnist"):
        found = look(location)
        assert (found.level, "not looked at" in found.found) == ("note", True)
