"""A song made up: a sheet of chords, four players who read it, and a mix of what they play."""

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

__all__ = ["compose", "total"]

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
}
CHORD_ODDS = (0.1, 0.12, 0.1, 0.24, 0.22, 0.22)  # of the degrees I ... VI to follow another
STEPS = 16  # sixteenth notes in a bar

# The odds of a stroke on each sixteenth of a song's bar, by where the beat puts the weight.
KICK_ODDS = (1.0, 0, 0.1, 0.2, 0.3, 0, 0.4, 0.1, 0.8, 0, 0.5, 0.1, 0.3, 0, 0.3, 0.1)
SNARE_ODDS = (0, 0, 0, 0.05, 1.0, 0, 0, 0.15, 0, 0.1, 0, 0, 1.0, 0, 0.05, 0.15)
HAT_ODDS = (1.0, 0.2, 1.0, 0.2) * 4
BASS_ODDS = (1.0, 0, 0.3, 0) * 4  # besides the kick's strokes

# Bars of melody or of chords, as lengths in sixteenths.
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
LEVELS = {"drums": -0.5, "bass": -1.0, "other": 0.5, "vocals": 1.0}  # dB: the singer in front
WETNESS = {"drums": 0.10, "bass": 0.02, "other": 0.15, "vocals": 0.12}  # echo to direct sound


@dataclass(frozen=True)
class Sheet:
    """What the players of a song agree on."""

    beat: float  # seconds
    key: int  # MIDI number of the tonic, in the bass's octave
    scale: tuple[int, ...]
    chords: tuple[int, ...]  # a degree of the scale for each bar, in a circle
    bars: int
    kick: tuple[bool, ...]  # the bar's sixteenths with a stroke

    @property
    def step(self) -> float:
        """A sixteenth in seconds."""
        return self.beat / 4.0

    def chord(self, bar: int) -> int:
        """The degree of the scale on which a bar's chord is built."""
        return self.chords[bar % len(self.chords)]

    def pitch(self, degree: int) -> int:
        """The MIDI number of a degree of the scale: 0 is the bass's tonic, 7 the one above it.

        >>> sheet = Sheet(0.5, 36, SCALES["major"], (0,), 1, (True,) * 16)
        >>> [sheet.pitch(degree) for degree in (-1, 0, 2, 7)]
        [35, 36, 40, 48]
        """
        return self.key + 12 * (degree // 7) + self.scale[degree % 7]


def compose(length: int, sample_rate: int, rng: np.random.Generator) -> dict[str, Signal]:
    """The stems of a song, `(2, length)`; they and their sum are in [-0.9, 0.9].

    >>> sorted(compose(length=16000, sample_rate=8000, rng=np.random.default_rng(0)))
    ['bass', 'drums', 'other', 'vocals']
    """
    sheet = write_sheet(length / sample_rate, rng)
    players = {"drums": play_drums, "bass": play_bass, "other": play_other, "vocals": sing_vocals}
    stems = {stem: play(sheet, length, sample_rate, rng) for stem, play in players.items()}
    return mix(stems, sample_rate, rng)


def total(parts: dict[str, np.ndarray]) -> np.ndarray:
    """The sum of the values, in their own dtype."""
    first, *others = parts.values()
    return sum(others, start=first)


def write_sheet(seconds: float, rng: np.random.Generator) -> Sheet:
    """A sheet for a song that lasts `seconds` or a little more."""
    beat = 60.0 / rng.uniform(84.0, 132.0)
    chords = [0]
    while len(chords) < 4:
        odds = np.array(CHORD_ODDS)
        odds[chords[-1]] = 0.0
        chords.append(int(rng.choice(len(odds), p=odds / odds.sum())))
    return Sheet(
        beat=beat,
        key=int(rng.integers(33, 45)),
        scale=SCALES[rng.choice(list(SCALES))],
        chords=tuple(chords),
        bars=int(np.ceil(seconds / (4.0 * beat))),
        kick=draw(KICK_ODDS, rng),
    )


def draw(odds: tuple[float, ...], rng: np.random.Generator) -> tuple[bool, ...]:
    """Heads or tails for each of the odds."""
    return tuple(bool(stroke) for stroke in rng.random(len(odds)) < odds)


def play_drums(sheet: Sheet, n: int, rate: int, rng: np.random.Generator) -> Signal:
    """`(2, n)`: kick, snare, hat; a fill on the toms in every fourth bar, then a crash."""
    parts: dict[str, list[tuple[float, float]]] = {piece: [] for piece in DRUM_KIT}
    for start, piece, velocity in strokes(sheet, rng):
        start = max(0.0, start + rng.normal(0.0, 0.003))  # a drummer is a few milliseconds off
        parts[piece].append((start, velocity * rng.uniform(0.8, 1.0)))
    kit = {piece: drum.varied(rng) for piece, drum in DRUM_KIT.items()}
    return total(
        {
            piece: pan(kit[piece].play(hits, n, rate, rng), kit[piece].pan)
            for piece, hits in parts.items()
        }
    )


def strokes(sheet: Sheet, rng: np.random.Generator) -> Iterator[tuple[float, str, float]]:
    """`(start in seconds, piece, velocity)` of every stroke in a song."""
    snare, hat = draw(SNARE_ODDS, rng), draw(HAT_ODDS, rng)
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
    """`(2, n)`: the chords' roots on the kick's strokes and a few more, some a fifth higher."""
    bass = String(
        pluck=rng.uniform(0.12, 0.3), decay=rng.uniform(0.8, 2.0), dullness=rng.uniform(1.2, 1.8)
    )
    onsets = np.flatnonzero(np.logical_or(sheet.kick, draw(BASS_ODDS, rng)))
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
    """`(2, n)`: a wide pad holds the chords; on one side they are strummed, on the other broken."""
    side = rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 0.9)
    cutoff, detune = rng.uniform(700.0, 2000.0), rng.uniform(0.06, 0.15)
    held = chord_notes(sheet)
    pad = np.stack([perform(held, Pad(cutoff, sign * detune), n, rate) for sign in (-1, 1)])
    strummed = perform(strums(sheet, rng), keys_or_guitar(rng), n, rate)
    broken = perform(arpeggios(sheet, rng), keys_or_guitar(rng), n, rate)
    parts = {"pad": pad, "strummed": pan(strummed, side), "broken": pan(broken, -side)}
    return total(
        {player: rng.uniform(0.5, 1.0) * part / np.std(part) for player, part in parts.items()}
    )


