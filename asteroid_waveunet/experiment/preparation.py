"""Training tracks decoded once, at a model's rate and channels, to be mapped into memory.

One array a track, one row a *group*: each source of the model, and "rest" for the stems that
are in none of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .. import audio
from ..files import replacing
from . import musdb

__all__ = ["Prepared", "prepare"]

SETTINGS_FILE = "prepared.json"


@dataclass(frozen=True)
class Prepared:
    """A decoded track: `load()` maps float32 `(groups, channels, time)` into memory.

    Attributes:
        name: the track's.
        path: the .npy file.
        length: samples a channel.
        groups: what the rows are: the model's sources in their order, then maybe "rest".
        n_src: how many of the groups are sources.
        channels: of every group.
        sample_rate: in Hz.
    """

    name: str
    path: Path
    length: int
    groups: tuple[str, ...]
    n_src: int
    channels: int
    sample_rate: int

    def load(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r")


def prepare(
    root: str | os.PathLike,
    out: str | os.PathLike,
    sources: Sequence[str],
    sample_rate: int,
    channels: int,
    progress: bool = True,
) -> list[Prepared]:
    """Decodes the training tracks of `root` once, into one array a track under `out`.

    Can be killed and run again: tracks that are done are kept, unless their files have changed
    in size since. `prepared.json` beside the arrays lists the settings and what is done.

    Args:
        root: a folder in the layout of MUSDB18 or MUSDB18-HQ.
        out: where the arrays go; all settings of one folder are the same.
        sources: the model's sources, each a stem or "accompaniment".
        sample_rate: in Hz, >= 1: what everything is resampled to.
        channels: 1 (the mean) or as many as the data has; mono data is duplicated.
        progress: whether to show a bar.

    Raises:
        FileNotFoundError, ValueError: as `tracks`, `group_stems` and `Track.read_all`, or if
            `out` was made with other settings. Nothing of a bad track is left in `out`.
    """
    if sample_rate < 1 or channels < 1:
        raise ValueError(f"sample_rate {sample_rate} and channels {channels} must be at least 1")
    found = musdb.tracks(root, "train")
    groups = musdb.group_stems(sources, found[0].stems)
    settings = {
        "sources": list(sources),
        "groups": list(groups),
        "sample_rate": sample_rate,
        "channels": channels,
    }
    out = Path(out)
    done = _done_before(out / SETTINGS_FILE, settings)
    prepared = []
    for track in tqdm(found, desc="preparing", unit="track", disable=not progress):
        path, size = out / f"{track.name}.npy", track.size()
        if done.get(track.name, {}).get("bytes") != size or not path.is_file():
            samples = _decode(track, groups, sample_rate, channels)
            with replacing(path) as partial:
                np.save(partial, samples)
            done[track.name] = {"length": samples.shape[-1], "bytes": size}
            with replacing(out / SETTINGS_FILE) as partial:
                partial.write_text(json.dumps({**settings, "tracks": done}, indent=1))
        length = done[track.name]["length"]
        prepared.append(
            Prepared(track.name, path, length, tuple(groups), len(sources), channels, sample_rate)
        )
    return prepared


def _decode(
    track: musdb.Track, groups: Mapping[str, Sequence[str]], sample_rate: int, channels: int
) -> np.ndarray:
    """A track's groups, `(groups, channels, time)` at the sample rate asked for."""
    stems, rate = track.read_all(track.stems)
    summed = torch.stack([*musdb.sum_groups(stems, groups).values()])
    try:
        fitting = audio.to_channels(summed, channels)
    except ValueError as reason:
        raise ValueError(f"{track.path}: {reason}") from reason
    # Summing, mixing down and resampling are linear: in this order the least is resampled.
    return audio.resample(fitting, rate, sample_rate).contiguous().numpy()


def _done_before(file: Path, settings: Mapping[str, object]) -> dict[str, dict[str, int]]:
    """Track name -> record of the tracks prepared earlier with these settings."""
    if not file.is_file():
        return {}
    try:
        earlier = json.loads(file.read_text())
        done = earlier.pop("tracks")
    except (ValueError, KeyError, AttributeError) as reason:
        raise ValueError(f"{file} is damaged ({reason!r}); delete {file.parent}") from reason
    differing = [
        f"{key} is {earlier.get(key)!r}, not {value!r}"
        for key, value in settings.items()
        if earlier.get(key) != value
    ]
    if differing:
        raise ValueError(
            f"{file.parent} was prepared with other settings: {'; '.join(differing)}."
            " Give another folder, or delete this one"
        )
    return done
