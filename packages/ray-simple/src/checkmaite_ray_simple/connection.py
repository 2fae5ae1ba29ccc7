"""The one connection to Ray that a process can have, shared by its backends."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private import services
from ray._private import worker as ray_worker
from ray.util.client import ray as ray_client

from checkmaite_core.errors import ClusterError, ClusterMismatchError
from checkmaite_core.forks import HomeProcess
from checkmaite_ray_simple.address import Kind, Target, resolve
from checkmaite_ray_simple.environment import mark_local, use_patience, use_token
from checkmaite_ray_simple.losing import RAYLET, cluster_of_this_process, dead_process, why_lost
from checkmaite_ray_simple.plain_python import use_plain_python
from checkmaite_ray_simple.preconditions import check_local_start, check_process, disarm_forks, many_files
from checkmaite_ray_simple.probe import probe
from checkmaite_ray_simple.settings import RaySimpleOptions

__all__ = ["Connection", "acquire", "refuse_in_fork", "release"]

_CLIENT_SERVER_CRASHED = (
    "Starting Ray client server failed",
    "ZombieProcess",
    "Attempted to reconnect a session that has already been cleaned up",
)
"""What Ray says when its server for one client has crashed at its start: it forks while its gRPC threads run. Seen in
2 of 9 connections to new heads of Ray 2.60, in 0 of 20 where the head had GRPC_ENABLE_FORK_SUPPORT=0."""
_TRIES = 3
"""How often that is tried; Ray takes half a minute for each."""
_SLOW_START = 2.0
"""Seconds after which a start is announced to a person who looks on."""
_VERY_SLOW_START = 10.0
"""The same where nobody may look on, such as in a container's log."""
_LEAVING_S = 30.0
"""How long leaving a Ray that has died may take; Ray itself takes some seven seconds."""


@dataclass(eq=False)
class Connection:
    """A Ray that this process is connected to.

    Attributes:
        target: Where it is.
        settings: What else it was opened with. Never a ``runtime_env``: each job is given its own.
        owned: Whether we opened it, and so close it.
        users: How many backends use it.
        undo: What is to be put back once it is closed.
        session: What Ray made for it, to know it by.
        home: The process that it belongs to.
        cluster: The id of the cluster, where it was joined directly.
        shared: Whether it is a local Ray that another process has started, and ends with that.
        why_lost: What has happened to it, once :attr:`lost` has found out.
    """

    target: Target
    settings: dict[str, Any]
    owned: bool
    users: int = 0
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    session: object = field(default_factory=lambda: _session())
    home: HomeProcess = field(default_factory=HomeProcess)
    cluster: str = field(default_factory=cluster_of_this_process)
    shared: bool = False
    why_lost: str = ""

    @property
    def held(self) -> bool:
        """Whether this process still has it; other code may have shut Ray down, and even connected anew."""
        return self.session is not None and _session() is self.session

    @property
    def alive(self) -> bool:
        """Whether it can be used, as far as is known without asking."""
        return not self.why_lost and self.held

    @property
    def has_workers(self) -> bool:
        """Whether workers can live there, as far as is known without asking."""
        return self.alive and dead_process(RAYLET) is None

    @property
    def ended(self) -> str | None:
        """Why it can never be used again, as far as is known without asking; None if it may be."""
        if self.alive:
            return dead_process()
        return self.why_lost or "Ray was shut down in this process, or its connection lost"

    @property
    def lost(self) -> bool:
        """Whether it can never be used again, which is asked now: 20 ms, two seconds at most.

        Raises:
            ClusterError: The cluster cannot be used for now, and may come back.
        """
        if self.alive:
            self.why_lost = why_lost(self.target, self.cluster, shared=self.shared) or ""
        return not self.alive


class _Shared:
    lock = threading.Lock()
    connection: Connection | None = None


def refuse_in_fork() -> None:
    """Refuse to go on in a fork of a process that is connected: Ray's threads are not there, and nothing answers.

    Raises:
        ConfigurationError: This is one.
    """
    if _Shared.connection is not None:  # without the lock, which a fork may have taken with it
        _Shared.connection.home.require("no Ray can be reached")


