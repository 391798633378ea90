"""The interface of a track; stems of equal shapes, grouped into the sources of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from asteroid_waveunet.audio.checks import to_channels

__all__ = [
    "LENGTH_TOLERANCE",
    "Extent",
    "Track",
    "check_consistent",
    "group_stems",
    "same_shape",
    "stems_in_last_source",
    "stems_of",
    "sum_groups",
]

MIXTURE = "mixture"
REST = "rest"
ACCOMPANIMENT = "accompaniment"

# Stems of one song may differ in length by the padding of an encoder's frames.
LENGTH_TOLERANCE = 0.1  # seconds


class Extent(NamedTuple):
    """The amount of audio in a track, read from its headers.

    Attributes:
        channels: of the mixture and of every stem.
        frames: samples per channel.
        sample_rate: in Hz.
    """

    channels: int
    frames: int
    sample_rate: int


class Track(Protocol):
    """A song with its stems; `musdb.MusdbTrack` reads one from disk."""

    @property
    def name(self) -> str: ...

    @property
    def subset(self) -> str:
        """Subset: "train" or "test"."""
        ...

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems, sorted, without the mixture."""
        ...

    def extent(self) -> Extent:
        """Return channels, length and sample rate without decoding."""
        ...

    def files(self) -> list[Path]:
        """Return the files that the track is read from."""
        ...

    def read_all(self, names: Iterable[str] | None = None) -> tuple[dict[str, torch.Tensor], int]:
        """Read the named stems (by default all and the mixture) and the sample rate."""
        ...

    def mixture_and_groups(
        self, sources: Sequence[str]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
        """Read the mixture, the groups of `group_stems` and the sample rate."""
        ...

    def mixture(self, sources: Sequence[str]) -> tuple[torch.Tensor, int]:
        """Read the mixture that `mixture_and_groups` returns, and the sample rate."""
        ...


def stems_of(source: str, available: Sequence[str]) -> tuple[str, ...]:
    """Return the stems that sum to a model's source.

    A source named like a stem is that stem; "accompaniment" is every stem but the vocals.

    Raises:
        ValueError: if the available stems do not make up the source.

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
    """Return each source's stems, in the order of `sources`, then those left over as "rest".

    A source may be called "rest": it is the sum of the stems that the other sources do not use.

    Raises:
        ValueError: if there is no source, an unknown one, or two that share a stem.

    >>> group_stems(["vocals"], ["bass", "drums", "vocals"])
    {'vocals': ('vocals',), 'rest': ('bass', 'drums')}
    >>> group_stems(["rest", "vocals"], ["bass", "drums", "vocals"])
    {'rest': ('bass', 'drums'), 'vocals': ('vocals',)}
    """
    if isinstance(sources, str) or not sources:
        raise ValueError(f"expected a list of one or more sources, got {sources!r}")
    if REST in available:
        raise ValueError(f"a stem must not be called {REST!r}: the stems left over have that name")
    named = [source for source in sources if source != REST]
    groups = {source: stems_of(source, available) for source in named}
    used = [stem for source in named for stem in groups[source]]
    twice = sorted({stem for stem in used if used.count(stem) > 1})
    if ACCOMPANIMENT in sources:  # overlaps with its parts even where it is a stem itself
        twice = twice or sorted(set(sources) - {ACCOMPANIMENT, "vocals"})
    if twice:
        raise ValueError(
            f"the sources {', '.join(sources)} overlap: {', '.join(twice)} would be counted twice"
            " in the mixture; name every part of the music once"
        )
    rest = tuple(stem for stem in available if stem not in used)
    if REST in sources and not (rest and named):
        raise ValueError(
            f"the source {REST!r} is the sum of the stems that are no other source; "
            f"{', '.join(sources)} of {', '.join(available)} leave none to tell apart"
        )
    if REST in sources:
        return {source: rest if source == REST else groups[source] for source in sources}
    return {**groups, REST: rest} if rest else groups


def stems_in_last_source(sources: Sequence[str], stems: Sequence[str]) -> list[str]:
    """Return a note on stems that a difference model would count as its last source, if any."""
    rest = group_stems(sources, stems).get(REST, ())
    if not rest or REST in sources:
        return []
    remedy = f"--output direct, or --sources '[{', '.join([*sources, REST])}]'"
    return [
        f"The stems {', '.join(rest)} are in the mixtures but are no source of this model. With "
        f"output: difference, its last source is the mixture less the others: the estimates of "
        f"{sources[-1]!r} would contain them. {remedy} (the sum of the other stems) avoids this."
    ]


def sum_groups(
    samples: Mapping[str, torch.Tensor], groups: Mapping[str, Sequence[str]]
) -> dict[str, torch.Tensor]:
    """Sum each group's stems: group -> `(channels, time)`."""
    return {
        group: torch.stack([samples[stem] for stem in stems]).sum(0)
        for group, stems in groups.items()
    }


def same_shape(
    samples: Mapping[str, torch.Tensor],
    rates: Mapping[str, int],
    path: Path,
    lengths: str = "error",
) -> tuple[dict[str, torch.Tensor], int]:
    """Give the stems of a song equal lengths and channels; return them and their sample rate.

    Args:
        path: of the song, for messages.
        lengths: "error", "pad" (to the longest) or "cut" (to the shortest).
    Raises:
        ValueError: as `check_consistent`.
    """
    frames = {name: stem.shape[-1] for name, stem in samples.items()}
    rate = check_consistent(rates, frames, path, lengths)
    length = (min if lengths == "cut" else max)(frames.values())
    channels = max(stem.shape[0] for stem in samples.values())
    aligned = {
        name: torch.nn.functional.pad(to_channels(stem, channels), (0, length - frames[name]))
        for name, stem in samples.items()
    }
    return aligned, rate


def check_consistent(
    rates: Mapping[str, int], frames: Mapping[str, int], path: Path, lengths: str = "error"
) -> int:
    """Return the sample rate of a song's stems.

    Raises:
        ValueError: if they differ in rate or, for lengths "error", by more than
            `LENGTH_TOLERANCE`.
    """
    if len(set(rates.values())) > 1:
        raise ValueError(f"the stems of {path} differ in sample rate ({_listed(rates)}, in Hz)")
    rate = next(iter(rates.values()))
    difference = max(frames.values()) - min(frames.values())
    if lengths == "error" and difference > LENGTH_TOLERANCE * rate:
        raise ValueError(
            f"the stems of {path} differ in length by more than {LENGTH_TOLERANCE} s"
            f" ({_listed(frames)}, in samples at {rate} Hz); --lengths pad fills them up with"
            " silence, --lengths cut shortens them to the shortest"
        )
    return rate


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
