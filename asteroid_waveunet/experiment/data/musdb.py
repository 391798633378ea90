"""MUSDB18 and every data set laid out like it: which tracks there are, and their stems.

root/train/<name>.stem.mp4              MUSDB18: five AAC streams (needs ffmpeg), or
root/train/<name>/{mixture,...}.wav     MUSDB18-HQ: one file a stem, any stem names
root/test/...
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg

__all__ = ["Extent", "Track", "group_stems", "stems_of", "sum_groups", "tracks"]

MIXTURE = "mixture"
REST = "rest"
ACCOMPANIMENT = "accompaniment"
SUBSETS = ("train", "test")
STEM_FILE = ".stem.mp4"

# The order of the streams of a MUSDB18 file: `stem_ids` in musdb's configs/mus.yaml.
STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")

FRAME = 1024  # samples of an AAC frame

# Stems of one song may differ in length by the padding of an encoder's frames, not by music.
LENGTH_TOLERANCE = 0.1  # seconds

LAYOUT = "train/ and test/ with <name>.stem.mp4 files or <name>/{mixture,<stem>...}.wav folders"


def stems_of(source: str, available: Sequence[str]) -> tuple[str, ...]:
    """The stems that a model's source is the sum of.

    A source named as a stem is that stem; "accompaniment" is every stem but the vocals.

    Raises:
        ValueError: if the stems at hand do not make up the source.

    >>> stems_of("accompaniment", ("bass", "drums", "other", "vocals"))
    ('bass', 'drums', 'other')
    """
    if source in available:
        return (source,)
    others = tuple(stem for stem in available if stem != "vocals")
    if source == ACCOMPANIMENT and "vocals" in available and others:
        return others
    raise ValueError(
        f"no stems for the source {source!r}: the data has {', '.join(available)}"
        " (and 'accompaniment', every stem but 'vocals', where there are vocals)"
    )


def group_stems(sources: Sequence[str], available: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Each source's stems, in the sources' order, then "rest": the stems in no source, if any.

    Raises:
        ValueError: if there is no source, an unknown one, or if two share a stem.

    >>> group_stems(["vocals"], ["bass", "drums", "vocals"])
    {'vocals': ('vocals',), 'rest': ('bass', 'drums')}
    """
    if isinstance(sources, str) or not sources:
        raise ValueError(f"expected a list of one or more sources, got {sources!r}")
    if REST in available:
        raise ValueError(f"a stem must not be called {REST!r}: it is the name of what is left over")
    groups = {source: stems_of(source, available) for source in sources}
    used = [stem for source in sources for stem in groups[source]]
    twice = sorted({stem for stem in used if used.count(stem) > 1})
    if ACCOMPANIMENT in sources:  # its parts are in it, even where it is a stem itself
        twice = twice or sorted(set(sources) - {ACCOMPANIMENT, "vocals"})
    if twice:
        raise ValueError(
            f"the sources {', '.join(sources)} overlap: {', '.join(twice)} would be counted twice"
            " in the mixture; name every part of the music once"
        )
    rest = tuple(stem for stem in available if stem not in used)
    return {**groups, REST: rest} if rest else groups


class Extent(NamedTuple):
    """How much audio a track is, as its headers say.

    Attributes:
        channels: of the mixture and of every stem.
        frames: samples per channel.
        sample_rate: in Hz.
    """

    channels: int
    frames: int
    sample_rate: int


