"""moto's S3, until standard input ends; prints its port."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class OneServerHeader:
    """moto sends its own beside werkzeug's, which aiohttp's strict parser (`python -X dev`) refuses."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(
                status, [pair for pair in headers if pair[0].lower() not in ("server", "date")], *more
            )

        return self.application(environ, start)


logging.getLogger("werkzeug").setLevel(logging.ERROR)
application = OneServerHeader(DomainDispatcherApplication(create_backend_app))
server = make_server("127.0.0.1", 0, application, threaded=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
print(server.server_port, flush=True)
server.serve_forever()
