"""Ask an address who is there before Ray is let loose on it.

``ray.init`` takes 20 s to report a wrong token, 90 s for a dead port, and uses one text for both over ``ray://``.
One TCP connection and one or two small gRPC calls tell them apart in some 20 ms.
"""

from __future__ import annotations

import json
import os
import platform
import socket
from typing import Any

import grpc
import ray
from ray._common.tls_utils import load_certs_from_env
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc, ray_client_pb2, ray_client_pb2_grpc

from checkmaite_core.errors import (
    ClusterAuthenticationError,
    ClusterError,
    ClusterMismatchError,
    ClusterUnreachableError,
)
from checkmaite_ray_simple.address import Kind, Target

__all__ = ["cluster_id", "probe"]

# Generated without types.
_gcs: Any = gcs_service_pb2
_gcs_stubs: Any = gcs_service_pb2_grpc
_client: Any = ray_client_pb2
_client_stubs: Any = ray_client_pb2_grpc

_DEADLINE = 1.5
"""Seconds that each step may take."""


def probe(target: Target) -> None:
    """Make sure that a Ray which fits answers at ``target``. A local target is not asked.

    Raises:
        ClusterUnreachableError: Nothing answers.
        ClusterAuthenticationError: Our token is missing or refused.
        ClusterMismatchError: Another kind of port, or another version of Ray or Python.
    """
    if target.kind is Kind.LOCAL:
        return
    _connect(target)
    # Ray's own channel: with its TLS settings and, in token mode, the token.
    channel = init_grpc_channel(target.address.removeprefix("ray://"), options=[("grpc.enable_http_proxy", 0)])
    try:
        if target.kind is Kind.CLIENT:
            request = _client.ClusterInfoRequest(type=_client.ClusterInfoType.PING)
            _client_stubs.RayletDriverStub(channel).ClusterInfo(request, timeout=_DEADLINE)
            return
        nodes = _gcs_stubs.NodeInfoGcsServiceStub(channel)
        alive = nodes.CheckAlive(_gcs.CheckAliveRequest(), timeout=_DEADLINE)
        metadata = _gcs_stubs.InternalKVGcsServiceStub(channel).InternalKVGet(
            _gcs.InternalKVGetRequest(key=b"CLUSTER_METADATA", namespace=b"cluster"), timeout=_DEADLINE
        )
    except grpc.RpcError as error:
        raise _explained(target, error) from error
    finally:
        channel.close()
    # Written a moment after the head starts to answer, so it may be empty; ray.init compares it too.
    python = json.loads(metadata.value).get("python_version", "") if metadata.value else ""
    _require_versions(target, alive.ray_version, python)


def cluster_id(target: Target, *, token: str | None = None, deadline: float = _DEADLINE) -> str:
    """Which cluster it is that answers at a GCS port: an id made when the cluster was, which a restart of it keeps.

    Args:
        target: A cluster's GCS port.
        token: What it is shown, nothing if empty; this process's own if left out.
        deadline: Seconds that each of two steps may take.

    Raises:
        ClusterUnreachableError: No Ray answers. Its cause is a ``ConnectionRefusedError`` if nothing listens there.
        ClusterAuthenticationError: The token is refused.
        ClusterMismatchError: What answers is another kind of server.
    """
    _connect(target, deadline)
    options = [("grpc.enable_http_proxy", 0)]
    metadata = [("authorization", f"Bearer {token}")] if token else None
    # Ray's own channel shows this process's token, whatever else it is given.
    own = token is None
    channel = init_grpc_channel(target.address, options=options) if own else _plain_channel(target.address, options)
    try:
        nodes = _gcs_stubs.NodeInfoGcsServiceStub(channel)
        reply = nodes.GetClusterId(_gcs.GetClusterIdRequest(), timeout=deadline, metadata=metadata)
    except grpc.RpcError as error:
        raise _explained(target, error) from error
    finally:
        channel.close()
    found: str = reply.cluster_id.hex()
    return found


def _plain_channel(address: str, options: list[tuple[str, int]]) -> grpc.Channel:
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return grpc.insecure_channel(address, options=options)
    chain, key, authority = load_certs_from_env()  # type: ignore[no-untyped-call]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, key, chain), options=options)


def _connect(target: Target, deadline: float = _DEADLINE) -> None:
    try:
        socket.create_connection((target.host, target.port), timeout=deadline).close()
    except OSError as error:
        file = (
            " The file that Ray keeps of its latest cluster may be out of date."
            if target.origin.startswith("the latest")
            else ""
        )
        raise ClusterUnreachableError(
            f"nothing answers at {target}: {error.strerror or error}.{file}",
            hint="Check host and port, and that the cluster runs (`ray start --head` on its head node). "
            "address='local' starts a Ray of your own.",
        ) from error


def _explained(target: Target, error: grpc.RpcError) -> ClusterError:
    code, details = error.code(), error.details()
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return ClusterAuthenticationError(
            f"the Ray at {target} refuses our token, or the lack of one: {details}.",
            hint="Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) to the cluster's token; "
            "`ray get-auth-token` on its head node prints it.",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        other = (
            f"It looks like the GCS port: use address='{target.address.removeprefix('ray://')}', or ray:// with the "
            "client port (10001 unless set otherwise)."
            if target.kind is Kind.CLIENT
            else f"It looks like a client port: use address='ray://{target.address}', or the GCS port (6379 unless "
            "set otherwise)."
        )
        return ClusterMismatchError(f"{target} is another kind of port than the address says.", hint=other)
    return ClusterUnreachableError(
        f"something listens at {target}, but it does not answer as Ray does: {code.name}: {details}.",
        hint="Check that the port is Ray's (6379 for 'host:port', 10001 for 'ray://host:port', unless set otherwise), "
        "and RAY_USE_TLS if the cluster uses TLS.",
    )


def _require_versions(target: Target, theirs: str, python: str) -> None:
    ours = platform.python_version()
    wrong = [
        f"{what} {there} there, {here} here"
        for what, there, here, same in (
            ("Ray", theirs, ray.__version__, theirs == ray.__version__),
            ("Python", python, ours, python.split(".")[:2] == ours.split(".")[:2]),
        )
        if there and not same
    ]
    if wrong:
        raise ClusterMismatchError(
            f"the Ray at {target} does not fit this environment: {'; '.join(wrong)}.",
            hint="Install the cluster's versions here (client and worker image come from one lock), or connect to "
            "another cluster.",
        )