@dataclass(frozen=True)
class Track:
    """One song on disk: a `.stem.mp4` file or a folder of wavs.

    Attributes:
        name: the file's or folder's name, which may hold dots.
        subset: "train" or "test".
        path: the file or the folder.
        stems: names of the stems, sorted; the mixture is not among them.
        has_mixture: whether there is a mixture besides the stems.
    """

    name: str
    subset: str
    path: Path
    stems: tuple[str, ...]
    has_mixture: bool = True

    def read(self, name: str) -> tuple[torch.Tensor, int]:
        """One stem, or "mixture": samples `(channels, time)` float32 and the sample rate."""
        samples, rate = self.read_all([name])
        return samples[name], rate

    def read_all(self, names: Iterable[str] | None = None) -> tuple[dict[str, torch.Tensor], int]:
        """The named stems, or all and the mixture: name -> `(channels, time)`, and the rate.

        They come with equal lengths and channels: shorter ones are padded with zeros on the
        right (0.1 s at most), and mono ones among stereo ones are duplicated.

        Raises:
            ValueError: for an unknown name; files that cannot be decoded, hold NaN or infinity, or
                differ in sample rate, or by more than 0.1 s in length.
        """
        known = self.stems + ((MIXTURE,) if self.has_mixture else ())
        names = known if names is None else tuple(names)
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(f"{self.path} has no {unknown}; it has {', '.join(known)}")
        read = _read_streams if self.path.name.endswith(STEM_FILE) else _read_wavs
        samples, rates = read(self.path, names)
        return _same_shape(samples, rates, self.path)

    def extent(self) -> Extent:
        """Channels, length and rate, without decoding anything.

        Raises:
            ValueError: if the headers cannot be read.
        """
        if self.path.name.endswith(STEM_FILE):
            stream = _probe(self.path)[0]
            rate, seconds = int(stream["sample_rate"]), float(stream.get("duration", 0.0))
            return Extent(int(stream["channels"]), round(seconds * rate), rate)
        headers = [audio_io.header(path) for path in _wavs_in(self.path).values()]
        channels = max(header.channels for header in headers)
        frames = max(header.frames for header in headers)
        return Extent(channels, frames, headers[0].samplerate)

    def size(self) -> int:
        """Bytes on disk: tells the full songs from excerpts of the same names."""
        return sum(file.stat().st_size for file in self.files())

    def files(self) -> list[Path]:
        """All that it is read from."""
        return [self.path] if self.path.is_file() else sorted(_wavs_in(self.path).values())

    def check(self, channels: int) -> None:
        """Looks at the headers of a track of wavs, so that what is wrong is known before the work.

        Args:
            channels: of the model that is to separate it.
        Raises:
            ValueError: as `read_all`, or if the channels cannot be converted.
        """
        if self.path.name.endswith(STEM_FILE):
            return
        headers = {name: audio_io.header(path) for name, path in _wavs_in(self.path).items()}
        _check_alike(
            {name: header.samplerate for name, header in headers.items()},
            {name: header.frames for name, header in headers.items()},
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
        """The mixture, the groups of `group_stems`, and the rate; all `(channels, time)`.

        Where the song has no mixture of its own, it is the sum of the stems.
        """
        samples, rate = self.read_all()
        groups = sum_groups(samples, group_stems(sources, self.stems))
        mixture = samples[MIXTURE] if self.has_mixture else torch.stack([*groups.values()]).sum(0)
        return mixture, groups, rate


def sum_groups(
    samples: Mapping[str, torch.Tensor], groups: Mapping[str, Sequence[str]]
) -> dict[str, torch.Tensor]:
    """Each group's sum of stems: group -> `(channels, time)`."""
    return {
        group: torch.stack([samples[stem] for stem in stems]).sum(0)
        for group, stems in groups.items()
    }


def tracks(root: str | os.PathLike, subset: str | None = None) -> list[Track]:
    """The tracks under `root/train` and `root/test`, train first, sorted by name.

    Args:
        root: a folder in the layout of MUSDB18 or MUSDB18-HQ.
        subset: "train" or "test"; None takes both, as far as they are there.

    Raises:
        FileNotFoundError: if the folder, or the subset in it, is missing.
        ValueError: if there are no tracks, or a track lacks a stem or (test) its mixture.
    """
    root = Path(root)
    if subset not in (None, *SUBSETS):
        raise ValueError(f"unknown subset {subset!r}; expected {' or '.join(map(repr, SUBSETS))}")
    if not root.is_dir():
        raise FileNotFoundError(f"there is no data folder {root}; expected {LAYOUT}")
    wanted = [name for name in SUBSETS if subset in (None, name) and (root / name).is_dir()]
    if not wanted:
        missing = f"{subset!r} folder" if subset else "'train' and no 'test' folder"
        raise FileNotFoundError(f"there is no {missing} in {root}; expected {LAYOUT}")
    found = [track for name in wanted for track in _tracks_in(root / name)]
    if not found:
        raise ValueError(f"there are no tracks in {root}/{{{','.join(wanted)}}}; expected {LAYOUT}")
    _check_stems(found)
    return found


def _tracks_in(folder: Path) -> list[Track]:
    """The tracks of one subset, sorted by name; hidden and other files are passed over."""
    found: dict[str, Track] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            names = _wavs_in(path)
            stems = tuple(sorted(name for name in names if name != MIXTURE))
            track = Track(path.name, folder.name, path, stems, MIXTURE in names)
        elif path.name.endswith(STEM_FILE):
            name = path.name.removesuffix(STEM_FILE)
            track = Track(name, folder.name, path, tuple(sorted(STREAMS[1:])))
        else:
            continue
        if track.name in found:
            raise ValueError(f"{path} and {found[track.name].path} are the same track; keep one")
        found[track.name] = track
    return sorted(found.values(), key=lambda track: track.name)


def _wavs_in(folder: Path) -> dict[str, Path]:
    """Stem name -> file, of the wavs in a song's folder."""
    wavs = [path for path in folder.iterdir() if path.suffix.lower() == ".wav"]
    return {path.name[: -len(path.suffix)]: path for path in wavs if path.name[0] != "."}


def _check_stems(found: Sequence[Track]) -> None:
    """Raises ValueError unless all tracks have the same stems and the test ones a mixture."""
    stems = sorted({stem for track in found for stem in track.stems})
    if not stems:
        raise ValueError(f"{found[0].path} and all others hold no stems; expected {LAYOUT}")
    for stem in stems:
        without = [track for track in found if stem not in track.stems]
        if without:
            having = next(track for track in found if stem in track.stems)
            raise ValueError(
                f"{len(without)} of {len(found)} tracks lack the stem {stem!r} that {having.path}"
                f" has: {_some(without)}. All tracks need the same stems; a silent file will do"
            )
    unmixed = [track for track in found if track.subset == "test" and not track.has_mixture]
    if unmixed:
        raise ValueError(
            f"{len(unmixed)} test tracks lack {MIXTURE}.wav: {_some(unmixed)}. Models are tested"
            " on the mixture as it was released, so it is not made up from the stems"
        )


def _some(found: Sequence[Track], most: int = 5) -> str:
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(str(track.path) for track in found[:most]) + more


Read = tuple[dict[str, torch.Tensor], dict[str, int]]  # name -> samples, name -> sample rate


def _read_wavs(folder: Path, names: Sequence[str]) -> Read:
    files = _wavs_in(folder)
    read = {name: audio_io.read(files[name]) for name in names}
    return {name: read[name][0] for name in names}, {name: read[name][1] for name in names}


def _read_streams(path: Path, names: Sequence[str]) -> Read:
    """The named streams of a `.stem.mp4`, decoded in one run of ffmpeg.

    They are rounded to 16 bits, as the package musdb gives them, and so as published scores were
    made of them. It matters: AAC leaves nothing above 16 kHz, where the rounding's noise is then
    all that museval's projections find, and without it SIR, ISR and SAR are up to 20 dB lower.
    """
    streams = _probe(path)
    if len(streams) != len(STREAMS):
        raise ValueError(
            f"{path} has {len(streams)} audio streams; a MUSDB18 file has {len(STREAMS)}:"
            f" {', '.join(STREAMS)}"
        )
    rates, samples = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(path)]
        for name in names:
            stream = f"0:a:{STREAMS.index(name)}"
            command += ["-map", stream, "-f", "s16le", os.path.join(folder, name)]
        _run(command, path)
        for name in names:
            said = streams[STREAMS.index(name)]
            rates[name] = int(said["sample_rate"])
            raw = np.fromfile(os.path.join(folder, name), "<i2").reshape(-1, said["channels"])
            _check_whole(raw, float(said.get("duration", 0.0)) * rates[name], name, path)
            samples[name] = torch.from_numpy(raw.T.astype(np.float32) / 32768)
    return samples, rates


