"""Decode training tracks once, at a model's sample rate and channels, into a store on disk."""

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
from asteroid_waveunet.experiment.data.prepared_store import Index, Prepared, file_state
from asteroid_waveunet.experiment.data.track import group_stems, sum_groups
from asteroid_waveunet.file_locks import locked

__all__ = ["prepare"]


def prepare(
    root: str | os.PathLike,
    out: str | os.PathLike,
    sources: Sequence[str],
    sample_rate: int,
    channels: int,
    progress: bool = True,
    verify: bool = False,
    missing_stems: str = "error",
    lengths: str = "error",
    by_stem: bool = False,
) -> list[Prepared]:
    """Decode the training tracks of `root` into one array per track under `out`.

    Can be interrupted and resumed: prepared tracks are skipped unless their files have changed or
    the array is damaged. Tracks prepared with other settings are decoded again, and those that no
    longer exist are deleted. Only one process prepares; the others wait on a lock.

    Args:
        root: a folder in the layout of MUSDB18 or MUSDB18-HQ.
        out: folder of the arrays and their index, used for nothing else.
        sources: the model's sources, each a stem or "accompaniment".
        sample_rate: in Hz, >= 1; all tracks are resampled to it.
        channels: 1 (the mean) or as many as the data has; mono data is duplicated.
        progress: show a progress bar.
        verify: compute the checksum of every array, not only of those whose size or modification
            time has changed. This reads the whole store.
        missing_stems, lengths: treatment of incomplete songs; see `musdb.tracks`.
        by_stem: keep the stems of a source apart, instead of their sum.

    Raises:
        FileNotFoundError, ValueError: as `musdb.tracks`, `group_stems` and `MusdbTrack.read_all`.
            Nothing of the failing track is left in `out`.
        NoSpace: if there is too little disk space for the arrays.
    """
    if sample_rate < 1 or channels < 1:
        raise ValueError(f"sample_rate {sample_rate} and channels {channels} must be at least 1")
    found = musdb.tracks(root, "train", missing_stems, lengths)
    groups = group_stems(sources, found[0].stems)
    owners = list(range(len(groups)))
    if by_stem:
        owners = [i for i, stems in enumerate(groups.values()) for _ in stems]
        groups = {stem: (stem,) for stems in groups.values() for stem in stems}
    settings = {
        "sources": list(sources),
        "owners": owners,
        "groups": {group: list(stems) for group, stems in groups.items()},
        "sample_rate": sample_rate,
        "channels": channels,
    }
    tolerated = {"missing_stems": missing_stems, "lengths": lengths}
    settings |= {name: choice for name, choice in tolerated.items() if choice != "error"}
    with locked(out):
        index = Index.open(Path(out), settings)
        _update(index, found, groups, sample_rate, channels, progress, verify)
    return [index.prepared(track.name) for track in found]


def _update(
    index: Index,
    found: Sequence[musdb.MusdbTrack],
    groups: Mapping[str, Sequence[str]],
    sample_rate: int,
    channels: int,
    progress: bool,
    verify: bool,
) -> None:
    """Add missing and changed tracks to the index and delete those that no longer exist."""
    states = {track.name: {f.name: file_state(f) for f in track.files()} for track in found}
    missing = [track for track in found if not index.holds(track.name, states[track.name], verify)]
    _check_space(missing, index.folder, len(groups) * channels, sample_rate)
    for track in tqdm(missing, desc="preparing", unit="track", disable=not progress):
        samples = _decode(track, groups, sample_rate, channels)
        n_bytes = 2 * samples.size
        with disk.explain_full_disk(index.folder, f"the decoded {track.name}", n_bytes):
            index.add(track.name, samples, states[track.name])
    index.keep_only(states.keys())


def _check_space(
    tracks: Sequence[musdb.MusdbTrack], folder: Path, rows: int, sample_rate: int
) -> None:
    """Check that the arrays of these tracks fit on the disk.

    Raises:
        NoSpace: if they do not.
    """
    extents = [track.extent() for track in tracks]
    seconds = sum(extent.frames / extent.sample_rate for extent in extents)
    n_bytes = round(2 * rows * sample_rate * seconds)
    disk.check_free_space(folder, n_bytes, f"Decoding {len(tracks)} tracks")


def _decode(
    track: musdb.MusdbTrack, groups: Mapping[str, Sequence[str]], sample_rate: int, channels: int
) -> np.ndarray:
    """Decode a track's groups, `(groups, channels, time)` at `sample_rate`."""
    stems, rate = track.read_all(track.stems)
    summed = torch.stack([*sum_groups(stems, groups).values()])
    try:
        converted = to_channels(summed, channels)
    except ValueError as reason:
        raise ValueError(f"{track.path}: {reason}") from reason
    # Summing, mixing down and resampling are linear; resampling last handles the least data.
    return resample(converted, rate, sample_rate).contiguous().numpy()
