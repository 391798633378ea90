"""The connection to a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asteroid_waveunet.file_utils import first_line

__all__ = ["ADDRESSES", "Resources", "alive_nodes", "assigned_device", "connected", "import_ray"]

ADDRESSES = "auto, local, ray://HOST:10001 or HOST:6379"
SECONDS = 10.0  # to reach the head
ROUNDING = 1e-6  # so that ten workers of 0.1 GPUs share one


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
            remedy = (
                "Is the head running, does its firewall let this machine in, and if it asks for a "
                "token: is it here (~/.ray/auth_token), with RAY_AUTH_MODE=token?"
            )
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


def assigned_device(ray: Any) -> str:
    """Return the device of the task or actor that calls: "cuda" if it was given a GPU, or "cpu".

    Raises:
        OSError: if torch cannot use the GPU.
    """
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise OSError(
            f"Ray has given a GPU, but torch {torch.__version__} can use none here; install a "
            "torch for its driver, or use the processors: --gpus-per-worker 0."
        )
    return "cuda"


@dataclass(frozen=True)
class Resources:
    """Resources of the cluster that the workers ask for.

    Attributes:
        workers: their number; None: as many as the nodes have room for now.
        cpus, gpus: of each worker; gpus may be a fraction. None: one GPU if there are any.
    """

    workers: int | None = None
    cpus: float = 1
    gpus: float | None = None

    def fitted(self, nodes: dict[str, dict[str, float]]) -> Resources:
        """Return the resources with their defaults for these nodes filled in.

        Raises:
            ValueError: if a number is out of range, or no node has room for a worker.
        """
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; expected at least 1.")
        if not self.cpus > 0:
            raise ValueError(f"cpus_per_worker is {self.cpus:g}; expected a number above 0.")
        gpus = self.gpus
        if gpus is not None and (gpus < 0 or (gpus > 1 and gpus % 1)):
            raise ValueError(
                f"gpus_per_worker is {gpus}; expected a whole number, or a fraction of one GPU."
            )
        if gpus is None:
            gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes.values()) else 0.0
        needs = {"CPU": self.cpus, "GPU": gpus}
        room = sum(
            min(int(node.get(name, 0) / need + ROUNDING) for name, need in needs.items() if need)
            for node in nodes.values()
        )
        if not room and self.workers is None:
            raise ValueError(
                f"No node of the cluster has {self.cpus:g} CPUs and {gpus:g} GPUs, which a worker "
                "asks for; ask for less, or give --workers to wait for nodes that will join."
            )
        return Resources(self.workers or room, self.cpus, gpus)