def _probe(path: Path) -> list[dict[str, Any]]:
    """What ffprobe says of each audio stream of a file."""
    find_ffmpeg()
    command = ["ffprobe", "-v", "error", "-select_streams", "a", "-show_streams", "-of", "json"]
    return json.loads(_run([*command, str(path)], path))["streams"]


def _run(command: Sequence[str], path: Path) -> bytes:
    """The output of a command that reads `path`; its complaint as a ValueError if it fails."""
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise ValueError(f"{path} cannot be decoded by {command[0]}: {complaint[-1]}")
    return done.stdout


def _check_whole(raw: np.ndarray, expected: float, name: str, path: Path) -> None:
    """ffmpeg ends well on a file that was cut off; the length in its header tells."""
    if len(raw) < expected - 4 * FRAME:
        raise ValueError(
            f"the {name} of {path} is truncated: {len(raw)} samples of {round(expected)}."
            " Copy or download it again"
        )


def _same_shape(
    samples: Mapping[str, torch.Tensor], rates: Mapping[str, int], path: Path
) -> tuple[dict[str, torch.Tensor], int]:
    """Stems of one song at one length and number of channels, and their one sample rate."""
    lengths = {name: stem.shape[-1] for name, stem in samples.items()}
    rate, longest = _check_alike(rates, lengths, path)
    channels = max(stem.shape[0] for stem in samples.values())
    padded = {
        name: torch.nn.functional.pad(audio_io.to_channels(stem, channels), (0, longest - length))
        for (name, stem), length in zip(samples.items(), lengths.values(), strict=True)
    }
    return padded, rate


def _check_alike(
    rates: Mapping[str, int], lengths: Mapping[str, int], path: Path
) -> tuple[int, int]:
    """The one sample rate of a song's stems and the length of the longest.

    Raises:
        ValueError: if they differ in rate, or by more in length than an encoder's padding.
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
