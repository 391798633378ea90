"""List and read the tracks of MUSDB18 and of data sets in its layout.

root/train/<name>.stem.mp4              MUSDB18: five AAC streams (needs ffmpeg), or
root/train/<name>/{mixture,...}.wav     MUSDB18-HQ: one file a stem, any stem names and formats
root/test/...
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import stem_names
from asteroid_waveunet.audio.folders import is_audio_file
from asteroid_waveunet.audio.formats import STEM_SUFFIX, is_hidden_name, split_name
from asteroid_waveunet.experiment.data.ffmpeg import probe, read_streams
from asteroid_waveunet.experiment.data.track import (
    ACCOMPANIMENT,
    LENGTH_TOLERANCE,
    MIXTURE,
    Extent,
    check_consistent,
    group_stems,
    same_shape,
    sum_groups,
)
from asteroid_waveunet.experiment.settings import LENGTHS, MISSING_STEMS, check_choice
from asteroid_waveunet.file_utils import nfc

__all__ = ["MusdbTrack", "notes", "tracks"]

SUBSETS = ("train", "test")

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
        silent: those of `stems` that have no file, and are silence.
        lengths: treatment of stems that differ in length by more than 0.1 s: "error", "pad" (with
            zeros, to the longest) or "cut" (to the shortest).
    """

    name: str
    subset: str
    path: Path
    stems: tuple[str, ...]
    has_mixture: bool = True
    silent: tuple[str, ...] = ()
    lengths: str = "error"

    def read(self, name: str) -> tuple[torch.Tensor, int]:
        """Read one stem or "mixture": float32 samples `(channels, time)` and the sample rate."""
        samples, rate = self.read_all([name])
        return samples[name], rate

    def read_all(self, names: Iterable[str] | None = None) -> tuple[dict[str, torch.Tensor], int]:
        """Read the named stems, by default all and the mixture: `(channels, time)`, and the rate.

        All have equal lengths and channels: shorter stems are padded with zeros on the right (at
        most 0.1 s, unless `lengths` says otherwise), and mono stems among stereo ones are
        duplicated.

        Raises:
            ValueError: for an unknown name, or files that cannot be decoded, contain NaN or
                infinity, or differ in sample rate or by more than 0.1 s in length.
        """
        known = self.stems + ((MIXTURE,) if self.has_mixture else ())
        names = known if names is None else tuple(names)
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(f"{self.path} has no {unknown}; it has {', '.join(known)}")
        read = read_streams if self.path.name.endswith(STEM_SUFFIX) else _read_files
        on_disk = [name for name in known if name not in self.silent]
        samples, rates = read(self.path, [n for n in names if n in on_disk] or on_disk[:1])
        aligned, rate = same_shape(samples, rates, self.path, self.lengths)
        silence = torch.zeros_like(next(iter(aligned.values())))
        return {name: aligned.get(name, silence) for name in names}, rate

    def extent(self) -> Extent:
        """Return channels, length and sample rate without decoding.

        Raises:
            ValueError: if the headers cannot be read.
        """
        if self.path.name.endswith(STEM_SUFFIX):
            stream = probe(self.path)[0]
            rate, seconds = int(stream["sample_rate"]), float(stream.get("duration", 0.0))
            return Extent(int(stream["channels"]), round(seconds * rate), rate)
        files = self.files()
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
        headers = {name: audio_io.header(path) for name, path in _stems_in(self.path).items()}
        rates = {name: header.sample_rate for name, header in headers.items()}
        check_consistent(rates, self._frames(), self.path, self.lengths)
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

    def mixture(self, sources: Sequence[str]) -> tuple[torch.Tensor, int]:
        """Read the mixture as `mixture_and_groups` does, and the sample rate.

        The stems are decoded only if they may change its length or channels.
        """
        if self.has_mixture and len(set(self._shapes())) == 1:
            return self.read(MIXTURE)
        mixture, _, rate = self.mixture_and_groups(sources)
        return mixture, rate

    def _shapes(self) -> list[tuple]:
        """Return what headers tell of the shape of the mixture and each stem."""
        if self.path.name.endswith(STEM_SUFFIX):
            keys = ("sample_rate", "channels", "duration_ts", "nb_frames")
            return [tuple(stream.get(key) for key in keys) for stream in probe(self.path)]
        files = self.files()
        headers = [audio_io.header(file) for file in files]
        frames = [audio_io.count_frames(file) for file in files]
        return [(h.sample_rate, h.channels, n) for h, n in zip(headers, frames, strict=True)]

    def uneven(self) -> bool:
        """Return True if files differ in length by more than 0.1 s; those of `.stem.mp4` do not."""
        if self.path.name.endswith(STEM_SUFFIX):
            return False
        frames = self._frames().values()
        rate = audio_io.header(self.files()[0]).sample_rate
        return max(frames) - min(frames) > LENGTH_TOLERANCE * rate

    def _frames(self) -> dict[str, int]:
        """Return the samples per channel of each file."""
        return {name: audio_io.count_frames(path) for name, path in _stems_in(self.path).items()}


