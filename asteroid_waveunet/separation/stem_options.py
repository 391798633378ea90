"""The options that decide what a song's stems hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asteroid_waveunet.separation.stems import CLIPS, FORMATS, Stems, subtype_of
from asteroid_waveunet.streaming.interface import StreamableModel
from asteroid_waveunet.streaming.options import (
    SeparationOptions,
    check_consistency,
    check_shifts,
)

__all__ = ["StemOptions"]


@dataclass(frozen=True)
class StemOptions:
    """Options that are recorded beside the stems: others separate a song again.

    Attributes:
        stems, two_stems, without, residual: select the stems; see `Stems.of`.
        format: "wav", "flac", "mp3", "ogg" or "stem.mp4".
        bits: bit depth of wav and flac, "16", "24" or "float"; None follows the song.
        clip: one of `stems.CLIPS`.
        precision, shifts, mixture_consistency, channels: see `SeparationOptions`.
        start, duration: the part to separate, in seconds; None: up to the end.
    Raises:
        ValueError: if one is out of range, or the format does not support the bits.
    """

    stems: Sequence[str] | None = None
    two_stems: str | None = None
    without: Sequence[str] = ()
    residual: bool = False
    format: str = "wav"
    bits: str | None = None
    clip: str = "clamp"
    precision: str = "fp32"
    shifts: int = 1
    mixture_consistency: bool = False
    channels: str = "mix"
    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if not self.start >= 0:
            raise ValueError(f"start is {self.start}; expected seconds from 0 on.")
        if self.duration is not None and not self.duration > 0:
            raise ValueError(f"duration is {self.duration}; expected seconds above 0.")
        if self.suffix not in FORMATS:
            known = ", ".join(suffix[1:] for suffix in FORMATS)
            raise ValueError(f"format is {self.format!r}; expected {known}.")
        if self.clip not in CLIPS:
            raise ValueError(f"clip is {self.clip!r}; expected {', '.join(CLIPS)}.")
        subtype_of(self.suffix, self.bits, None)

    @property
    def suffix(self) -> str:
        """Suffix of the stems' files."""
        return f".{self.format}"

    @property
    def selection(self) -> dict[str, Any]:
        """The arguments of `Stems.of` that select stems."""
        names = ("stems", "two_stems", "without", "residual")
        return {name: getattr(self, name) for name in names}

    def names(self, sources: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the stems of a model with these sources; see `Stems.of`."""
        return Stems.of(sources, **self.selection).names

    def separation(self, model: StreamableModel) -> SeparationOptions:
        """Return the options of the separation by a model.

        Raises:
            ValueError: if `shifts` or `mixture_consistency` does not fit the model.
        """
        check_shifts(self.shifts, model.geometry)
        if self.mixture_consistency:
            check_consistency(model.n_src)
        return SeparationOptions(
            self.precision, self.shifts, self.mixture_consistency, channels=self.channels
        )
