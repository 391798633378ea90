"""Estimates that need no model: the mixture, the ideal ratio mask, a folder of audio files.

Worker processes import this module, so it imports neither Asteroid nor the networks;
`separator.Separator` runs a model.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.formats import is_audio_name, split_name
from asteroid_waveunet.experiment.data.track import (
    LENGTH_TOLERANCE,
    MIXTURE,
    Track,
    group_stems,
)
from asteroid_waveunet.experiment.evaluation.metrics.windows import Audio
from asteroid_waveunet.file_utils import nfc

__all__ = [
    "Estimator",
    "Folder",
    "IdealRatioMask",
    "Mixture",
    "Precomputed",
    "TrackAudio",
    "add_complement",
    "estimates_of_targets",
    "sources_of_targets",
]


@dataclass(frozen=True)
class TrackAudio:
    """The samples of a track.

    Attributes:
        mixture: `(channels, time)`.
        references: target -> `(channels, time)`, and "rest", the stems in none of the targets.
        sample_rate: in Hz.
    """

    mixture: Tensor
    references: Mapping[str, Tensor]
    sample_rate: int


class Estimator(Protocol):
    """Estimates of a track's sources: source -> `(channels, time)`, as long as the mixture."""

    def __call__(self, track: Track, audio: TrackAudio) -> Mapping[str, Audio]: ...


@dataclass(frozen=True)
class Precomputed:
    """Estimates computed before, in memory."""

    estimates: Mapping[str, Audio]

    def __call__(self, track: Track, audio: TrackAudio) -> Mapping[str, Audio]:
        return self.estimates


class Mixture:
    """The mixture as the estimate of every source: the baseline that separation has to beat."""

    def __call__(self, track: Track, audio: TrackAudio) -> Mapping[str, Audio]:
        return dict.fromkeys(audio.references, audio.mixture)