def acquire(options: RaySimpleOptions, *, token_file: str = "", shared: bool = False) -> Connection:
    """Connect as ``options`` say, or share the connection that there is.

    Args:
        options: Where to connect, and how.
        token_file: Where the token of a local Ray lies that another process has started.
        shared: Whether it is such a Ray, and ends with that process.

    Raises:
        ClusterError: The cluster cannot be used, or this process is connected otherwise.
        ConfigurationError: The address cannot be understood.
    """
    refuse_in_fork()
    with _Shared.lock:
        connection = _usable()
        if connection is not None:
            differences = _differences(connection, options)
            if differences and not options.reinit:
                raise ClusterMismatchError(
                    f"this process is connected to the Ray at {connection.target} already"
                    f"{'' if connection.owned else ' (by other code)'}, and has one connection; what differs from "
                    f"what was asked for: {', '.join(differences)}.",
                    hint="Shut that one down first (shutdown_job_backend(), or ray.shutdown() where other code made "
                    "it), or pass reinit=True to leave it once no backend uses it.",
                )
            if options.reinit and connection.users:
                raise ClusterMismatchError(
                    f"reinit=True would end the jobs of {connection.users} backend(s) that use the Ray at "
                    f"{connection.target}.",
                    hint="Shut those down first: shutdown_job_backend(backend=...).",
                )
            if options.reinit:
                _close(connection, by_force=True)
                connection = None
        if connection is None:
            connection = _open(options, token_file)
            connection.shared = shared
        _Shared.connection = connection
        connection.users += 1
        return connection


def release(connection: Connection) -> None:
    """A backend no longer needs the connection; the last one closes it, if we opened it."""
    with _Shared.lock:
        connection.users -= 1
        if connection.users == 0 and _Shared.connection is connection:
            _close(connection)


def _usable() -> Connection | None:
    """The connection that this process has, unless it is lost, which is left then."""
    known = _Shared.connection
    if known is not None:
        if not known.lost:
            return known
        if known.held or not ray.is_initialized():  # else another Ray may use what it had set up
            _close(known)
    connection = _current()
    if connection is not None and connection.lost:
        _close(connection)
        return None
    return connection


def _current() -> Connection | None:
    """The connection that this process has, whoever made it."""
    if _Shared.connection is not None and _Shared.connection.alive:
        return _Shared.connection
    if not ray.is_initialized():
        return None
    node: Any = ray_worker._global_node  # Ray says None, and means a Node once it runs
    client: Any = ray_client
    if client.is_connected():
        target = resolve(f"ray://{client.get_context().client_worker._conn_str}")
    elif node is not None and node.is_head():
        target = resolve("local")
    else:
        target = resolve(ray.get_runtime_context().gcs_address)
    return Connection(target, _settings(RaySimpleOptions()), owned=False)


def _session() -> object:
    """What Ray makes for each connection and keeps for as long as it lasts; None without one."""
    client: Any = ray_client
    if client.is_connected():
        found: object = client.get_context().client_worker
        return found
    return getattr(ray_worker.global_worker, "core_worker", None) if ray.is_initialized() else None


def _settings(options: RaySimpleOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("num_cpus", "dashboard")}


def _differences(connection: Connection, options: RaySimpleOptions) -> list[str]:
    """Names of the settings that are not as ``options`` want them."""
    wanted = _settings(options)
    found = [name for name, value in connection.settings.items() if value != wanted[name]]
    if options.address != "auto" and _place(resolve(options.address)) != _place(connection.target):
        found.insert(0, f"address={options.address!r}")
    return found


def _place(target: Target) -> tuple[Kind, str, int]:
    """Equal for two names of one address."""
    host = target.host
    with contextlib.suppress(OSError):  # a name that is not known is only equal to itself
        host = socket.gethostbyname(services.resolve_ip_for_localhost(host)) if host else ""
    return target.kind, host, target.port


