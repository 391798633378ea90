"""Training tracks decoded once, at a model's rate and channels, into a store on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.data.prepared_store import Index, Prepared, state
from asteroid_waveunet.experiment.data.track import group_stems, sum_groups

__all__ = ["prepare"]


def prepare(
    root: str | os.PathLike,
    out: str | os.PathLike,
    sources: Sequence[str],
    sample_rate: int,
    channels: int,
    progress: bool = True,
    verify: bool = False,
) -> list[Prepared]:
    """Decodes the training tracks of `root` once, into one array a track under `out`.

    Can be killed and run again: tracks that are done are kept, unless their files have changed
    since, or the array was damaged. What was made with other settings is made again, and what is
    of no track any more is removed. Of several processes one does it, and the others wait.

    Args:
        root: a folder in the layout of MUSDB18 or MUSDB18-HQ.
        out: where the arrays and their index go, a folder of their own.
        sources: the model's sources, each a stem or "accompaniment".
        sample_rate: in Hz, >= 1: what everything is resampled to.
        channels: 1 (the mean) or as many as the data has; mono data is duplicated.
        progress: whether to show a bar.
        verify: whether to compute the checksum of every array, which reads all of them, and not
            only of those whose size or time of change is not as it was written.

    Raises:
        FileNotFoundError, ValueError: as `tracks`, `group_stems` and `Track.read_all`. Nothing of
            a bad track is left in `out`.
        NoSpace: if there is no room for the arrays; says how much they need.
    """
    if sample_rate < 1 or channels < 1:
        raise ValueError(f"sample_rate {sample_rate} and channels {channels} must be at least 1")
    found = musdb.tracks(root, "train")
    groups = group_stems(sources, found[0].stems)
    settings = {
        "sources": list(sources),
        "groups": {group: list(stems) for group, stems in groups.items()},
        "sample_rate": sample_rate,
        "channels": channels,
    }
    states = {track.name: _state(track) for track in found}
    with disk.alone(out):
        index = Index.open(Path(out), settings)
        wanted = [t for t in found if not index.holds(t.name, states[t.name], verify)]
        _check_space(wanted, index.folder, len(groups) * channels, sample_rate)
        for track in tqdm(wanted, desc="preparing", unit="track", disable=not progress):
            samples = _decode(track, groups, sample_rate, channels)
            with disk.room_explained(index.folder, f"the decoded {track.name}", 2 * samples.size):
                index.add(track.name, samples, states[track.name])
        index.keep(states.keys())
    return [
        Prepared(
            track.name,
            index.path(track.name),
            record.length,
            tuple(groups),
            len(sources),
            channels,
            sample_rate,
            tuple(record.gains),
            record.sha256,
        )
        for track in found
        for record in [index.tracks[track.name]]
    ]


def _state(track: musdb.MusdbTrack) -> dict[str, list[int]]:
    return {file.name: state(file) for file in track.files()}


def _check_space(
    wanted: Sequence[musdb.MusdbTrack], folder: Path, rows: int, sample_rate: int
) -> None:
    """
    Raises:
        NoSpace: unless the arrays of the wanted tracks fit on the disk.
    """
    extents = [track.extent() for track in wanted]
    seconds = sum(extent.frames / extent.sample_rate for extent in extents)
    n_bytes = round(2 * rows * sample_rate * seconds)
    disk.check_room(folder, n_bytes, f"Decoding {len(wanted)} tracks")


def _decode(
    track: musdb.MusdbTrack, groups: Mapping[str, Sequence[str]], sample_rate: int, channels: int
) -> np.ndarray:
    """A track's groups, `(groups, channels, time)` at the sample rate asked for."""
    stems, rate = track.read_all(track.stems)
    summed = torch.stack([*sum_groups(stems, groups).values()])
    try:
        fitting = to_channels(summed, channels)
    except ValueError as reason:
        raise ValueError(f"{track.path}: {reason}") from reason
    # Summing, mixing down and resampling are linear: in this order the least is resampled.
    return resample(fitting, rate, sample_rate).contiguous().numpy()