def tracks(
    root: str | os.PathLike,
    subset: str | None = None,
    missing_stems: str = "error",
    lengths: str = "error",
) -> list[MusdbTrack]:
    """List the tracks under `root/train` and `root/test`, train first, sorted by name.

    Args:
        root: a folder in the layout of MUSDB18 or MUSDB18-HQ.
        subset: "train" or "test"; None takes those that exist.
        missing_stems: "error", or "silence" for stems that other tracks under `root` have.
        lengths: "error", "pad" or "cut"; see `MusdbTrack`.

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
    check_choice("missing_stems", missing_stems, MISSING_STEMS)
    check_choice("lengths", lengths, LENGTHS)
    found = [track for name in subsets for track in _tracks_in(root / name, lengths)]
    if not found:
        raise ValueError(f"no tracks in {root}/{{{','.join(subsets)}}}; expected {LAYOUT}")
    if missing_stems == "silence":
        others = [name for name in SUBSETS if name not in subsets and (root / name).is_dir()]
        found = _completed(found, [track for name in others for track in _tracks_in(root / name)])
    _check_stems(found)
    return found


def notes(found: Sequence[MusdbTrack]) -> list[str]:
    """Return notes on tracks with silent stems or stems of different lengths, if there are any."""
    silent = [f"{t.subset}/{t.name} ({', '.join(t.silent)})" for t in found if t.silent]
    uneven = [f"{t.subset}/{t.name}" for t in found if t.lengths != "error" and t.uneven()]
    treatment = "padded with silence" if found[0].lengths == "pad" else "cut to the shortest"
    said = {
        "lack stems, which count as silence": silent,
        f"have stems of different lengths, which are {treatment}": uneven,
    }
    return [
        f"{len(names)} of {len(found)} tracks {what}: {_abbreviated(names)}"
        for what, names in said.items()
        if names
    ]


def _tracks_in(folder: Path, lengths: str = "error") -> list[MusdbTrack]:
    """List the tracks of one subset, sorted by name; hidden and other files are skipped."""
    found: dict[str, MusdbTrack] = {}
    for path in sorted(folder.iterdir()):
        if is_hidden_name(path.name):
            continue
        if path.is_dir():
            names = _stems_in(path)
            stems = tuple(sorted(name for name in names if name != MIXTURE))
            has_mixture = MIXTURE in names
            track = MusdbTrack(path.name, folder.name, path, stems, has_mixture, lengths=lengths)
        elif path.name.endswith(STEM_SUFFIX):
            name = path.name.removesuffix(STEM_SUFFIX)
            stems = tuple(sorted(stem_names.stems_of(path)))
            track = MusdbTrack(name, folder.name, path, stems, lengths=lengths)
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
        stem = nfc(split_name(path.name)[0])
        stem = MIXTURE if stem.lower() == MIXTURE else stem
        if found.setdefault(stem, path) != path:
            raise ValueError(f"{found[stem]} and {path} are of the same stem; keep one")
    return found


def _completed(found: list[MusdbTrack], others: list[MusdbTrack]) -> list[MusdbTrack]:
    """Return tracks with all stems that any has, those without a file as silence.

    Args:
        others: tracks of the other subset.
    Raises:
        ValueError: if a track has no stem at all, or lacks the accompaniment but not its parts.
    """
    stems = tuple(sorted({stem for track in [*found, *others] for stem in track.stems}))
    for track in found:
        if stems and not track.stems:
            raise ValueError(f"{track.path} has no stems at all; remove it, or add one")
        parts = set(track.stems) - {"vocals"}
        if ACCOMPANIMENT in stems and ACCOMPANIMENT not in track.stems and parts:
            raise ValueError(
                f"{track.path} lacks the stem {ACCOMPANIMENT!r} and has {', '.join(parts)}; "
                "silence would be wrong. Add the sum of these as a file"
            )
    silent = ([stem for stem in stems if stem not in track.stems] for track in found)
    return [
        dataclasses.replace(track, stems=stems, silent=tuple(missing))
        for track, missing in zip(found, silent, strict=True)
    ]


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
                f" has: {_abbreviated([t.path for t in without])}. All tracks need the same stems;"
                " --missing-stems silence takes silence for those that are missing"
            )
    unmixed = [track for track in found if track.subset == "test" and not track.has_mixture]
    if unmixed:
        raise ValueError(
            f"{len(unmixed)} test tracks lack {MIXTURE}.wav: "
            f"{_abbreviated([t.path for t in unmixed])}. Models are tested on the released mixture,"
            " which is not replaced by the sum of the stems"
        )


def _abbreviated(names: Sequence[object], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


Read = tuple[dict[str, torch.Tensor], dict[str, int]]  # name -> samples, name -> sample rate


def _read_files(folder: Path, names: Sequence[str]) -> Read:
    files = _stems_in(folder)
    read = {name: audio_io.read(files[name]) for name in names}
    return {name: read[name][0] for name in names}, {name: read[name][1] for name in names}
