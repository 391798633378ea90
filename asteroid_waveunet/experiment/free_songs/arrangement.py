"""Random arrangements: tempo, key, sections and players of a song, and the notes they play."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from asteroid_waveunet.experiment.demo_songs.composition import (
    RHYTHMS,
    SCALES,
    STEPS,
    Sheet,
    arpeggios,
    chord_degrees,
    chord_notes,
    draw_chords,
    draw_strokes,
    melody,
    strums,
)
from asteroid_waveunet.experiment.demo_songs.synthesis import Note
from asteroid_waveunet.experiment.free_songs.soundfont import DRUM_BANK
from asteroid_waveunet.experiment.free_songs.styles import (
    CLAP,
    CRASH,
    GROOVES,
    HAND_DRUMS,
    HAT,
    KICK,
    LOUD_GUITARS,
    OPEN_HAT,
    PEDAL,
    RIDE,
    RIM,
    SNARE,
    TOMS,
    Style,
)

__all__ = ["Part", "arrange", "draw_sheet"]


@dataclass(frozen=True)
class Part:
    """One player's notes.

    Attributes:
        stem: drums, bass or other.
        bank, program: of the soundfont.
        notes: of the whole song.
        drive: distortion, 0 for none.
        pan: -1 left to 1 right; 0 keeps the instrument's own stereo image.
    """

    stem: str
    bank: int
    program: int
    notes: list[Note]
    drive: float = 0.0
    pan: float = 0.0


def draw_sheet(
    style: Style,
    seconds: float,
    rng: np.random.Generator,
    tempo: float | None = None,
    key: int | None = None,
    major: bool | None = None,
) -> Sheet:
    """Draw chords, and tempo, key and mode where they are not given.

    Args:
        tempo: beats a minute.
        key: pitch class of the tonic.
        major: mode.
    """
    tempo = rng.uniform(*style.tempo) if tempo is None else tempo
    pitch_class = int(rng.integers(12)) if key is None else key
    minor = ("minor", "dorian")[int(rng.random() < 0.3)]
    major = rng.random() < 0.5 if major is None else major
    return Sheet(
        beat=60.0 / tempo,
        key=28 + (pitch_class - 4) % 12,  # E1 to D#2, the lowest notes of a bass guitar
        scale=SCALES["major" if major else minor],
        chords=draw_chords(rng, int(rng.choice((2, 4, 4, 4, 8)))),
        bars=int(np.ceil(seconds * tempo / 240.0)) + 1,
        kick=draw_strokes((0.5,) * STEPS, rng),
    )


def arrange(style: Style, sheet: Sheet, rng: np.random.Generator) -> list[Part]:
    """Draw a song's players and sections, and write all parts.

    Every few bars a section begins, in which each player rests with a probability of its own.
    """
    active = _sections(sheet, rng)
    parts = _drum_parts(style, sheet, rng)
    parts.append(Part("bass", 0, int(rng.choice(style.basses)), _bass(sheet, rng)))
    count = int(rng.integers(1, min(5, len(style.players)) + 1))
    for number in rng.permutation(len(style.players))[:count]:
        play, programs = style.players[number]
        program = int(rng.choice(np.array(programs)))
        loud = program in LOUD_GUITARS
        notes = PLAYERS[play](sheet, rng)
        pan = float(rng.uniform(-0.8, 0.8))
        drive = float(rng.uniform(0.5, style.drive)) if loud else 0.0
        parts.append(Part("other", 0, program, notes, drive, pan))
        if play == "power" and rng.random() < 0.6:  # doubled, on the other side
            parts.append(Part("other", 0, int(rng.choice(LOUD_GUITARS)), notes, drive, -pan))
    swing = rng.uniform(0.0, style.swing) if style.swing else 0.0
    rests = {"drums": 0.1, "bass": 0.1, "other": 0.25}
    return [
        replace(
            part,
            notes=_human(
                _in_sections(part.notes, sheet, active(rests[part.stem])), sheet, swing, rng
            ),
        )
        for part in parts
    ]


def _sections(sheet: Sheet, rng: np.random.Generator) -> Callable[[float], np.ndarray]:
    """Return a function that draws, for one player, in which bars it plays: `(bars,)`."""
    length = int(rng.choice((2, 4, 4, 8)))
    count = -(-sheet.bars // length)

    def draw(rest: float) -> np.ndarray:
        playing = rng.random(count) >= rest
        return np.repeat(playing if playing.any() else ~playing, length)[: sheet.bars]

    return draw


def _in_sections(notes: list[Note], sheet: Sheet, active: np.ndarray) -> list[Note]:
    bars = [min(int(note.start / (STEPS * sheet.step) + 1e-6), len(active) - 1) for note in notes]
    return [note for note, bar in zip(notes, bars, strict=True) if active[bar]]


def _human(notes: list[Note], sheet: Sheet, swing: float, rng: np.random.Generator) -> list[Note]:
    """Delay every second sixteenth by the swing, and vary timing and loudness a little."""
    played = []
    for note in notes:
        step = round(note.start / sheet.step)
        late = swing * sheet.step * (step % 2) + rng.normal(0.0, 0.004)
        velocity = note.velocity * rng.uniform(0.75, 1.0)
        played.append(Note(max(0.0, note.start + late), note.length, note.pitch, velocity))
    return played


def _drum_parts(style: Style, sheet: Sheet, rng: np.random.Generator) -> list[Part]:
    kit = int(rng.choice(style.kits))
    groove = GROOVES[str(rng.choice(style.grooves))]
    parts = [Part("drums", DRUM_BANK, kit, list(_groove_notes(groove, sheet, rng)))]
    if rng.random() < 0.3:
        extra = HAND_DRUMS[str(rng.choice(list(HAND_DRUMS)))]
        strokes = draw_strokes(tuple(rng.uniform(0.0, 0.9, STEPS)), rng)
        notes = [
            Note((STEPS * bar + step) * sheet.step, 0.1, extra, 0.4 + 0.3 * (step % 4 == 0))
            for bar in range(sheet.bars)
            for step in range(STEPS)
            if strokes[step]
        ]
        parts.append(Part("drums", DRUM_BANK, kit, notes, pan=float(rng.uniform(-0.6, 0.6))))
    return parts


def _groove_notes(
    groove: tuple[str, str, str], sheet: Sheet, rng: np.random.Generator
) -> Iterator[Note]:
    """Yield a groove's strokes: varied from bar to bar, with fills and crashes."""
    snare = int(rng.choice((SNARE, SNARE, 40, RIM, CLAP)))
    hat = int(rng.choice((HAT, HAT, HAT, PEDAL, RIDE)))
    fill, vary = int(rng.choice((0, 4, 8))), rng.uniform(0.0, 0.15)
    for bar in range(sheet.bars):
        start = STEPS * bar
        filling = STEPS - fill if bar % 4 == 3 else STEPS
        if bar % 4 == 0 and rng.random() < 0.7:
            yield Note(start * sheet.step, 1.0, CRASH, 0.8)
        for step in range(STEPS):
            now = (start + step) * sheet.step
            if step >= filling:
                yield Note(
                    now, 0.2, TOMS[(step - filling) * len(TOMS) // fill], rng.uniform(0.6, 1)
                )
                continue
            for pattern, drum in zip(groove, (KICK, snare, hat), strict=True):
                stroke = pattern[step]
                if rng.random() < vary * (0.3 if stroke == "x" else 0.2):
                    stroke = "." if stroke != "." else "o"
                if stroke != ".":
                    opened = drum == HAT and step % 8 == 6 and rng.random() < 0.2
                    loud = 1.0 if stroke == "x" else 0.45
                    loud *= 1.0 if drum == KICK or step % 4 == 0 else 0.85
                    yield Note(now, 0.2, OPEN_HAT if opened else drum, loud)


def _bass(sheet: Sheet, rng: np.random.Generator) -> list[Note]:
    """Play the chords' roots in one of several manners: held, in eighths, octaves or syncopated."""
    manner = str(rng.choice(("hold", "eighths", "octaves", "syncopated", "walking")))
    onsets = {
        "hold": np.array([0]),
        "eighths": np.arange(0, STEPS, 2),
        "octaves": np.arange(0, STEPS, 2),
        "walking": np.arange(0, STEPS, 4),
        "syncopated": np.flatnonzero((True, *draw_strokes((0.35,) * (STEPS - 1), rng))),
    }[manner]
    lengths = np.diff(np.append(onsets, STEPS))
    leaps = rng.choice((0, 0, 0, 2, 4, 7), size=len(onsets)) * (onsets > 0)
    steps = {"octaves": 7 * (np.arange(len(onsets)) % 2), "walking": np.array((0, 2, 4, 5))}
    moves = steps.get(manner, leaps if manner == "syncopated" else 0 * leaps)
    held = rng.uniform(0.5, 0.98)
    return [
        Note(
            start=(STEPS * bar + onset) * sheet.step,
            length=held * length * sheet.step,
            pitch=sheet.pitch(sheet.chord(bar) + int(move)),
            velocity=0.9,
        )
        for bar in range(sheet.bars)
        for onset, length, move in zip(onsets, lengths, moves, strict=True)
    ]


def _power_chords(sheet: Sheet, rng: np.random.Generator) -> list[Note]:
    """Play root, fifth and octave in a rhythm."""
    rhythm = RHYTHMS[rng.integers(len(RHYTHMS))] if rng.random() < 0.7 else (2,) * 8
    onsets = np.cumsum((0, *rhythm[:-1]))
    return [
        Note((STEPS * bar + onset) * sheet.step, 0.95 * length * sheet.step, pitch, 0.9)
        for bar in range(sheet.bars)
        for onset, length in zip(onsets, rhythm, strict=True)
        for pitch in (sheet.pitch(sheet.chord(bar) + 7) + np.array((0, 7, 12)))
    ]


def _riff(sheet: Sheet, rng: np.random.Generator) -> list[Note]:
    """Repeat a figure of single low notes, moved with the chords."""
    onsets = np.flatnonzero((True, *draw_strokes((0.5,) * (STEPS - 1), rng)))
    lengths, moves = np.diff(np.append(onsets, STEPS)), rng.choice((0, 0, 2, 3, 4), len(onsets))
    return [
        Note(
            (STEPS * bar + onset) * sheet.step,
            0.9 * length * sheet.step,
            sheet.pitch(sheet.chord(bar) + 7 + int(move)),
            0.9,
        )
        for bar in range(sheet.bars)
        for onset, length, move in zip(onsets, lengths, moves, strict=True)
    ]


def _offbeats(sheet: Sheet, rng: np.random.Generator) -> list[Note]:
    """Play short chords between the beats."""
    return [
        Note((STEPS * bar + step) * sheet.step, sheet.step, sheet.pitch(degree), 0.8)
        for bar in range(sheet.bars)
        for step in range(2, STEPS, 4)
        for degree in chord_degrees(sheet, bar)
    ]


def _lead(sheet: Sheet, rng: np.random.Generator) -> list[Note]:
    return melody(sheet, int(rng.integers(52, 72)), rng)


PLAYERS: dict[str, Callable[[Sheet, np.random.Generator], list[Note]]] = {
    "hold": lambda sheet, rng: chord_notes(sheet),
    "strum": strums,
    "arpeggio": arpeggios,
    "power": _power_chords,
    "riff": _riff,
    "offbeat": _offbeats,
    "lead": _lead,
}
