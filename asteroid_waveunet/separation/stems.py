"""What becomes of estimates on their way into files: which stems, how loud, in which format."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import mp4
from asteroid_waveunet.audio.io import Reader
from asteroid_waveunet.audio.mp4 import STEM_SUFFIX

__all__ = [
    "CLIPS",
    "FORMATS",
    "StemFile",
    "StemFiles",
    "Stems",
    "Target",
    "clamped",
    "subtype_of",
    "without_suffix",
]

Write = Callable[[Tensor], None]
Writing = contextlib.AbstractContextManager[Write]


@dataclass(frozen=True)
class Stems:
    """The signals that are written, each a weighted sum of estimates and mixture.

    >>> Stems.of(("bass", "drums", "vocals"), two_stems="vocals").names
    ('vocals', 'no_vocals')
    """

    names: tuple[str, ...]
    weights: Tensor  # (n_stems, n_src + 1), the mixture's last

    @classmethod
    def of(
        cls,
        sources: Sequence[str],
        two_stems: str | None = None,
        residual: bool = False,
        mixture: bool = False,
    ) -> Stems:
        """A model's sources, or one of them and all the rest.

        Args:
            mixture: whether it comes first, under that name.
            two_stems: the source whose stem is written beside "no_SOURCE", the sum of the others.
            residual: whether "residual" is added, the mixture less all estimates: what lies
                above the model's sample rate, and what a direct model leaves out.
        Raises:
            ValueError: if there is no such source.
        """
        each = torch.eye(len(sources) + 1)
        sums = dict(zip(sources, each, strict=False))
        total, whole = each[:-1].sum(0), each[-1]
        if two_stems is not None:
            if two_stems not in sums:
                raise ValueError(
                    f"The model has no source {two_stems!r}; it has {', '.join(sources)}."
                )
            one = sums[two_stems]
            sums = {two_stems: one, f"no_{two_stems}": total - one}
        added = {MIXTURE: whole} if mixture else {}
        rest = {RESIDUAL: whole - total} if residual else {}
        for name in (*added, *rest):
            if name in sums:
                raise ValueError(
                    f"The model has a source {name!r} of its own: another signal of that name "
                    "cannot stand beside it."
                )
        sums = {**added, **sums, **rest}
        return cls(tuple(sums), torch.stack([*sums.values()]))

    def __call__(self, estimates: Tensor, mixture: Tensor) -> Tensor:
        """`(n_src, channels, n)` and `(channels, n)` -> `(n_stems, channels, n)`."""
        signals = torch.cat((estimates, mixture[None].to(estimates)))
        return torch.einsum("ks,sct->kct", self.weights.to(estimates), signals)


def clamped(stems: Tensor) -> Tensor:
    """Stems within full scale, whose sum stays what it was.

    What is cut off one stem goes to the others, each as far as it has room: with the sum of
    k stems within k times full scale, they have enough of it.

    >>> clamped(torch.tensor([[[1.1]], [[-0.3]]])).flatten()
    tensor([ 1.0000, -0.2000])
    """
    within = stems.clamp(-1, 1)
    excess = (stems - within).sum(dim=0)
    room = 1 - excess.sign() * within
    share = room / room.sum(dim=0).clamp(min=torch.finfo(stems.dtype).tiny)
    return (within + share * excess).clamp(-1, 1)


# What happens to samples beyond full scale where a format cannot hold them.
CLIPS = {
    "clamp": "limit each stem and give what is cut off to the others, so that their sum stays",
    "rescale": "turn all stems of the song down by one gain until none exceeds full scale",
    "none": "leave them: integer formats cut each stem off at full scale",
}

FLOAT = "FLOAT"
MIXTURE, RESIDUAL = "mixture", "residual"
WAV = {"16": "PCM_16", "24": "PCM_24", "float": FLOAT}
FLAC = {"16": "PCM_16", "24": "PCM_24"}
# Suffix: sample formats by their bits. Others than these have none to choose.
FORMATS: dict[str, dict[str, str]] = {
    ".wav": WAV,
    ".flac": FLAC,
    ".mp3": {},
    ".ogg": {},
    STEM_SUFFIX: {},
}
BITS = {"PCM_S8": "16", "PCM_U8": "16", "PCM_16": "16", "PCM_24": "24"}


def without_suffix(name: str) -> str:
    """The name of a song, of its file's.

    >>> without_suffix("a.b.stem.mp4"), without_suffix("a.b.wav")
    ('a.b', 'a.b')
    """
    whole = name.lower().endswith(STEM_SUFFIX)
    stem = name[: -len(STEM_SUFFIX)] if whole else Path(name).stem
    return stem if stem.strip(".") else name  # ".." would be another folder


def subtype_of(suffix: str, bits: str | None, source: str | None) -> str | None:
    """libsndfile's sample format for a stem.

    Args:
        suffix: of `FORMATS`.
        bits: "16", "24" or "float"; None follows the input.
        source: the input's own; with none, or one finer than 24 bits, the finest there is.
    Raises:
        ValueError: if the format has no such bits.
    """
    known = FORMATS[suffix]
    if bits is None:
        finest = list(known.values())[-1] if known else None
        return known.get(BITS.get(source or "", ""), finest)
    if bits not in known:
        holds = " or ".join(known) or "no choice of bits"
        raise ValueError(f"{suffix[1:]} files have {holds}, not {bits}.")
    return known[bits]


class Target(Protocol):
    """Where a song's stems go; `song` is the open input, which they follow."""

    @property
    def paths(self) -> list[Path]: ...

    @property
    def with_mixture(self) -> bool: ...

    def writing(self, names: Sequence[str], song: Reader, clip: str) -> Writing: ...


