"""Read and write training checkpoints; a kill or a full disk never leaves a partial file."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from asteroid_waveunet.experiment import disk
from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.weights import safe_load

__all__ = [
    "DIVERGED",
    "EARLY_STOPPING_KEY",
    "AtomicCheckpointIO",
    "random_state",
    "read",
    "set_random_state",
    "steps_and_epochs",
]

EARLY_STOPPING_KEY = "Rounds"  # entry in checkpoint["callbacks"]

DIVERGED = (
    "The validation loss was never finite: training diverged. Delete the folder checkpoints and "
    "start again with a lower --lr."
)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write Lightning's checkpoints atomically: on failure, the previous file remains.

    Attributes:
        failure: error of the last write. The writing process cannot raise it, because the other
            processes would wait for it forever; `Checkpointing` raises it in all of them.
    """

    failure: OSError | None = None

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        path = Path(path)
        try:
            with replacing(path) as partial, open(partial, "wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
        except OSError as reason:
            self.failure = OSError(_write_error(path, buffer.getbuffer().nbytes, reason))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load tensors and plain Python onto the CPU; Lightning moves them to their device."""
        return read(Path(path))


def _write_error(path: Path, size: int, reason: OSError) -> str:
    text = f"{path} cannot be written: {reason.strerror}"
    if reason.errno in disk.FULL:
        free = disk.format_size(disk.free_space(path.parent))
        text += f" (needs {disk.format_size(size)}, {free} free)"
    kept = "; the previous checkpoint is kept" if path.is_file() else ""
    return f"{text}{kept}. Free some space, then run the same command again to resume."


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint without memory mapping: the file may be replaced while in use.

    Raises:
        ValueError: if it is corrupt or from an incompatible version.
    """
    try:
        safe_load.read_torch_file(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if EARLY_STOPPING_KEY not in checkpoint["callbacks"]:
            raise ValueError("written by another version of this training")
    except (KeyError, TypeError, ValueError) as reason:
        raise ValueError(
            f"Cannot resume from checkpoint {path} ({reason}); delete {path.parent} to start over."
        ) from reason
    return checkpoint


def steps_and_epochs(path: Path) -> tuple[int, int]:
    """Return a checkpoint's optimizer steps done and epochs begun; (0, 0) if there is no file.

    Raises:
        ValueError: as `read`.
    """
    if not path.is_file():
        return 0, 0
    checkpoint = read(path)
    return checkpoint["global_step"], checkpoint["epoch"] + 1


def random_state() -> dict[str, Any]:
    """Return the state of all random generators as tensors and plain Python."""
    legacy: Any = np.random.get_state()  # noqa: NPY002 - third-party code may use it
    kind, keys, *rest = legacy
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned; CUDA's only with the same number of GPUs."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
