"""The paper's models as presets, each with its source.

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
    """A model of the paper.

    Attributes:
        name: in the paper.
        source: where it is described.
        arguments: of `WaveUNet`, where they differ from the defaults that the models share:
            12 levels, 24 + 24 i filters, kernels 15 / 5 / 1, tanh.
    """

    name: str
    source: str
    arguments: dict[str, Any] = field(hash=False)


TABLE = "Stoller et al. 2018, section 4.2 and table 2"

PRESETS: dict[str, Preset] = {
    name: Preset(name, source, arguments)
    for name, source, arguments in (
        ("M1", TABLE, dict(sources=TWO_SOURCES, output="direct", context=False)),
        ("M2", TABLE, dict(sources=TWO_SOURCES, context=False)),
        ("M3", TABLE, dict(sources=TWO_SOURCES)),
        ("M4", TABLE, dict(sources=TWO_SOURCES, in_channels=2)),
        ("M5", TABLE, dict(sources=TWO_SOURCES, in_channels=2, upsampling="learned")),
        (
            "M5-HighSR",
            "after the paper: the authors' code, full_44KHz",
            dict(sources=TWO_SOURCES, in_channels=2, upsampling="learned", sample_rate=44100),
        ),
        ("M6", TABLE, dict(sources=FOUR_SOURCES, in_channels=2)),
        (
            "M7",
            f"{TABLE}: the comparison with the spectrogram U-Net U7",
            dict(sources=TWO_SOURCES, initial_filters=34, sample_rate=8192),
        ),
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all presets."""
    return tuple(PRESETS)


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def get(name: str) -> Preset:
    """Return a preset by name, ignoring case and the difference between `_` and `-`.

    Raises:
        ValueError: if the name is unknown; lists the known ones.

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
        raise ValueError(f"Unknown preset {name!r}; expected one of {known}.{hint}") from None


def make(name: str, **overrides: Any) -> WaveUNet:
    """Build an untrained model of the paper; `overrides` are arguments of `WaveUNet`.

    Raises:
        ValueError: if the preset is unknown or an argument is out of its range.
    """
    from asteroid_waveunet.models.wave_unet import WaveUNet  # imports torch; the records do not

    return WaveUNet(**{**get(name).arguments, **overrides})