def keys_or_guitar(rng: np.random.Generator) -> Instrument:
    """One of the two, made anew for the song."""
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
    """Root, third and fifth two octaves above the bass, inverted so that chords lie close.

    >>> chord_degrees(Sheet(0.5, 36, SCALES["major"], (0, 5), 2, (True,) * 16), bar=1)
    [14, 16, 19]
    """
    return sorted(14 + (sheet.chord(bar) + third) % 7 for third in (0, 2, 4))


def chord_notes(sheet: Sheet) -> list[Note]:
    """The chords, each held for its bar."""
    whole = STEPS * sheet.step
    return [
        Note(bar * whole, whole, sheet.pitch(degree), 0.5)
        for bar in range(sheet.bars)
        for degree in chord_degrees(sheet, bar)
    ]


def strums(sheet: Sheet, rng: np.random.Generator) -> list[Note]:
    """Whole chords in a rhythm of the song, their notes 12 ms apart as a thumb takes them."""
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
    """The chord's notes one after another, up to an octave higher, in eighths or sixteenths."""
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
    """`(2, n)`: one singer near the middle, phrases of two bars with a breath between them."""
    height = rng.uniform()  # 0 is a low man, 1 a high woman
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
    """A walk over the scale, an octave and a half wide; each bar starts on a note of its chord."""
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
    """The degree itself, or a neighbour: of three in a row at least one is in a triad.

    >>> sheet = Sheet(0.5, 36, SCALES["major"], (0,), 1, (True,) * 16)
    >>> [nearest_in_chord(sheet, 0, degree) for degree in range(7)]
    [0, 2, 2, 4, 4, 4, 7]
    """
    return min(
        (degree, degree + 1, degree - 1),
        key=lambda candidate: (candidate - sheet.chord(bar)) % 7 not in (0, 2, 4),
    )


def mix(stems: dict[str, Signal], rate: int, rng: np.random.Generator) -> dict[str, Signal]:
    """The stems in one room and about equally loud, with one gain: the loudest peak is 0.9."""
    echo = room(rng.uniform(0.2, 0.6), rate, rng)
    mixed = {}
    for stem, wetness in WETNESS.items():
        wet = reverberate(stems[stem], echo, wetness * rng.uniform(0.5, 1.5))
        level = LEVELS[stem] + rng.uniform(-1.0, 1.0)
        mixed[stem] = 10.0 ** (level / 20.0) * wet / np.std(wet)
    peak = max(np.abs(track).max() for track in (*mixed.values(), total(mixed)))
    return {stem: 0.9 / peak * track for stem, track in mixed.items()}
