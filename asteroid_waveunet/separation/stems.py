"""Turn estimates into files: select stems, fit them to full scale, choose the sample format."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import mp4
from asteroid_waveunet.audio.formats import split_name
from asteroid_waveunet.audio.io import Reader
from asteroid_waveunet.audio.mp4 import STEM_SUFFIX
from asteroid_waveunet.audio.stem_names import in_musdb_order
from asteroid_waveunet.audio.tags import Tags, read_tags
from asteroid_waveunet.file_utils import temporary_beside
from asteroid_waveunet.separation.background import in_background

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
    """The signals to write, each a weighted sum of estimates and mixture.

    >>> Stems.of(("bass", "drums", "vocals"), two_stems="vocals").names
    ('vocals', 'no_vocals')
    """

    names: tuple[str, ...]
    weights: Tensor  # (n_stems, n_src + 1), the mixture last

    @classmethod
    def of(
        cls,
        sources: Sequence[str],
        two_stems: str | None = None,
        residual: bool = False,
        mixture: bool = False,
        stems: Sequence[str] | None = None,
        without: Sequence[str] = (),
    ) -> Stems:
        """Select the stems of a model with these sources.

        Args:
            two_stems: write only this source and "no_SOURCE", the sum of the others; of a model
                with one source, the mixture minus this source.
            residual: add "residual", the mixture minus all estimates: frequencies above the
                model's bandwidth, and what a direct model leaves out.
            mixture: put "mixture" first, then MUSDB18's stems in its order.
            stems: write only these sources. Default: all, or none with `without`.
            without: add "without_SOURCE", the mixture minus these sources' estimates.
        Raises:
            ValueError: if the model does not have a source, has one named like an added signal,
                or the residual would be silent.
        """
        each = torch.eye(len(sources) + 1)
        sums = dict(zip(sources, each, strict=False))
        total, whole = each[:-1].sum(0), each[-1]
        for name in (*([two_stems] if two_stems is not None else ()), *(stems or ()), *without):
            if name not in sums:
                raise ValueError(f"The model has no source {name!r}; it has {', '.join(sources)}.")
        added = {MIXTURE: whole} if mixture else {}
        rest = {RESIDUAL: whole - total} if residual else {}
        if without:
            rest[f"without_{'_'.join(without)}"] = whole - sum(sums[name] for name in without)
        if two_stems is not None:
            one = sums[two_stems]
            others = whole - one if len(sources) == 1 else total - one
            if residual and len(sources) == 1:
                raise ValueError(
                    f"The residual would be silent: no_{two_stems} is all that the model leaves."
                )
            sums = {two_stems: one, f"no_{two_stems}": others}
        elif stems is not None or without:
            sums = {name: sums[name] for name in stems or ()}
        for name in (*added, *rest):
            if name in sums:
                raise ValueError(
                    f"Cannot add the signal {name!r}: the model has a source of that name."
                )
        order = in_musdb_order([*sums]) if mixture else [*sums]
        sums = {**added, **{name: sums[name] for name in order}, **rest}
        return cls(tuple(sums), torch.stack([*sums.values()]))

    def __call__(self, estimates: Tensor, mixture: Tensor) -> Tensor:
        """Mix `(n_src, channels, n)` and `(channels, n)` to `(n_stems, channels, n)`."""
        signals = torch.cat((estimates, mixture[None].to(estimates)))
        return torch.einsum("ks,sct->kct", self.weights.to(estimates), signals)


def clamped(stems: Tensor) -> Tensor:
    """Limit stems to full scale and preserve their sum.

    The excess of one stem is moved to the others, in proportion to their headroom, which
    suffices if the sum of k stems is within k times full scale.

    >>> clamped(torch.tensor([[[1.1]], [[-0.3]]])).flatten()
    tensor([ 1.0000, -0.2000])
    """
    within = stems.clamp(-1, 1)
    excess = (stems - within).sum(dim=0)
    room = 1 - excess.sign() * within
    share = room / room.sum(dim=0).clamp(min=torch.finfo(stems.dtype).tiny)
    return (within + share * excess).clamp(-1, 1)


# Treatments of samples beyond full scale in formats that cannot store them, with help texts.
CLIPS = {
    "clamp": "limit each stem and move the excess to the others, which preserves their sum",
    "rescale": "scale all stems of the song by one gain until none exceeds full scale",
    "none": "no treatment: integer formats clip each stem at full scale",
}

FLOAT = "FLOAT"
MIXTURE, RESIDUAL = "mixture", "residual"
WAV = {"16": "PCM_16", "24": "PCM_24", "float": FLOAT}
FLAC = {"16": "PCM_16", "24": "PCM_24"}
# Suffix -> bits -> sample format; empty if the format offers no choice.
FORMATS: dict[str, dict[str, str]] = {
    ".wav": WAV,
    ".flac": FLAC,
    ".mp3": {},
    ".ogg": {},
    STEM_SUFFIX: {},
}
BITS = {"PCM_S8": "16", "PCM_U8": "16", "PCM_16": "16", "PCM_24": "24"}


def without_suffix(name: str) -> str:
    """Return the name of a song's file without its suffix.

    >>> without_suffix("a.b.stem.mp4"), without_suffix("a.b.wav")
    ('a.b', 'a.b')
    """
    return split_name(name)[0]


def subtype_of(suffix: str, bits: str | None, source: str | None) -> str | None:
    """Return libsndfile's name of the sample format of a stem.

    Args:
        suffix: one of `FORMATS`.
        bits: "16", "24" or "float"; None follows the input.
        source: sample format of the input. For None or one above 24 bits, the format's finest
            is used.
    Raises:
        ValueError: if the file format does not support these bits.
    """
    known = FORMATS[suffix]
    if bits is None:
        finest = list(known.values())[-1] if known else None
        return known.get(BITS.get(source or "", ""), finest)
    if bits not in known:
        supported = f"expected {' or '.join(known)}" if known else "omit the bits"
        raise ValueError(f"{suffix[1:]} files do not support bits {bits}; {supported}.")
    return known[bits]


class Target(Protocol):
    """The files of a song's stems; `song` is the open input, whose format they follow."""

    @property
    def paths(self) -> list[Path]: ...

    @property
    def with_mixture(self) -> bool: ...

    def writing(self, names: Sequence[str], song: Reader, clip: str) -> Writing: ...


