"""List and read the tracks of MUSDB18 and of data sets in its layout.

root/train/<name>.stem.mp4              MUSDB18: five AAC streams (needs ffmpeg), or
root/train/<name>/{mixture,...}.wav     MUSDB18-HQ: one file a stem, any stem names and formats
root/test/...
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import stem_names
from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.container import url
from asteroid_waveunet.audio.folders import is_audio_file
from asteroid_waveunet.audio.formats import STEM_SUFFIX, is_hidden_name, split_name
from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg
from asteroid_waveunet.experiment.data.track import MIXTURE, Extent, group_stems, sum_groups

__all__ = ["MusdbTrack", "tracks"]

SUBSETS = ("train", "test")

FRAME = 1024  # samples of an AAC frame

# Stems of one song may differ in length by the padding of an encoder's frames.
LENGTH_TOLERANCE = 0.1  # seconds

LAYOUT = "train/ and test/ with <name>.stem.mp4 files or <name>/{mixture,<stem>...}.wav folders"


@dataclass(frozen=True)
class MusdbTrack:
    """A song on disk: a `.stem.mp4` file or a folder of audio files.

    Attributes:
        name: the file's or folder's name, which may contain dots.
        subset: "train" or "test".
        path: the file or the folder.
        stems: names of the stems, sorted, without the mixture.
        has_mixture: the mixture exists on disk, not only the stems.
    """

    name: str
    subset: str
    path: Path
    stems: tuple[str, ...]
    has_mixture: bool = True

    def read(self, name: str) -> tuple[torch.Tensor, int]:
        """Read one stem or "mixture": float32 samples `(channels, time)` and the sample rate."""
        samples, rate = self.read_all([name])
        return samples[name], rate

    def read_all(self, names: Iterable[str] | None = None) -> tuple[dict[str, torch.Tensor], int]:
        """Read the named stems, by default all and the mixture: `(channels, time)`, and the rate.

        All have equal lengths and channels: shorter stems are padded with zeros on the right (at
        most 0.1 s), and mono stems among stereo ones are duplicated.

        Raises:
            ValueError: for an unknown name, or files that cannot be decoded, contain NaN or
                infinity, or differ in sample rate or by more than 0.1 s in length.
        """
        known = self.stems + ((MIXTURE,) if self.has_mixture else ())
        names = known if names is None else tuple(names)
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(f"{self.path} has no {unknown}; it has {', '.join(known)}")
        read = _read_streams if self.path.name.endswith(STEM_SUFFIX) else _read_files
        samples, rates = read(self.path, names)
        return _same_shape(samples, rates, self.path)

    def extent(self) -> Extent:
        """Return channels, length and sample rate without decoding.

        Raises:
            ValueError: if the headers cannot be read.
        """
        if self.path.name.endswith(STEM_SUFFIX):
            stream = _probe(self.path)[0]
            rate, seconds = int(stream["sample_rate"]), float(stream.get("duration", 0.0))
            return Extent(int(stream["channels"]), round(seconds * rate), rate)
        files = _stems_in(self.path).values()
        headers = [audio_io.header(path) for path in files]
        channels = max(header.channels for header in headers)
        frames = max(audio_io.count_frames(path) for path in files)
        return Extent(channels, frames, headers[0].sample_rate)

    def size(self) -> int:
        """Return the bytes on disk, which distinguish a song from an excerpt of the same name."""
        return sum(file.stat().st_size for file in self.files())

    def files(self) -> list[Path]:
        """Return the files that the track is read from."""
        return [self.path] if self.path.is_file() else sorted(_stems_in(self.path).values())

    def check(self, channels: int) -> None:
        """Check the headers of audio files before they are read; `.stem.mp4` files are not checked.

        Args:
            channels: of the model that will separate the track.
        Raises:
            ValueError: if rates or lengths differ, or the channels cannot be converted.
        """
        if self.path.name.endswith(STEM_SUFFIX):
            return
        files = _stems_in(self.path)
        headers = {name: audio_io.header(path) for name, path in files.items()}
        _check_consistent(
            {name: header.sample_rate for name, header in headers.items()},
            {name: audio_io.count_frames(path) for name, path in files.items()},
            self.path,
        )
        n_channels = max(header.channels for header in headers.values())
        if n_channels not in (1, channels) and channels > 1:
            raise ValueError(
                f"{self.path} has {n_channels} channels and the model {channels}; mix it to "
                f"{channels} or 1 channel(s) first"
            )

    def mixture_and_groups(
        self, sources: Sequence[str]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
        """Read the mixture, the groups of `group_stems` (`(channels, time)`) and the sample rate.

        A missing mixture is replaced by the sum of the stems.
        """
        samples, rate = self.read_all()
        groups = sum_groups(samples, group_stems(sources, self.stems))
        mixture = samples[MIXTURE] if self.has_mixture else torch.stack([*groups.values()]).sum(0)
        return mixture, groups, rate


def tracks(root: str | os.PathLike, subset: str | None = None) -> list[MusdbTrack]:
    """List the tracks under `root/train` and `root/test`, train first, sorted by name.

    Args:
        root: a folder in the layout of MUSDB18 or MUSDB18-HQ.
        subset: "train" or "test"; None takes those that exist.

    Raises:
        FileNotFoundError: if the folder, or the subset in it, is missing.
        ValueError: if there are no tracks, or a track lacks a stem or (test) its mixture.
    """
    root = Path(root)
    if subset not in (None, *SUBSETS):
        raise ValueError(f"unknown subset {subset!r}; expected {' or '.join(map(repr, SUBSETS))}")
    if not root.is_dir():
        raise FileNotFoundError(f"there is no data folder {root}; expected {LAYOUT}")
    subsets = [name for name in SUBSETS if subset in (None, name) and (root / name).is_dir()]
    if not subsets:
        missing = f"{subset!r} folder" if subset else "'train' and no 'test' folder"
        raise FileNotFoundError(f"there is no {missing} in {root}; expected {LAYOUT}")
    found = [track for name in subsets for track in _tracks_in(root / name)]
    if not found:
        raise ValueError(f"no tracks in {root}/{{{','.join(subsets)}}}; expected {LAYOUT}")
    _check_stems(found)
    return found


def _tracks_in(folder: Path) -> list[MusdbTrack]:
    """List the tracks of one subset, sorted by name; hidden and other files are skipped."""
    found: dict[str, MusdbTrack] = {}
    for path in sorted(folder.iterdir()):
        if is_hidden_name(path.name):
            continue
        if path.is_dir():
            names = _stems_in(path)
            stems = tuple(sorted(name for name in names if name != MIXTURE))
            track = MusdbTrack(path.name, folder.name, path, stems, MIXTURE in names)
        elif path.name.endswith(STEM_SUFFIX):
            name = path.name.removesuffix(STEM_SUFFIX)
            track = MusdbTrack(name, folder.name, path, tuple(sorted(stem_names.stems_of(path))))
        else:
            continue
        if track.name in found:
            raise ValueError(f"{path} and {found[track.name].path} are the same track; keep one")
        found[track.name] = track
    return sorted(found.values(), key=lambda track: track.name)


def _stems_in(folder: Path) -> dict[str, Path]:
    """Map stem names to the audio files in a song's folder; "Mixture.WAV" is the mixture.

    Raises:
        ValueError: if two files are of one stem.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not is_audio_file(path):
            continue
        stem = split_name(path.name)[0]
        stem = MIXTURE if stem.lower() == MIXTURE else stem
        if found.setdefault(stem, path) != path:
            raise ValueError(f"{found[stem]} and {path} are of the same stem; keep one")
    return found


