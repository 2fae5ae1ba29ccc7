"""Runs gcp-storage-emulator in memory on the port of its first argument."""

from __future__ import annotations

import sys
from http.server import HTTPServer

from gcp_storage_emulator.__main__ import main
from gcp_storage_emulator.storage import Storage

# Beyond its five waiting connections, connecting would take a second.
HTTPServer.request_queue_size = 128
# It would write down all that it holds at each put, which nobody reads in memory.
Storage._write_config_to_file = lambda _: None
main(["start", "--host", "127.0.0.1", "--port", sys.argv[1], "--in-memory", "--quiet"])
