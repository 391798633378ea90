"""Random songs: chords and rhythm, the parts of four players, and their mix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asteroid_waveunet.experiment.demo_songs.synthesis import (
    DRUM_KIT,
    Instrument,
    Keys,
    Note,
    Pad,
    Signal,
    String,
    Voice,
    pan,
    perform,
    reverberate,
    room,
)

__all__ = ["compose", "sum_values"]

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
}
CHORD_WEIGHTS = (0.1, 0.12, 0.1, 0.24, 0.22, 0.22)  # of the degrees I ... VI as the next chord
STEPS = 16  # sixteenth notes in a bar

# The probability of a stroke on each sixteenth of a bar.
KICK_PROBABILITIES = (1.0, 0, 0.1, 0.2, 0.3, 0, 0.4, 0.1, 0.8, 0, 0.5, 0.1, 0.3, 0, 0.3, 0.1)
SNARE_PROBABILITIES = (0, 0, 0, 0.05, 1.0, 0, 0, 0.15, 0, 0.1, 0, 0, 1.0, 0, 0.05, 0.15)
HAT_PROBABILITIES = (1.0, 0.2, 1.0, 0.2) * 4
BASS_PROBABILITIES = (1.0, 0, 0.3, 0) * 4  # in addition to the kick's strokes

# Rhythms of a bar of melody or chords: note lengths in sixteenths.
RHYTHMS = (
    (4, 4, 8),
    (2, 2, 4, 8),
    (6, 2, 4, 4),
    (3, 3, 2, 8),
    (2, 2, 2, 2, 4, 4),
    (4, 2, 2, 8),
    (6, 6, 4),
    (8, 4, 4),
)
LEVELS = {"drums": -0.5, "bass": -1.0, "other": 0.5, "vocals": 1.0}  # dB; vocals in front
WET_LEVELS = {"drums": 0.10, "bass": 0.02, "other": 0.15, "vocals": 0.12}  # reverb : dry sound


@dataclass(frozen=True)
class Sheet:
    """Tempo, key, chords and kick pattern of a song, shared by all players."""

    beat: float  # seconds
    key: int  # MIDI number of the tonic, in the bass's octave
    scale: tuple[int, ...]
    chords: tuple[int, ...]  # a degree of the scale for each bar, repeated
    bars: int
    kick: tuple[bool, ...]  # stroke on each sixteenth of the bar

    @property
    def step(self) -> float:
        """Length of a sixteenth in seconds."""
        return self.beat / 4.0

    def chord(self, bar: int) -> int:
        """Return the degree of the root of a bar's chord."""
        return self.chords[bar % len(self.chords)]

    def pitch(self, degree: int) -> int:
        """Return the MIDI number of a degree of the scale: 0 is the bass's tonic, 7 its octave.

        >>> sheet = Sheet(0.5, 36, SCALES["major"], (0,), 1, (True,) * 16)
        >>> [sheet.pitch(degree) for degree in (-1, 0, 2, 7)]
        [35, 36, 40, 48]
        """
        return self.key + 12 * (degree // 7) + self.scale[degree % 7]


def compose(length: int, sample_rate: int, rng: np.random.Generator) -> dict[str, Signal]:
    """Compose a song: its stems, `(2, length)`, which like their sum are in [-0.9, 0.9].

    >>> sorted(compose(length=16000, sample_rate=8000, rng=np.random.default_rng(0)))
    ['bass', 'drums', 'other', 'vocals']
    """
    sheet = write_sheet(length / sample_rate, rng)
    players = {"drums": play_drums, "bass": play_bass, "other": play_other, "vocals": sing_vocals}
    stems = {stem: play(sheet, length, sample_rate, rng) for stem, play in players.items()}
    return mix(stems, sample_rate, rng)


def sum_values(parts: dict[str, np.ndarray]) -> np.ndarray:
    """Sum the values without changing their dtype."""
    first, *others = parts.values()
    return sum(others, start=first)


def write_sheet(seconds: float, rng: np.random.Generator) -> Sheet:
    """Draw the parameters of a song of at least `seconds`."""
    beat = 60.0 / rng.uniform(84.0, 132.0)
    chords = draw_chords(rng, 4)
    return Sheet(
        beat=beat,
        key=int(rng.integers(33, 45)),
        scale=SCALES[rng.choice(list(SCALES))],
        chords=chords,
        bars=int(np.ceil(seconds / (4.0 * beat))),
        kick=draw_strokes(KICK_PROBABILITIES, rng),
    )


def draw_chords(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    """Draw degrees of the scale, the tonic first and never the same twice in a row."""
    chords = [0]
    while len(chords) < count:
        weights = np.array(CHORD_WEIGHTS)
        weights[chords[-1]] = 0.0
        chords.append(int(rng.choice(len(weights), p=weights / weights.sum())))
    return tuple(chords)


def draw_strokes(probabilities: tuple[float, ...], rng: np.random.Generator) -> tuple[bool, ...]:
    """Draw a stroke or none with each of the probabilities."""
    return tuple(bool(stroke) for stroke in rng.random(len(probabilities)) < probabilities)


def play_drums(sheet: Sheet, n: int, rate: int, rng: np.random.Generator) -> Signal:
    """Play kick, snare and hat, with a fill in every fourth bar and then a crash: `(2, n)`."""
    parts: dict[str, list[tuple[float, float]]] = {piece: [] for piece in DRUM_KIT}
    for start, piece, velocity in strokes(sheet, rng):
        start = max(0.0, start + rng.normal(0.0, 0.003))  # timing errors of a few milliseconds
        parts[piece].append((start, velocity * rng.uniform(0.8, 1.0)))
    kit = {piece: drum.varied(rng) for piece, drum in DRUM_KIT.items()}
    return sum_values(
        {
            piece: pan(kit[piece].play(hits, n, rate, rng), kit[piece].pan)
            for piece, hits in parts.items()
        }
    )


def strokes(sheet: Sheet, rng: np.random.Generator) -> Iterator[tuple[float, str, float]]:
    """Yield `(start in seconds, piece, velocity)` of every stroke in a song."""
    snare, hat = draw_strokes(SNARE_PROBABILITIES, rng), draw_strokes(HAT_PROBABILITIES, rng)
    fill = int(rng.choice((4, 6, 8)))  # steps
    toms = rng.choice(("snare", "high tom", "mid tom", "low tom"), size=fill)
    open_hat = int(rng.choice((6, 10, 14)))
    for bar in range(sheet.bars):
        start = STEPS * bar * sheet.step
        filling = STEPS - fill if bar % 4 == 3 else STEPS
        if bar % 4 == 0:
            yield start, "crash", 0.8
        for step in range(STEPS):
            now = start + step * sheet.step
            if step >= filling:
                yield now, toms[step - filling], 0.6 + 0.4 * (step % 2 == 0)
                continue
            if sheet.kick[step]:
                yield now, "kick", 1.0 if step % 8 == 0 else 0.8
            if snare[step]:
                yield now, "snare", 1.0 if step % 8 == 4 else 0.35
            if hat[step]:
                yield now, "open hat" if step == open_hat else "hat", 1.0 if step % 4 == 0 else 0.6


def play_bass(sheet: Sheet, n: int, rate: int, rng: np.random.Generator) -> Signal:
    """Play the chords' roots, some a third or fifth higher, mostly with the kick: `(2, n)`."""
    bass = String(
        pluck=rng.uniform(0.12, 0.3), decay=rng.uniform(0.8, 2.0), dullness=rng.uniform(1.2, 1.8)
    )
    onsets = np.flatnonzero(np.logical_or(sheet.kick, draw_strokes(BASS_PROBABILITIES, rng)))
    lengths = np.diff(np.append(onsets, STEPS))
    leaps = rng.choice((0, 0, 0, 0, 4, 7), size=len(onsets)) * (onsets > 0)
    notes = [
        Note(
            start=(STEPS * bar + onset) * sheet.step,
            length=0.95 * length * sheet.step,
            pitch=sheet.pitch(sheet.chord(bar) + leap),
            velocity=rng.uniform(0.8, 1.0),
        )
        for bar in range(sheet.bars)
        for onset, length, leap in zip(onsets, lengths, leaps, strict=True)
    ]
    return pan(perform(notes, bass, n, rate), rng.uniform(-0.05, 0.05))


def play_other(sheet: Sheet, n: int, rate: int, rng: np.random.Generator) -> Signal:
    """Play the chords: a wide pad, strummed on one side, as arpeggios on the other: `(2, n)`."""
    side = rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 0.9)
    cutoff, detune = rng.uniform(700.0, 2000.0), rng.uniform(0.06, 0.15)
    held = chord_notes(sheet)
    pad = np.stack([perform(held, Pad(cutoff, sign * detune), n, rate) for sign in (-1, 1)])
    strummed = perform(strums(sheet, rng), keys_or_guitar(rng), n, rate)
    arpeggiated = perform(arpeggios(sheet, rng), keys_or_guitar(rng), n, rate)
    parts = {"pad": pad, "strummed": pan(strummed, side), "arpeggiated": pan(arpeggiated, -side)}
    return sum_values(
        {player: rng.uniform(0.5, 1.0) * part / np.std(part) for player, part in parts.items()}
    )


def keys_or_guitar(rng: np.random.Generator) -> Instrument:
    """Draw a guitar or an electric piano."""
    guitar = String(
        pluck=rng.uniform(0.1, 0.4), decay=rng.uniform(0.3, 0.9), dullness=rng.uniform(0.8, 1.2)
    )
    keys = Keys(
        ratio=float(rng.choice((1.0, 2.0, 3.0, 7.0))),
        index=rng.uniform(0.8, 2.0),
        decay=rng.uniform(0.4, 1.0),
    )
    return guitar if rng.random() < 0.5 else keys


def chord_degrees(sheet: Sheet, bar: int) -> list[int]:
    """Return root, third and fifth two octaves above the bass, inverted into one octave.

    >>> chord_degrees(Sheet(0.5, 36, SCALES["major"], (0, 5), 2, (True,) * 16), bar=1)
    [14, 16, 19]
    """
    return sorted(14 + (sheet.chord(bar) + third) % 7 for third in (0, 2, 4))


def chord_notes(sheet: Sheet) -> list[Note]:
    """Return the notes of the chords, each held for its bar."""
    whole = STEPS * sheet.step
    return [
        Note(bar * whole, whole, sheet.pitch(degree), 0.5)
        for bar in range(sheet.bars)
        for degree in chord_degrees(sheet, bar)
    ]


def strums(sheet: Sheet, rng: np.random.Generator) -> list[Note]:
    """Return chords in a random rhythm, their notes 12 ms apart as in a guitar strum."""
    rhythm = RHYTHMS[rng.integers(len(RHYTHMS))]
    onsets = np.cumsum((0, *rhythm[:-1]))
    return [
        Note(
            start=(STEPS * bar + onset) * sheet.step + 0.012 * finger,
            length=length * sheet.step,
            pitch=sheet.pitch(degree),
        )
        for bar in range(sheet.bars)
        for onset, length in zip(onsets, rhythm, strict=True)
        for finger, degree in enumerate(chord_degrees(sheet, bar))
    ]


def arpeggios(sheet: Sheet, rng: np.random.Generator) -> list[Note]:
    """Return the chords' notes one after another, over two octaves, in eighths or sixteenths."""
    stride = int(rng.choice((1, 2, 2)))
    octave, third = np.divmod(rng.integers(6, size=STEPS), 3)
    return [
        Note(
            start=(STEPS * bar + step) * sheet.step,
            length=2 * stride * sheet.step,
            pitch=sheet.pitch(chord_degrees(sheet, bar)[third[step]] + 7 * int(octave[step])),
            velocity=rng.uniform(0.6, 1.0),
        )
        for bar in range(sheet.bars)
        for step in range(0, STEPS, stride)
    ]


def sing_vocals(sheet: Sheet, n: int, rate: int, rng: np.random.Generator) -> Signal:
    """Sing phrases of two bars with pauses between them, near the centre: `(2, n)`."""
    height = rng.uniform()  # 0: low male voice, 1: high female voice
    voice = Voice(
        size=1.0 + 0.2 * height,
        tilt=rng.uniform(0.8, 1.2),
        glide=rng.uniform(0.025, 0.06),
        vibrato=rng.uniform(4.8, 6.5),
        depth=rng.uniform(0.15, 0.5),
        breath=rng.uniform(0.01, 0.06),
    )
    lowest = round(48 + 12 * height)
    return pan(voice.sing(melody(sheet, lowest, rng), n, rate, rng), rng.uniform(-0.1, 0.1))


def melody(sheet: Sheet, lowest: int, rng: np.random.Generator) -> list[Note]:
    """Draw a random walk over an octave and a half; each bar starts on a note of its chord."""
    floor = next(degree for degree in range(50) if sheet.pitch(degree) >= lowest)
    degree, notes = floor + 5, []
    for bar in range(sheet.bars):
        rhythm = RHYTHMS[rng.integers(len(RHYTHMS))]
        onsets = STEPS * bar + np.cumsum((0, *rhythm[:-1]))
        for onset, length in zip(onsets, rhythm, strict=True):
            degree += int(rng.choice((-2, -1, -1, 0, 1, 1, 2)))
            degree = min(max(degree, floor), floor + 10)
            if onset % STEPS == 0:
                degree = nearest_in_chord(sheet, bar, degree)
            ends_phrase = (onset + length) % (2 * STEPS) == 0
            notes.append(
                Note(
                    start=onset * sheet.step,
                    length=(length - 2 * ends_phrase) * 0.97 * sheet.step,
                    pitch=sheet.pitch(degree),
                    velocity=rng.uniform(0.75, 1.0),
                )
            )
    return notes


def nearest_in_chord(sheet: Sheet, bar: int, degree: int) -> int:
    """Return the degree or its neighbour that belongs to the bar's triad.

    >>> sheet = Sheet(0.5, 36, SCALES["major"], (0,), 1, (True,) * 16)
    >>> [nearest_in_chord(sheet, 0, degree) for degree in range(7)]
    [0, 2, 2, 4, 4, 4, 7]
    """
    return min(
        (degree, degree + 1, degree - 1),
        key=lambda candidate: (candidate - sheet.chord(bar)) % 7 not in (0, 2, 4),
    )


def mix(stems: dict[str, Signal], rate: int, rng: np.random.Generator) -> dict[str, Signal]:
    """Add reverb, balance the stems and scale all by one gain, so that the highest peak is 0.9."""
    echo = room(rng.uniform(0.2, 0.6), rate, rng)
    mixed = {}
    for stem, level in WET_LEVELS.items():
        wet = reverberate(stems[stem], echo, level * rng.uniform(0.5, 1.5))
        decibels = LEVELS[stem] + rng.uniform(-1.0, 1.0)
        mixed[stem] = 10.0 ** (decibels / 20.0) * wet / np.std(wet)
    peak = max(np.abs(track).max() for track in (*mixed.values(), sum_values(mixed)))
    return {stem: 0.9 / peak * track for stem, track in mixed.items()}
