"""Where estimates come from: a model, a folder, the mixture as it is, an oracle."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.experiment.data.musdb import LENGTH_TOLERANCE
from asteroid_waveunet.experiment.data.track import MIXTURE, Track, group_stems
from asteroid_waveunet.experiment.evaluation.bss_eval import Audio
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.separation.batch import SUFFIXES
from asteroid_waveunet.separation.separate import separate_at_rate
from asteroid_waveunet.streaming.options import DEFAULT_OPTIONS, SeparationOptions

__all__ = ["Estimator", "Folder", "Given", "IdealRatioMask", "Mixture", "Parts", "Separator"]


@dataclass(frozen=True)
class Parts:
    """What a track is made of.

    Attributes:
        mixture: `(channels, time)`.
        references: of every target, and "rest", what is in none of them; `(channels, time)`.
        sample_rate: in Hz.
    """

    mixture: Tensor
    references: Mapping[str, Tensor]
    sample_rate: int


class Estimator(Protocol):
    """Estimates of a track's sources: source -> `(channels, time)`, as long as the mixture."""

    def __call__(self, track: Track, parts: Parts) -> Mapping[str, Audio]: ...


@dataclass(frozen=True)
class Separator:
    """What a function makes of the mixture; it runs in the calling process.

    Attributes:
        separate: `(mixture (channels, time), sample_rate)` -> source -> `(channels, time)`.
    """

    separate: Callable[[Tensor, int], Mapping[str, Audio]]

    def __call__(self, track: Track, parts: Parts) -> Mapping[str, Audio]:
        return self.separate(parts.mixture, parts.sample_rate)

    @classmethod
    def of(cls, model: SourceModel, options: SeparationOptions = DEFAULT_OPTIONS) -> Separator:
        """A model, on the device where it is.

        A mono model is given the channels' mean, and its estimates stand for both channels, as
        the paper scores M1 to M3 and M7.

        Args:
            options: of the separation.
        """

        def separate(mixture: Tensor, sample_rate: int) -> Mapping[str, Audio]:
            if model.in_channels == 1:
                mixture = to_channels(mixture, 1)
            estimates = separate_at_rate(model, mixture, sample_rate, options)
            return dict(zip(model.sources, estimates, strict=True))

        return cls(separate)

    @classmethod
    def in_segments(cls, model: SourceModel, output_length: int) -> Separator:
        """The reference's segment-wise prediction, which the paper scored.

        Args:
            output_length: samples a segment; see `SourceModel.predict_track`.
        """

        def separate(mixture: Tensor, sample_rate: int) -> Mapping[str, Audio]:
            track = resample(mixture, sample_rate, model.sample_rate)
            found = model.predict_track(track, output_length).to(mixture)
            found = found.reshape(model.n_src, model.in_channels, -1)
            found = resample(found, model.sample_rate, sample_rate, mixture.shape[-1])
            return dict(zip(model.sources, to_channels(found, len(mixture)), strict=True))

        return cls(separate)

    @classmethod
    def as_scored(
        cls, model: SourceModel, segment_length: int | None, fit_levels: bool
    ) -> Separator:
        """`in_segments` of that many samples, or `of` where it is None; `fitted` if so asked."""
        if segment_length is None:
            separator = cls.of(model)
        else:
            separator = cls.in_segments(model, segment_length)
        return separator.fitted() if fit_levels else separator

    def fitted(self) -> Separator:
        """The same, each estimate times a gain: together they are as near to the mixture as can be.

        The gains g minimise sum |mixture - sum_i g_i * s_i| ** 2 over all samples of the track.
        That needs no true source, and settles the levels (and signs) which a loss that is
        invariant to them leaves open.
        """

        def separate(mixture: Tensor, sample_rate: int) -> Mapping[str, Audio]:
            found = self.separate(mixture, sample_rate)
            wide = [torch.as_tensor(s).expand_as(mixture).flatten() for s in found.values()]
            columns = torch.stack(wide).double()
            products, wanted = columns @ columns.T, columns @ mixture.flatten().to(columns)
            if not products.isfinite().all():
                return found  # and no score, which says why
            gains = torch.linalg.pinv(products, hermitian=True) @ wanted  # zero for silence
            return {
                name: torch.as_tensor(samples) * gain.to(torch.float32)
                for (name, samples), gain in zip(found.items(), gains, strict=True)
            }

        return Separator(separate)


@dataclass(frozen=True)
class Given:
    """Estimates that are there already."""

    estimates: Mapping[str, Audio]

    def __call__(self, track: Track, parts: Parts) -> Mapping[str, Audio]:
        return self.estimates


class Mixture:
    """The mixture as the estimate of everything: what separation has to be better than."""

    def __call__(self, track: Track, parts: Parts) -> Mapping[str, Audio]:
        return dict.fromkeys(parts.references, parts.mixture)