def _open(options: RaySimpleOptions, token_file: str) -> Connection:
    check_process()
    target = resolve(options.address)
    arguments: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    local = target.kind is Kind.LOCAL
    if local:
        check_local_start()
        arguments |= {"include_dashboard": options.dashboard, "num_cpus": options.num_cpus}
    # To a cluster that was named, Ray sends a token only with RAY_AUTH_MODE=token, and so do we.
    with use_token(find=local or options.address == "auto", make=local, file=token_file) as guard:
        probe(target)
        with contextlib.ExitStack() as starting:
            starting.enter_context(_announced(target))
            if local:
                starting.enter_context(mark_local())
                starting.enter_context(use_patience())
                starting.enter_context(many_files())
                starting.enter_context(use_plain_python(guard))
            _init(target, arguments)
        undo = guard.pop_all()
    disarm_forks()
    return Connection(target, _settings(options), owned=True, undo=undo)


def _init(target: Target, arguments: dict[str, Any], tries: int = _TRIES) -> None:
    try:
        ray.init(target.address, **arguments)
    except Exception as error:  # Ray raises whatever it likes; all of it means that the cluster cannot be used
        if target.kind is not Kind.CLIENT:
            raise _start_error(target, error) from error
        # After a failed ray:// connection Ray takes every later one for a client's as well, until it is told.
        client: Any = ray_client
        client.disconnect()
        if tries == 1 or not any(sign in str(error) for sign in _CLIENT_SERVER_CRASHED):
            raise _start_error(target, error) from error
    else:
        return
    _init(target, arguments, tries - 1)


def _close(connection: Connection, *, by_force: bool = False) -> None:
    if connection.held and connection.why_lost:
        _leave_dead(connection)
    _Shared.connection = None
    if connection.held and (connection.owned or by_force):
        ray.shutdown()
    connection.undo.close()


def _leave_dead(connection: Connection) -> None:
    """Leave a Ray that has died, whoever had opened it: within a minute Ray would end this process for it."""
    # Ray says nothing of how long it takes where nobody answers.
    leaving = threading.Thread(target=ray.shutdown, name="checkmaite-leaving", daemon=True)
    leaving.start()
    leaving.join(_LEAVING_S)
    if leaving.is_alive() or connection.held:
        raise ClusterError(
            f"{connection.why_lost}, and Ray did not let go of it within {_LEAVING_S:g} s.",
            hint="Start this process anew (in a notebook: restart the kernel), and call configure_job_backend(...).",
        )


def _start_error(target: Target, error: Exception) -> ClusterError:
    # Over ray:// the text can be the server's whole traceback; what happened is on its last line.
    lines = str(error).strip().splitlines() or [""]
    said = f"{type(error).__name__}: {lines[-1] if 'Traceback' in str(error) else str(error).strip()}"
    what = f"starting a local Ray failed: {said}" if target.kind is Kind.LOCAL else f"connecting to {target}: {said}"
    if "ersion mismatch" in str(error):
        return ClusterMismatchError(
            what, hint="Install the cluster's versions of Ray and Python here, from the lock of its image."
        )
    if any(sign in str(error) for sign in _CLIENT_SERVER_CRASHED):
        return ClusterError(
            f"{what} (tried {_TRIES} times)",
            hint="Ray's own server for this client crashed at its start, on the head node. Start the head with "
            "GRPC_ENABLE_FORK_SUPPORT=0 in its environment, or connect to the GCS port: address='host:6379'.",
        )
    return ClusterError(
        what,
        hint="Read what Ray says above; its logs lie in /tmp/ray/session_latest/logs (or under RAY_TMPDIR). A full "
        "disk and too little shared memory are usual causes.",
    )


@contextlib.contextmanager
def _announced(target: Target) -> Iterator[None]:
    """Say on standard error what takes so long, and how long it took; sooner where a person looks on."""
    what = "Starting a local Ray" if target.kind is Kind.LOCAL else f"Connecting to the Ray at {target}"
    begun = time.monotonic()
    watched = sys.stderr.isatty()
    patience = _SLOW_START if watched else _VERY_SLOW_START
    text = f"{what} ..." if watched else f"checkmaite: {what[0].lower()}{what[1:]} takes more than {patience:g} s ...\n"
    timer = threading.Timer(patience, sys.stderr.write, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        took = time.monotonic() - begun
        if took > patience:
            sys.stderr.write(f" {took:.1f} s\n" if watched else f"checkmaite: ... it took {took:.1f} s.\n")
