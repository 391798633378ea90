"""Small songs on disk."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.prepared_store import Prepared, quantize

STEMS = ("bass", "drums", "other", "vocals")
RATE = 8000


def noise(channels: int, length: int, seed: int) -> torch.Tensor:
    return 0.1 * torch.randn(channels, length, generator=torch.Generator().manual_seed(seed))


def write_song(folder: Path, stems=STEMS, seconds=1.0, rate=RATE, channels=2, mixture=True) -> None:
    parts = {s: noise(channels, int(seconds * rate), seed) for seed, s in enumerate(stems)}
    if mixture:
        parts["mixture"] = torch.stack([*parts.values()]).sum(0)
    for name, samples in parts.items():
        audio_io.write(folder / f"{name}.wav", samples, rate)


def write_prepared(
    folder: Path, name: str, samples, groups, n_src=2, rate=RATE, owners=None
) -> Prepared:
    """Write a prepared track, `(groups, channels, time)`; integers are stored unscaled."""
    exact = np.issubdtype(samples.dtype, np.integer)
    whole, gains = (np.int16(samples), (1.0,) * len(groups)) if exact else quantize(samples)
    path = folder / f"{name}.npy"
    np.save(path, whole)
    _, channels, length = samples.shape
    owners = tuple(owners or range(len(groups)))
    return Prepared(name, path, length, tuple(groups), owners, n_src, channels, rate, gains)


def write_stem_file(folder: Path) -> Path:
    """Copy the 6 s excerpt of a MUSDB18 song that stempeg ships to a folder."""
    example = folder_of("stempeg") / "data" / "The Easton Ellises - Falcon 69.stem.mp4"
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(example, folder))


def folder_of(package: str) -> Path:
    """Return a package's folder without importing it: some packages require ffmpeg on import."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    return Path(found.origin).parent