class IdealRatioMask:
    """An oracle: the mixture's short-time spectrum times each source's true share of the power.

        mask_i = |S_i|^2 / sum_j |S_j|^2

    Windows are Hann's of about 46 ms (2048 samples at 44.1 kHz), a quarter apart. The masks sum
    to one, so the estimates sum to the mixture. A separator that only weighs the mixture's
    spectrum can hardly do better (SiSEC 2018 calls this oracle IRM2).
    """

    SECONDS = 2048 / 44100

    def __call__(self, track: Track, parts: Parts) -> Mapping[str, Audio]:
        n_fft = 2 ** round(math.log2(self.SECONDS * parts.sample_rate))
        window, hop, length = torch.hann_window(n_fft), n_fft // 4, parts.mixture.shape[-1]

        def spectrum(samples: Tensor) -> Tensor:
            return torch.stft(
                samples, n_fft, hop, window=window, pad_mode="constant", return_complex=True
            )

        def power(samples: Tensor) -> Tensor:
            return spectrum(samples).abs().square_().add_(torch.finfo(torch.float32).tiny)

        mixture, total = spectrum(parts.mixture), torch.zeros(())
        for samples in parts.references.values():
            total = total + power(samples)
        return {
            source: torch.istft(
                mixture * (power(samples) / total), n_fft, hop, window=window, length=length
            )
            for source, samples in parts.references.items()
        }


@dataclass(frozen=True)
class Folder:
    """Audio files of estimates: `ROOT/[SUBSET/]TRACK/[mixture/]SOURCE.wav`, or flac, mp3, ogg.

    That is MUSDB18's layout, and what `waveunet separate` leaves.

    Attributes:
        root: the folder.
        sources: names of the files to read.
    """

    root: Path
    sources: tuple[str, ...]

    def __call__(self, track: Track, parts: Parts) -> Mapping[str, Audio]:
        """
        Raises:
            FileNotFoundError: if a source has no file.
            ValueError: if one cannot be decoded, is of another rate, or longer or shorter than the
                mixture by more than an encoder's padding (0.1 s); less is cut or filled with zeros.
        """
        found = _audio_in(self.root, track)
        missing = [source for source in self.sources if source not in found]
        if missing:
            raise FileNotFoundError(
                f"no estimate of {', '.join(missing)} in {self.root}; expected "
                f"{track.subset}/{track.name}/{missing[0]}.wav"
            )
        return {source: _read(found[source], parts) for source in self.sources}

    def files(self, track: Track) -> list[Path]:
        """Those of a track's sources, as far as they are there."""
        found = _audio_in(self.root, track)
        return [found[source] for source in self.sources if source in found]

    @classmethod
    def of(cls, root: str | os.PathLike, tracks: Sequence[Track]) -> Folder:
        """A folder and the sources that it has files of, for any of the tracks.

        Raises:
            FileNotFoundError: if there is no such folder, or nothing for these tracks in it.
        """
        root = Path(root)
        names = {name for track in tracks for name in _audio_in(root, track)} - {MIXTURE}
        if not names:
            raise FileNotFoundError(
                f"There are no estimates of these {len(tracks)} tracks in {root}; expected files "
                f"such as {root}/{tracks[0].subset}/{tracks[0].name}/vocals.wav."
            )
        return cls(root, tuple(sorted(names)))


def parts_of(targets: Sequence[str], sources: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which sources' estimates make up each target.

    Raises:
        ValueError: if they do not make up a target.

    >>> parts_of(["accompaniment"], ["bass", "drums", "vocals"])
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


def for_targets(given: Mapping[str, Audio], targets: Sequence[str]) -> dict[str, Audio]:
    """Estimates of the targets; accompaniment may be the sum of all others but the vocals.

    Raises:
        ValueError: as `parts_of`.

    >>> given = {"bass": torch.ones(1), "drums": torch.ones(1), "vocals": torch.zeros(1)}
    >>> for_targets(given, ["accompaniment"])
    {'accompaniment': tensor([2.])}
    """
    return {
        target: given[target]
        if names == (target,)
        else torch.stack([torch.as_tensor(given[name]) for name in names]).sum(0)
        for target, names in parts_of(targets, tuple(given)).items()
    }


def with_rest(estimates: Mapping[str, Audio], beside: str, mixture: Tensor) -> dict[str, Audio]:
    """One estimate, and `beside` it the rest of the mixture, which is the mixture minus it."""
    ((name, alone),) = estimates.items()
    alone = torch.as_tensor(alone)
    if alone.shape[-1] != mixture.shape[-1]:
        lengths = f"{alone.shape[-1]} samples, the mixture {mixture.shape[-1]}"
        raise ValueError(f"the estimate of {name} has {lengths}; expected as many")
    return {name: alone, beside: mixture - alone}


def _audio_in(root: Path, track: Track) -> dict[str, Path]:
    """Name -> file of a track's estimates."""
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    for song in (root / track.subset / track.name, root / track.name):
        for folder in (song, song / MIXTURE):
            files = sorted(folder.glob("[!.]*")) if folder.is_dir() else []
            found: dict[str, Path] = {}
            for file in files:
                if file.suffix.lower() in SUFFIXES:
                    other = found.setdefault(file.name[: -len(file.suffix)], file)
                    if other != file:
                        raise ValueError(f"{other} and {file} are of the same source; keep one")
            if found:
                return found
    return {}


def _read(path: Path, parts: Parts) -> Tensor:
    samples, rate = audio_io.read(path)
    length = parts.mixture.shape[-1]
    if rate != parts.sample_rate:
        raise ValueError(
            f"{path} has {rate} Hz and the track {parts.sample_rate}; resample the estimates first"
        )
    if abs(samples.shape[-1] - length) > LENGTH_TOLERANCE * rate:
        raise ValueError(f"{path} has {samples.shape[-1]} samples and the mixture {length}")
    return F.pad(samples, (0, length - samples.shape[-1]))