class IdealRatioMask:
    """An oracle: the mixture's STFT times each source's true share of the power.

        mask_i = |S_i|^2 / sum_j |S_j|^2

    Hann windows of about 46 ms (2048 samples at 44.1 kHz) overlap by three quarters. The masks sum
    to one, so the estimates sum to the mixture. A separator that only weighs the mixture's
    spectrum can hardly do better (SiSEC 2018 calls this oracle IRM2).
    """

    SECONDS = 2048 / 44100

    def __call__(self, track: Track, audio: TrackAudio) -> Mapping[str, Audio]:
        result = {source: torch.empty_like(audio.mixture) for source in audio.references}
        for channel, mixture in enumerate(audio.mixture):  # one at a time takes half the memory
            references = {source: x[channel] for source, x in audio.references.items()}
            for source, estimate in self._estimates(mixture, references, audio.sample_rate):
                result[source][channel] = estimate
        return result

    def _estimates(
        self, mixture: Tensor, references: Mapping[str, Tensor], sample_rate: int
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield each source's name and estimate, `(time,)`."""
        n_fft = 2 ** round(math.log2(self.SECONDS * sample_rate))
        how = {"n_fft": n_fft, "hop_length": n_fft // 4, "window": torch.hann_window(n_fft)}

        def spectrum(samples: Tensor) -> Tensor:
            return torch.stft(samples, **how, pad_mode="constant", return_complex=True)

        powers, total = {}, torch.zeros(())
        for source, samples in references.items():
            tiny = torch.finfo(torch.float32).tiny
            found = spectrum(samples)
            powers[source] = found.real.square().addcmul_(found.imag, found.imag).add_(tiny)
            total = total + powers[source]
        whole = spectrum(mixture)
        for source in references:
            masked = whole * powers.pop(source).div_(total)
            yield source, torch.istft(masked, **how, length=len(mixture))


@dataclass(frozen=True)
class Folder:
    """Audio files of estimates: `ROOT/[SUBSET/]TRACK/[mixture/]SOURCE.wav`, or flac, mp3, ogg.

    This is MUSDB18's layout and the output of `waveunet separate`.

    Attributes:
        root: the folder.
        sources: names of the files to read.
        lengths: as of `MusdbTrack`; unless it is "error", estimates follow the mixture's length.
    """

    root: Path
    sources: tuple[str, ...]
    lengths: str = "error"

    @classmethod
    def find(
        cls, root: str | os.PathLike, tracks: Sequence[Track], lengths: str = "error"
    ) -> Folder:
        """Return a folder with all sources that any of the tracks has a file of.

        Raises:
            FileNotFoundError: if the folder does not exist or has no file for these tracks.
        """
        root = Path(root)
        names = {name for track in tracks for name in _audio_files(root, track)} - {MIXTURE}
        if not names:
            raise FileNotFoundError(
                f"There are no estimates of these {len(tracks)} tracks in {root}; expected files "
                f"such as {root}/{tracks[0].subset}/{tracks[0].name}/vocals.wav."
            )
        return cls(root, tuple(sorted(names)), lengths)

    def __call__(self, track: Track, audio: TrackAudio) -> Mapping[str, Audio]:
        """Read the estimates of a track.

        Raises:
            FileNotFoundError: if a source has no file.
            ValueError: if a file cannot be decoded, has another rate, or differs from the mixture
                in length by more than an encoder's padding (0.1 s). Smaller differences are cut or
                padded with zeros.
        """
        files = _audio_files(self.root, track)
        missing = [source for source in self.sources if source not in files]
        if missing:
            raise FileNotFoundError(
                f"no estimate of {', '.join(missing)} in {self.root}; expected "
                f"{track.subset}/{track.name}/{missing[0]}.wav"
            )
        return {source: _read(files[source], audio, self.lengths) for source in self.sources}

    def files(self, track: Track) -> list[Path]:
        """Return the existing files of a track's sources."""
        files = _audio_files(self.root, track)
        return [files[source] for source in self.sources if source in files]


def sources_of_targets(
    targets: Sequence[str], sources: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the sources whose estimates sum to each target.

    Raises:
        ValueError: if the sources do not make up a target.

    >>> sources_of_targets(["accompaniment"], ["bass", "drums", "vocals"])
    {'accompaniment': ('bass', 'drums')}
    """
    if set(targets) <= set(sources):
        return {target: (target,) for target in targets}
    try:
        groups = group_stems(targets, sources)
    except ValueError as reason:
        missing = [target for target in targets if target not in sources]
        raise ValueError(
            f"no estimate of {', '.join(missing)}; there are {', '.join(sources) or 'none'}"
        ) from reason
    return {target: groups[target] for target in targets}


def estimates_of_targets(
    estimates: Mapping[str, Audio], targets: Sequence[str]
) -> dict[str, Audio]:
    """Sum the sources' estimates to those of the targets; see `sources_of_targets`.

    >>> estimates = {"bass": torch.ones(1), "drums": torch.ones(1), "vocals": torch.zeros(1)}
    >>> estimates_of_targets(estimates, ["accompaniment"])
    {'accompaniment': tensor([2.])}
    """
    return {
        target: estimates[target]
        if names == (target,)
        else torch.stack([torch.as_tensor(estimates[name]) for name in names]).sum(0)
        for target, names in sources_of_targets(targets, tuple(estimates)).items()
    }


def add_complement(
    estimates: Mapping[str, Audio], complement: str, mixture: Tensor
) -> dict[str, Audio]:
    """Add the estimate of the complement of a single target: the mixture minus its estimate.

    Raises:
        ValueError: if the estimate and the mixture differ in length.
    """
    ((target, estimate),) = estimates.items()
    estimate = torch.as_tensor(estimate)
    if estimate.shape[-1] != mixture.shape[-1]:
        raise ValueError(
            f"the estimate of {target} has {estimate.shape[-1]} samples and the mixture "
            f"{mixture.shape[-1]}; expected the same length"
        )
    return {target: estimate, complement: mixture - estimate}


def _audio_files(root: Path, track: Track) -> dict[str, Path]:
    """Return the audio files of a track's estimates: name -> file."""
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    for song in (_entry(root / track.subset, track.name), _entry(root, track.name)):
        for folder in (song, song / MIXTURE):
            files = sorted(folder.glob("[!.]*")) if folder.is_dir() else []
            found: dict[str, Path] = {}
            for file in files:
                if is_audio_name(file.name):
                    other = found.setdefault(nfc(split_name(file.name)[0]), file)
                    if other != file:
                        raise ValueError(f"{other} and {file} are of the same source; keep one")
            if found:
                return found
    return {}


def _entry(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder; if it is missing, one of the same letters."""
    path = folder / name
    if name.isascii() or path.exists() or not folder.is_dir():
        return path
    return next((other for other in folder.iterdir() if nfc(other.name) == nfc(name)), path)


def _read(path: Path, audio: TrackAudio, lengths: str) -> Tensor:
    samples, rate = audio_io.read(path)
    length = audio.mixture.shape[-1]
    if rate != audio.sample_rate:
        raise ValueError(
            f"{path} has {rate} Hz and the track {audio.sample_rate}; resample the estimates first"
        )
    if lengths == "error" and abs(samples.shape[-1] - length) > LENGTH_TOLERANCE * rate:
        raise ValueError(
            f"{path} has {samples.shape[-1]} samples and the mixture {length}; --lengths pad or "
            "--lengths cut allows this"
        )
    return F.pad(samples, (0, length - samples.shape[-1]))
