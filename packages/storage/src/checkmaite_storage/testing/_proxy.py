"""A proxy in front of a server that shows what was asked, and spoils answers on demand."""

from __future__ import annotations

import contextlib
import enum
import http.client
import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fault", "FaultProxy", "ProxiedRequest", "fault_proxy"]

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


class Fault(enum.Enum):
    """What can go wrong beside a bad status."""

    RESET = "the connection is reset before the request reaches the server"
    LOST = "the server does as asked, and the connection is reset before its answer arrives"
    HANG = "the request does not reach the server and is never answered"
    HANG_AFTER = "the server does as asked, and its answer never arrives"
    CUT = "the answer ends in the middle of its body"


@dataclass(frozen=True, slots=True)
class ProxiedRequest:
    """One request that came through.

    Attributes:
        method: ``GET``, ``PUT``, ...
        path: With the query, as sent.
        headers: By their names in lower case.
        body: Bytes sent with it.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass
class FaultProxy:
    """An HTTP proxy that runs.

    Attributes:
        url: Where it listens.
        requests: What came through, oldest first.
        fault: Asked about each request: None to forward it, a status to answer with, or a :class:`Fault`. A status
            may come with a body: ``(503, b"...")``.
        alter: Applied to the body of each answer that is forwarded.
    """

    url: str
    requests: list[ProxiedRequest] = field(default_factory=list)
    fault: Callable[[ProxiedRequest], Fault | int | tuple[int, bytes] | None] = field(default_factory=lambda: _no_fault)
    alter: Callable[[bytes], bytes] = field(default_factory=lambda: bytes)
    closing: threading.Event = field(default_factory=threading.Event, repr=False)

    def spoil(self, *faults: Fault | int | tuple[int, bytes] | None) -> None:
        """Let the next requests meet these, one each, and those after them nothing."""
        left = iter(faults)
        self.fault = lambda _: next(left, None)


@contextlib.contextmanager
def fault_proxy(port: int, *, listen: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy to ``127.0.0.1:port`` until the block ends.

    Args:
        port: The server's.
        listen: Its own; any that is free if 0.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", listen), http.server.BaseHTTPRequestHandler)
    proxy = FaultProxy(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = _handler(proxy, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _no_fault(_: ProxiedRequest) -> None:
    return None


def _handler(proxy: FaultProxy, port: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which answers "Expect: 100-continue"

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._serve
            raise AttributeError(name)

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = ProxiedRequest(self.command, self.path, headers, body)
            proxy.requests.append(request)
            fault = proxy.fault(request)
            if isinstance(fault, int):
                self._answer(fault, {}, b"")
            elif isinstance(fault, tuple):
                self._answer(fault[0], {"Content-Type": "application/xml"}, fault[1])
            elif fault is Fault.HANG:
                self._say_nothing()
            elif fault is Fault.RESET:
                self._reset()
            else:
                self._forward(body, fault)

        def _forward(self, body: bytes, fault: Fault | None) -> None:
            passed_on = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as upstream:
                try:
                    upstream.request(self.command, self.path, body, passed_on)
                    answer = upstream.getresponse()
                    content = answer.read()
                except (http.client.HTTPException, OSError):
                    self._reset()  # as the server did
                    return
            if fault is Fault.LOST:
                self._reset()
            elif fault is Fault.HANG_AFTER:
                self._say_nothing()
            else:
                self._answer(answer.status, dict(answer.getheaders()), proxy.alter(content), cut=fault is Fault.CUT)

        def _answer(self, status: int, headers: Mapping[str, str], content: bytes, *, cut: bool = False) -> None:
            length = str(len(content))
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
                elif name.lower() == "content-length" and self.command == "HEAD":
                    length = value
            self.send_header("Content-Length", length)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(ConnectionError):  # the client gave up waiting
                    self.wfile.write(content[: len(content) // 2] if cut else content)

        def _say_nothing(self) -> None:
            proxy.closing.wait()
            self.close_connection = True

        def _reset(self) -> None:
            self.close_connection = True
            linger = struct.pack("ii", 1, 0)  # closing sends RST at once
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()
            self.wfile.close()
            self.connection.close()

        def handle_one_request(self) -> None:
            with contextlib.suppress(OSError, ValueError):  # we have closed the connection, or the client has
                super().handle_one_request()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            pass

    return Handler
