"""Styles of music: tempo, grooves and instruments, by General MIDI's numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GROOVES", "LOUD_GUITARS", "STYLES", "Style"]

# General MIDI's numbers of drums.
KICK, SNARE, RIM, CLAP, HAT, PEDAL, OPEN_HAT, CRASH, RIDE = 36, 38, 37, 39, 42, 44, 46, 49, 51
TOMS = (50, 48, 45, 43)
HAND_DRUMS = {"shaker": 70, "tambourine": 54, "conga": 63, "low conga": 64, "cowbell": 56}

# Kick, snare and hat, a bar of sixteenths each; x: a stroke, o: a soft one.
GROOVES = {
    "rock": ("x.......x.x.....", "....x.......x...", "x.x.x.x.x.x.x.x."),
    "driving rock": ("x...x.x.x...x.x.", "....x.......x..o", "x.x.x.x.x.x.x.x."),
    "punk": ("x..xx..xx..xx..x", "..x...x...x...x.", "x.x.x.x.x.x.x.x."),
    "half time": ("x.....x...x.....", "........x.......", "x.x.x.x.x.x.x.x."),
    "metal": ("xxxxxxxxxxxxxxxx", "....x.......x...", "x...x...x...x..."),
    "disco": ("x...x...x...x...", "....x.......x...", "..x...x...x...x."),
    "house": ("x...x...x...x...", "....x.......x...", "o.xoo.xoo.xoo.xo"),
    "funk": ("x..x..x...x..x..", "....x..o.o..x..o", "xxxxxxxxxxxxxxxx"),
    "hip hop": ("x.....xx..x.....", "....x.......x...", "x.xxx.x.x.xxx.x."),
    "trap": ("x......x..x.....", "........x.......", "xxxxx.xxxxxxx.xx"),
    "reggae": ("........x.......", "........x.......", "o.x.o.x.o.x.o.x."),
    "breakbeat": ("x.x.......xx....", "....x..x.x..x..x", "x.x.x.x.x.x.x.x."),
    "ballad": ("x.......x.......", "....x.......x...", "x...x...x...x..."),
    "bossa": ("x..xx..xx..xx..x", "x..x..x...x..x..", "xxxxxxxxxxxxxxxx"),
    "train": ("x...x...x...x...", "oxoxxoxoxoxoxxox", "..x...x...x...x."),
}
# Programs are General MIDI's, from 0.
PIANOS, ORGANS, STRINGS = (0, 1, 2, 4, 5, 7), (16, 17, 18, 19), (48, 49, 50, 44)
PADS = tuple(range(88, 96))
CLEAN_GUITARS, LOUD_GUITARS, BRASS = (24, 25, 26, 27, 28), (29, 30), (56, 57, 60, 61, 62)
LEADS = (80, 81, 82, 84, 87)
SOLOISTS = (11, 21, 22, 40, 42, 56, 57, 60, 64, 65, 66, 68, 71, 73, 75, 78, 104, 107)


@dataclass(frozen=True)
class Style:
    """A kind of music: its tempo, grooves and instruments.

    Attributes:
        tempo: range in beats a minute.
        grooves: names of `GROOVES`.
        kits: programs of drum kits.
        basses: programs.
        players: `(how it plays, programs)`; some of them are drawn for a song.
        swing: most delay of every second sixteenth, as a fraction of it.
        drive: most distortion of guitars.
    """

    tempo: tuple[float, float]
    grooves: tuple[str, ...]
    kits: tuple[int, ...]
    basses: tuple[int, ...]
    players: tuple[tuple[str, tuple[int, ...]], ...]
    swing: float = 0.0
    drive: float = 2.0


STYLES = {
    "rock": Style(
        (90, 160), ("rock", "driving rock", "half time"), (0, 8, 16), (33, 34),
        (("power", LOUD_GUITARS), ("power", LOUD_GUITARS), ("strum", CLEAN_GUITARS),
         ("lead", (29, 30)), ("hold", ORGANS), ("strum", PIANOS)), drive=8.0,
    ),
    "metal": Style(
        (100, 180), ("metal", "punk", "half time", "driving rock"), (0, 16), (34, 33),
        (("power", LOUD_GUITARS), ("riff", LOUD_GUITARS), ("lead", LOUD_GUITARS),
         ("hold", STRINGS)), drive=12.0,
    ),
    "pop": Style(
        (80, 132), ("rock", "disco", "ballad", "hip hop"), (0, 8, 24, 25), (33, 38, 39, 32),
        (("strum", PIANOS), ("strum", CLEAN_GUITARS), ("hold", PADS), ("hold", STRINGS),
         ("arpeggio", (*PIANOS, *LEADS)), ("lead", SOLOISTS)),
    ),
    "dance": Style(
        (112, 140), ("house", "disco"), (24, 25, 8), (38, 39, 87),
        (("strum", (*LEADS, 62, 63)), ("arpeggio", LEADS), ("hold", PADS),
         ("hold", (50, 51, 63)), ("lead", LEADS)),
    ),
    "funk": Style(
        (90, 120), ("funk", "breakbeat", "disco"), (0, 8, 25), (36, 37, 33),
        (("strum", CLEAN_GUITARS), ("strum", (4, 7, 16)), ("strum", BRASS), ("lead", SOLOISTS)),
        swing=0.2,
    ),
    "hip hop": Style(
        (70, 100), ("hip hop", "trap", "breakbeat"), (25, 24, 8), (38, 39, 33),
        (("hold", PADS), ("arpeggio", PIANOS), ("strum", PIANOS), ("hold", STRINGS),
         ("lead", (*LEADS, *SOLOISTS))), swing=0.3,
    ),
    "reggae": Style(
        (65, 95), ("reggae", "half time"), (0, 8), (33, 32),
        (("offbeat", CLEAN_GUITARS), ("offbeat", (16, 17, 0)), ("hold", ORGANS), ("lead", BRASS)),
        swing=0.2,
    ),
    "jazz": Style(
        (80, 180), ("ballad", "bossa", "train"), (32, 40), (32, 33, 35),
        (("strum", PIANOS), ("lead", SOLOISTS), ("strum", (26, 27)), ("hold", (11, 48))),
        swing=0.6,
    ),
    "folk": Style(
        (75, 130), ("ballad", "train", "rock"), (0, 40, 32), (32, 33, 43),
        (("arpeggio", (24, 25)), ("strum", (24, 25, 105)), ("lead", SOLOISTS), ("strum", (0, 21)),
         ("hold", STRINGS)),
    ),
    "orchestral": Style(
        (60, 120), ("ballad", "half time"), (48, 0), (43, 32, 33),
        (("hold", STRINGS), ("lead", (40, 42, 60, 68, 71, 73)), ("strum", (45, 46, 0)),
         ("hold", BRASS), ("arpeggio", (46, 0, 11))),
    ),
}  # fmt: skip
