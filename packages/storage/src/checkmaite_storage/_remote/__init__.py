"""Object stores behind a network: what S3, GCS and Azure have in common.

:class:`RemoteObjectStore` is the whole of an ``ObjectStore`` but for the requests themselves, which a
:class:`Client` makes: one small class per cloud. To add a cloud:

1. Write a ``Client``. Each method makes *one* request (a large ``create`` a few), without retrying, within
   ``timeout`` seconds, and lets the library's exceptions pass. Switch the library's own retries off: a put that it
   repeats in silence would be told "exists" by its own object. ``names`` are whole names in the container, with the
   location's prefix; only ``create`` writes, and always on the condition that nothing is there, checked by the server.
2. ``explain(error)`` reads one of those exceptions as a :class:`Failure`: a :class:`Kind` and one line of text, such
   as the server's status, code and message. The store scrubs the text and makes the error of the public tree from
   it; the library's exception is never chained, as its text may hold what must not be shown.
3. Give :class:`Remedies`, so that each error says what to type for this cloud.
4. Write the connector: import the library with :func:`import_connector_library`, declare what its ``storage_options``
   do in an :class:`OptionTable` and check them with it, read the URI with :func:`parse_location`, collect what must not
   be shown with :func:`secret_values`, and return ``RemoteObjectStore(client)``.

:class:`PerProcess` and :func:`run_coroutine` serve fsspec's asynchronous filesystems: made anew in a forked child, and
run with a deadline. What the store does over a client: keys, prefixes and sorting; the retries of
:class:`RetryPolicy`; the token by which a repeated put knows its own object; errors; the probe; pickling.
"""

from __future__ import annotations

from checkmaite_storage._remote._client import Client, Entry, Page
from checkmaite_storage._remote._errors import Remedies, Verb
from checkmaite_storage._remote._failure import Failure, Kind
from checkmaite_storage._remote._fsspec import PerProcess, import_connector_library, run_coroutine
from checkmaite_storage._remote._location import Location, parse_location
from checkmaite_storage._remote._options import OptionTable, check_option_names, secret_values
from checkmaite_storage._remote._retry import RetryPolicy, transfer_seconds
from checkmaite_storage._remote._store import RemoteObjectStore

__all__ = [
    "Client",
    "Entry",
    "Failure",
    "Kind",
    "Location",
    "OptionTable",
    "Page",
    "PerProcess",
    "Remedies",
    "RemoteObjectStore",
    "RetryPolicy",
    "Verb",
    "check_option_names",
    "import_connector_library",
    "parse_location",
    "run_coroutine",
    "secret_values",
    "transfer_seconds",
]
