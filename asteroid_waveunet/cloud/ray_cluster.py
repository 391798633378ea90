"""The connection to a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Iterator
from typing import Any

from asteroid_waveunet.file_utils import first_line

__all__ = ["ADDRESSES", "alive_nodes", "connected", "import_ray"]

ADDRESSES = "auto, local, ray://HOST:10001 or HOST:6379"
SECONDS = 10.0  # to reach the head


def import_ray() -> Any:
    """Import Ray.

    Raises:
        ImportError: if it is not installed; says what to do.
    """
    try:
        import ray
    except ImportError as reason:
        raise ImportError(
            "--cluster needs Ray: pip install 'asteroid-waveunet[cluster]'."
        ) from reason
    return ray


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a cluster for the block; yield the module `ray`.

    A connection that exists already is used and kept.

    Args:
        address: one of `ADDRESSES`; "auto" is the cluster that this machine belongs to, "local"
            starts one on it.
    Raises:
        ImportError: if Ray is not installed.
        ValueError: if the address is none.
        ConnectionError: if the cluster cannot be reached.
    """
    match = re.fullmatch(r"auto|local|(?:ray://)?([\w.\-]+|\[[\da-fA-F:]+\]):(\d{1,5})", address)
    if not match:
        raise ValueError(f"--cluster is {address!r}; expected {ADDRESSES}.")
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    try:
        if match[1]:
            socket.create_connection((match[1].strip("[]"), int(match[2])), SECONDS).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, OverflowError) as reason:
        remedy = "Start one with `ray start --head`, or use --cluster local."
        if match[1]:
            remedy = "Is the head running, and does its firewall let this machine in?"
        raise ConnectionError(
            f"Cannot reach the Ray cluster {address}: {first_line(reason)}. {remedy}"
        ) from reason
    try:
        yield ray
    finally:
        ray.shutdown()


def alive_nodes(ray: Any) -> dict[str, dict[str, float]]:
    """Return the resources of each node that is alive, by its id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