@dataclass(frozen=True)
class StemFiles:
    """One file per stem, `{name: path}`; they appear once all stems are complete."""

    files: Mapping[str, Path]
    bits: str | None = None
    with_mixture = False

    @property
    def paths(self) -> list[Path]:
        return list(self.files.values())

    @contextlib.contextmanager
    def writing(self, names: Sequence[str], song: Reader, clip: str) -> Iterator[Write]:
        """Yield a function that writes the next `(len(names), channels, n)` samples."""
        files = {name: self.files[name] for name in names}
        subtypes = {
            name: subtype_of(path.suffix.lower(), self.bits, song.subtype)
            for name, path in files.items()
        }
        tags = _tags_of(song)
        with contextlib.ExitStack() as stack:
            writes = [
                stack.enter_context(
                    audio_io.open_writer(
                        path, song.sample_rate, song.channels, subtypes[name], song.frames, tags
                    )
                )
                for name, path in files.items()
            ]
            write = stack.enter_context(in_background(writes))
            holds_all = set(subtypes.values()) == {FLOAT}
            fitting = FITTING["none" if holds_all else clip]
            yield stack.enter_context(fitting(write, names, song, self.paths[0].parent))


@dataclass(frozen=True)
class StemFile:
    """One `.stem.mp4` file: the mixture, then the stems, as in MUSDB18."""

    path: Path
    with_mixture = True

    @property
    def paths(self) -> list[Path]:
        return [self.path]

    @contextlib.contextmanager
    def writing(self, names: Sequence[str], song: Reader, clip: str) -> Iterator[Write]:
        """Yield a function that writes the next `(len(names), channels, n)` samples."""
        with (
            mp4.open_stem_writer(
                self.path, names, song.sample_rate, song.channels, _tags_of(song)
            ) as write_all,
            in_background([write_all]) as write_first,
            FITTING[clip](
                lambda stems: write_first(stems[None]), names, song, self.path.parent
            ) as fitted,
        ):
            yield fitted


def _tags_of(song: Reader) -> Tags:
    """Return the tags of a song that is a file, not a pipe."""
    path = Path(song.name)
    return read_tags(path) if path.is_file() else Tags()


def _unlimited(write: Write, names: Sequence[str], song: Reader, folder: Path) -> Writing:
    return contextlib.nullcontext(write)


def _clamped(write: Write, names: Sequence[str], song: Reader, folder: Path) -> Writing:
    """Limit the stems jointly, and the mixture separately."""
    first = 1 if names[0] == MIXTURE else 0

    def write_clamped(stems: Tensor) -> None:
        write(torch.cat((stems[:first].clamp(-1, 1), clamped(stems[first:]))))

    return contextlib.nullcontext(write_clamped)


@contextlib.contextmanager
def _rescaled(write: Write, names: Sequence[str], song: Reader, folder: Path) -> Iterator[Write]:
    """Write all samples to a temporary file of floats until their peak is known."""
    channels, peak = len(names) * song.channels, 1.0
    with temporary_beside(folder / "stems.wav") as path:
        with audio_io.open_writer(
            path, song.sample_rate, channels, FLOAT, song.frames
        ) as write_block:

            def write_later(stems: Tensor) -> None:
                nonlocal peak
                peak = max(peak, stems.abs().max().item())
                write_block(stems.flatten(0, 1))

            yield write_later
        with audio_io.open_reader(path) as temporary:
            for block in temporary.blocks(audio_io.BLOCK):
                write(block.unflatten(0, (len(names), -1)) / peak)


FITTING: dict[str, Callable[[Write, Sequence[str], Reader, Path], Writing]] = {
    "clamp": _clamped,
    "rescale": _rescaled,
    "none": _unlimited,
}
