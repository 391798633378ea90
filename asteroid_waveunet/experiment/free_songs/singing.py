"""Sing recorded phrases to a song: draw a singer, fit, place and mix the phrases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asteroid_waveunet.experiment.demo_songs.composition import STEPS, Sheet
from asteroid_waveunet.experiment.demo_songs.synthesis import Signal, pan
from asteroid_waveunet.experiment.free_songs import effects
from asteroid_waveunet.experiment.free_songs.phrases import Choir, fit, read_phrase

__all__ = ["Singer", "draw_singer", "sing"]

MAX_SHIFT = 7  # semitones
TEMPOS = (0.8, 1.2)  # of the phrases
FORMANTS = (0.78, 1.3)
MAX_DRAWS = 200  # phrases drawn for a song; ends the search where all are silent
HARMONIES = (-12, -5, 3, 4, 7, 12)  # semitones above the lead


@dataclass(frozen=True)
class Singer:
    """A voice made of one folder's phrases.

    Attributes:
        choir: its phrases.
        semitones: all are shifted by this.
        tempo: all are sung this much faster.
        formants: ratio of the vocal tract's resonances to the recorded ones.
    """

    choir: Choir
    semitones: int
    tempo: float
    formants: float

    @property
    def key(self) -> int | None:
        """Pitch class of the song's tonic; None if any fits."""
        return None if self.choir.key is None else (self.choir.key + self.semitones) % 12

    @property
    def beats_per_minute(self) -> float | None:
        return None if self.choir.tempo is None else self.choir.tempo * self.tempo


def draw_singer(choirs: list[Choir], rng: np.random.Generator) -> Singer:
    """Draw a folder in proportion to its number of phrases, and the voice made of it."""
    counts = np.array([len(choir.files) for choir in choirs], float)
    choir = choirs[int(rng.choice(len(choirs), p=counts / counts.sum()))]
    return Singer(
        choir,
        semitones=int(np.round(rng.triangular(-MAX_SHIFT, 0, MAX_SHIFT))),
        tempo=float(rng.uniform(*TEMPOS)),
        formants=float(np.exp(rng.uniform(*np.log(FORMANTS)))) if rng.random() < 0.85 else 1.0,
    )


def sing(singer: Singer, sheet: Sheet, n: int, rate: int, rng: np.random.Generator) -> Signal:
    """Render a song's vocals `(2, n)`: a lead, in some songs with doubles or a harmony."""
    lead, doubles = np.zeros(n), np.zeros((2, n))
    doubling, harmony = rng.random() < 0.35, rng.random() < 0.25
    interval = int(rng.choice(HARMONIES))
    for start, phrase in _places(singer, sheet, n, rate, rng):
        lead[start : start + len(phrase)] += phrase
        for wanted, semitones in ((doubling, 0.0), (harmony, float(interval))):
            if wanted and rng.random() < 0.6:
                _double(doubles, phrase, start, semitones, rate, rng)
    voice = pan(lead, float(rng.uniform(-0.15, 0.15))) + rng.uniform(0.3, 0.7) * doubles
    return _process(voice, sheet, rate, rng)


def _places(
    singer: Singer, sheet: Sheet, n: int, rate: int, rng: np.random.Generator
) -> list[tuple[int, Signal]]:
    """Return `(first sample, phrase)`: one phrase after another, on beats, with rests between."""
    places, dense = [], rng.uniform(0.3, 1.0)
    now = sheet.beat * int(rng.integers(0, 8))
    for _ in range(MAX_DRAWS):
        if now >= n / rate:
            break
        phrase = read_phrase(singer.choir.files[rng.integers(len(singer.choir.files))], rate)
        if phrase is None:
            continue
        phrase = fit(phrase, rate, singer.tempo, singer.semitones)
        if singer.formants != 1.0:
            phrase = effects.shift_formants(phrase[None], singer.formants)[0]
        start = max(0, round((now + rng.normal(0.0, 0.01)) * rate))
        sung = phrase[: max(0, n - start)] * 10.0 ** (rng.normal(0.0, 1.5) / 20.0)
        if len(sung):
            places.append((start, sung))
        beats = np.ceil(len(phrase) / rate / sheet.beat)
        rest = 0 if rng.random() < dense else int(rng.choice((1, 2, 4, STEPS // 2)))
        now += sheet.beat * (beats + rest)
    return places


def _double(
    doubles: Signal, phrase: Signal, start: int, semitones: float, rate: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Add a detuned, delayed copy of a phrase on each side."""
    for side in (-1, 1):
        copy = fit(phrase, rate, 1.0 + rng.normal(0.0, 0.004), semitones + rng.normal(0.0, 0.12))
        begin = start + round(rng.uniform(0.005, 0.03) * rate)
        copy = copy[: max(0, doubles.shape[1] - begin)]
        doubles[:, begin : begin + len(copy)] += pan(copy, side * rng.uniform(0.4, 1.0))


def _process(voice: Signal, sheet: Sheet, rate: int, rng: np.random.Generator) -> Signal:
    """Filter, compress, distort a little and repeat; the room is added by the mix."""
    voice = effects.cut(voice, rate, low=float(rng.uniform(60.0, 180.0)))
    voice = effects.random_equalizer(voice, rate, rng, most=7.0)
    if rng.random() < 0.05:  # as through a telephone
        voice = effects.cut(voice, rate, low=350.0, high=3200.0)
    if rng.random() < 0.7:
        voice = voice * effects.compress(voice, rate, rng.uniform(1.5, 5.0), rng.uniform(6.0, 20.0))
    if rng.random() < 0.25:
        voice = effects.saturate(voice, rng.uniform(0.3, 2.0))
    if rng.random() < 0.3:
        delay = sheet.beat * float(rng.choice((0.25, 0.5, 0.75, 1.0)))
        voice = effects.echo(voice, rate, delay, rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.35))
    return voice