def _check_stems(found: Sequence[MusdbTrack]) -> None:
    """Require that all tracks have the same stems and that test tracks have a mixture.

    Raises:
        ValueError: if they do not.
    """
    stems = sorted({stem for track in found for stem in track.stems})
    if not stems:
        raise ValueError(f"{found[0].path} and all other tracks have no stems; expected {LAYOUT}")
    for stem in stems:
        without = [track for track in found if stem not in track.stems]
        if without:
            having = next(track for track in found if stem in track.stems)
            raise ValueError(
                f"{len(without)} of {len(found)} tracks lack the stem {stem!r} that {having.path}"
                f" has: {_abbreviated(without)}. All tracks need the same stems; add a silent file"
            )
    unmixed = [track for track in found if track.subset == "test" and not track.has_mixture]
    if unmixed:
        raise ValueError(
            f"{len(unmixed)} test tracks lack {MIXTURE}.wav: {_abbreviated(unmixed)}. Models are"
            " tested on the released mixture, which is not replaced by the sum of the stems"
        )


def _abbreviated(found: Sequence[MusdbTrack], most: int = 5) -> str:
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(str(track.path) for track in found[:most]) + more


Read = tuple[dict[str, torch.Tensor], dict[str, int]]  # name -> samples, name -> sample rate