@dataclass(frozen=True)
class StemFiles:
    """A file a stem, `{name: path}`; they appear when all samples of all stems are written."""

    files: Mapping[str, Path]
    bits: str | None = None
    with_mixture = False

    @property
    def paths(self) -> list[Path]:
        return list(self.files.values())

    @contextlib.contextmanager
    def writing(self, names: Sequence[str], song: Reader, clip: str) -> Iterator[Write]:
        """A function that takes the next samples of all stems, `(len(names), channels, n)`."""
        files = {name: self.files[name] for name in names}
        subtypes = {
            name: subtype_of(path.suffix.lower(), self.bits, song.subtype)
            for name, path in files.items()
        }
        with contextlib.ExitStack() as stack:
            writes = [
                stack.enter_context(
                    audio_io.open_writer(
                        path, song.sample_rate, song.channels, subtypes[name], song.frames
                    )
                )
                for name, path in files.items()
            ]

            def write(stems: Tensor) -> None:
                for write_one, stem in zip(writes, stems, strict=True):
                    write_one(stem)

            holds_all = set(subtypes.values()) == {FLOAT}
            fitting = FITTING["none" if holds_all else clip]
            yield stack.enter_context(fitting(write, names, song, self.paths[0].parent))


@dataclass(frozen=True)
class StemFile:
    """One `.stem.mp4`: the mixture, then the stems, as MUSDB18 has them."""

    path: Path
    with_mixture = True

    @property
    def paths(self) -> list[Path]:
        return [self.path]

    @contextlib.contextmanager
    def writing(self, names: Sequence[str], song: Reader, clip: str) -> Iterator[Write]:
        """A function that takes the next samples, `(len(names), channels, n)`, mixture first."""
        with (
            mp4.open_stem_writer(self.path, names, song.sample_rate, song.channels) as write,
            FITTING[clip](write, names, song, self.path.parent) as fitted,
        ):
            yield fitted


def _as_they_are(write: Write, names: Sequence[str], song: Reader, folder: Path) -> Writing:
    return contextlib.nullcontext(write)


def _clamped(write: Write, names: Sequence[str], song: Reader, folder: Path) -> Writing:
    """Limits the stems together, and a mixture beside them by itself."""
    first = 1 if names[0] == MIXTURE else 0

    def write_clamped(stems: Tensor) -> None:
        write(torch.cat((stems[:first].clamp(-1, 1), clamped(stems[first:]))))

    return contextlib.nullcontext(write_clamped)


@contextlib.contextmanager
def _rescaled(write: Write, names: Sequence[str], song: Reader, folder: Path) -> Iterator[Write]:
    """Keeps all samples in one file of floats until their peak is known."""
    channels, peak = len(names) * song.channels, 1.0
    with tempfile.TemporaryDirectory(prefix=".rescale.", dir=folder) as scratch:
        path = Path(scratch) / "stems.wav"
        with audio_io.open_writer(path, song.sample_rate, channels, FLOAT, song.frames) as keep:

            def write_later(stems: Tensor) -> None:
                nonlocal peak
                peak = max(peak, stems.abs().max().item())
                keep(stems.flatten(0, 1))

            yield write_later
        with audio_io.open_reader(path) as kept:
            for block in kept.blocks(audio_io.BLOCK):
                write(block.unflatten(0, (len(names), -1)) / peak)


FITTING: dict[str, Callable[[Write, Sequence[str], Reader, Path], Writing]] = {
    "clamp": _clamped,
    "rescale": _rescaled,
    "none": _as_they_are,
}
