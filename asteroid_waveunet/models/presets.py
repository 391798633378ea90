"""The paper's models as records, each with the row it comes from.

>>> names()
('M1', 'M2', 'M3', 'M4', 'M5', 'M5-HighSR', 'M6', 'M7')
>>> model = make("M4", levels=3)
>>> model.sources, model.in_channels
(('accompaniment', 'vocals'), 2)
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asteroid_waveunet.models.wave_unet import WaveUNet

__all__ = ["PRESETS", "Preset", "get", "make", "names"]

TWO_SOURCES = ("accompaniment", "vocals")
FOUR_SOURCES = ("bass", "drums", "other", "vocals")


@dataclass(frozen=True)
class Preset:
    """One model of the paper: its name, where it is described, what differs from the defaults.

    `arguments` are `WaveUNet`'s, whose defaults are what all of them share: 12 levels,
    24 + 24 i filters, kernels 15 / 5 / 1, tanh.
    """

    name: str
    source: str
    arguments: dict[str, Any] = field(hash=False)


def _record(name: str, source: str, **arguments: Any) -> Preset:
    return Preset(name, source, arguments)


TABLE = "Stoller et al. 2018, section 4.2 and table 2"

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        _record("M1", TABLE, sources=TWO_SOURCES, output="direct", context=False),
        _record("M2", TABLE, sources=TWO_SOURCES, context=False),
        _record("M3", TABLE, sources=TWO_SOURCES),
        _record("M4", TABLE, sources=TWO_SOURCES, in_channels=2),
        _record("M5", TABLE, sources=TWO_SOURCES, in_channels=2, upsampling="learned"),
        _record(
            "M5-HighSR",
            "after the paper: the authors' code, full_44KHz",
            sources=TWO_SOURCES,
            in_channels=2,
            upsampling="learned",
            sample_rate=44100,
        ),
        _record("M6", TABLE, sources=FOUR_SOURCES, in_channels=2),
        _record(
            "M7",
            TABLE + ": the comparison with the spectrogram U-Net U7",
            sources=TWO_SOURCES,
            initial_filters=34,
            sample_rate=8192,
        ),
    )
}


def names() -> tuple[str, ...]:
    """The names that `make` knows."""
    return tuple(PRESETS)


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def get(name: str) -> Preset:
    """The record of a preset; case and `_` for `-` do not matter.

    Raises:
        ValueError: if there is none of that name; lists those there are.

    >>> get("m5_highsr").arguments["sample_rate"]
    44100
    """
    by_canonical = {_canonical(known): preset for known, preset in PRESETS.items()}
    try:
        return by_canonical[_canonical(name)]
    except KeyError:
        nearest = difflib.get_close_matches(_canonical(name), by_canonical, n=1)
        hint = f" Did you mean {by_canonical[nearest[0]].name}?" if nearest else ""
        known = ", ".join(names())
        raise ValueError(f"There is no preset {name!r}; there are {known}.{hint}") from None


def make(name: str, **overrides: Any) -> WaveUNet:
    """A fresh model of the paper, with any of `WaveUNet`'s arguments replaced.

    Raises:
        ValueError: if there is no such preset or an argument is out of its range.
    """
    from asteroid_waveunet.models.wave_unet import WaveUNet  # imports torch; the records do not

    return WaveUNet(**{**get(name).arguments, **overrides})