def _read_files(folder: Path, names: Sequence[str]) -> Read:
    files = _stems_in(folder)
    read = {name: audio_io.read(files[name]) for name in names}
    return {name: read[name][0] for name in names}, {name: read[name][1] for name in names}


def _read_streams(path: Path, names: Sequence[str]) -> Read:
    """Decode the named streams of a `.stem.mp4` with ffmpeg, without temporary files.

    Samples are rounded to 16 bits, as by the package musdb, which published scores used. This
    matters: AAC leaves nothing above 16 kHz, where museval's projections then find only the
    rounding noise; without it SIR, ISR and SAR are up to 20 dB lower.
    """
    streams, order = _probe(path), (MIXTURE, *stem_names.stems_of(path))
    if len(streams) != len(order):
        raise ValueError(
            f"{path} has {len(streams)} audio streams without names; a MUSDB18 file has"
            f" {len(order)}: {', '.join(order)}"
        )
    rates, samples = {}, {}
    for name in names:
        info = streams[order.index(name)]
        stream = f"0:a:{order.index(name)}"
        command = ["ffmpeg", "-v", "error", "-nostdin", "-i", url(path), "-map", stream]
        content = _run([*command, "-f", "s16le", "pipe:1"], path)
        rates[name] = int(info["sample_rate"])
        raw = np.frombuffer(content, "<i2").reshape(-1, info["channels"])
        _check_length(raw, float(info.get("duration", 0.0)) * rates[name], name, path)
        samples[name] = torch.from_numpy(raw.T.astype(np.float32) / 32768)
    return samples, rates


def _probe(path: Path) -> list[dict[str, Any]]:
    """Return ffprobe's description of each audio stream of a file."""
    find_ffmpeg()
    command = ["ffprobe", "-v", "error", "-select_streams", "a", "-show_streams", "-of", "json"]
    return json.loads(_run([*command, url(path)], path))["streams"]


def _run(command: Sequence[str], path: Path) -> bytes:
    """Run a command that reads `path` and return its output.

    Raises:
        ValueError: if the command fails, with the last line of its stderr.
    """
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        errors = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise ValueError(f"{path} cannot be decoded by {command[0]}: {errors[-1]}")
    return done.stdout


def _check_length(raw: np.ndarray, expected: float, name: str, path: Path) -> None:
    """Compare the decoded length with the header: ffmpeg reports no error on a truncated file.

    Raises:
        ValueError: if the stream is truncated.
    """
    if len(raw) < expected - 4 * FRAME:
        raise ValueError(
            f"the {name} of {path} is truncated: {len(raw)} samples of {round(expected)}."
            " Copy or download it again"
        )


def _same_shape(
    samples: Mapping[str, torch.Tensor], rates: Mapping[str, int], path: Path
) -> tuple[dict[str, torch.Tensor], int]:
    """Pad the stems of a song to equal lengths and channels; return them and their sample rate."""
    lengths = {name: stem.shape[-1] for name, stem in samples.items()}
    rate, longest = _check_consistent(rates, lengths, path)
    channels = max(stem.shape[0] for stem in samples.values())
    padded = {
        name: torch.nn.functional.pad(to_channels(stem, channels), (0, longest - length))
        for (name, stem), length in zip(samples.items(), lengths.values(), strict=True)
    }
    return padded, rate


def _check_consistent(
    rates: Mapping[str, int], lengths: Mapping[str, int], path: Path
) -> tuple[int, int]:
    """Return the sample rate of a song's stems and the length of the longest.

    Raises:
        ValueError: if they differ in rate, or in length by more than `LENGTH_TOLERANCE`.
    """
    if len(set(rates.values())) > 1:
        raise ValueError(f"the stems of {path} differ in sample rate ({_listed(rates)}, in Hz)")
    rate = next(iter(rates.values()))
    longest = max(lengths.values())
    if longest - min(lengths.values()) > LENGTH_TOLERANCE * rate:
        raise ValueError(
            f"the stems of {path} differ in length by more than {LENGTH_TOLERANCE} s"
            f" ({_listed(lengths)}, in samples at {rate} Hz)"
        )
    return rate, longest


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
