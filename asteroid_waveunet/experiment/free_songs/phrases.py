"""Sung phrases in folders: find them with their key and tempo, and fit them to a song.

A folder's name may say the key and tempo of its phrases, `NAME_KEY_TEMPO` with or without more
words: `sv_fs_122` (F sharp, 122 beats a minute), `sv_ebm_136_adlib` (E flat minor). Phrases of
folders without them are used too, at any pitch and place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.folders import files_below, is_audio_file
from asteroid_waveunet.audio.formats import KINDS
from asteroid_waveunet.experiment.demo_songs.synthesis import Signal
from asteroid_waveunet.experiment.segments.mixing import stretch

__all__ = ["Choir", "find_choirs", "fit", "read_phrase"]

NAME = re.compile(r"(^|_)(?P<note>[a-g])(?P<sharp>[sb]?)(?P<mode>[mj]?)_(?P<tempo>\d{2,3})(_|$)")
PITCH_CLASSES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
SHORTEST = 0.4  # seconds


@dataclass(frozen=True)
class Choir:
    """The phrases of one folder, of one key and tempo.

    Attributes:
        name: of the folder.
        files: sorted.
        key: pitch class of the tonic, 0 for C to 11 for B; None if unknown.
        major: mode of the key; minor and unknown are False.
        tempo: beats a minute; None if unknown.
    """

    name: str
    files: tuple[Path, ...]
    key: int | None = None
    major: bool = False
    tempo: float | None = None


def find_choirs(folders: Sequence[Path]) -> list[Choir]:
    """List the folders, at any depth, that contain audio files.

    Raises:
        FileNotFoundError: if a folder does not exist or contains no audio.
    """
    choirs = []
    for root in folders:
        files = [p for p in files_below(root) if is_audio_file(p, below=root)]
        if not files:
            raise FileNotFoundError(
                f"{root} contains no sung phrases; expected a folder with {KINDS}."
            )
        for folder in sorted({file.parent for file in files}):
            own = tuple(file for file in files if file.parent == folder)
            choirs.append(Choir(folder.name, own, *parse_name(folder.name)))
    return choirs


def parse_name(name: str) -> tuple[int | None, bool, float | None]:
    """Return key, mode and tempo as a folder's name says them.

    >>> parse_name("sv_fs_122"), parse_name("choir_ebj_136_adlib"), parse_name("takes")
    ((6, False, 122.0), (3, True, 136.0), (None, False, None))
    """
    found = NAME.search(name.lower())
    if found is None:
        return None, False, None
    step = {"s": 1, "b": -1, "": 0}[found["sharp"]]
    key = (PITCH_CLASSES[found["note"]] + step) % 12
    return key, found["mode"] == "j", float(found["tempo"])


def read_phrase(path: Path, rate: int) -> Signal | None:
    """Read a phrase in mono, `(time,)`, without silence at its ends, at a level of 1 (RMS).

    Returns None for files that are silent or shorter than `SHORTEST`.
    """
    samples, own_rate = audio_io.read(path)
    mono = soxr.resample(samples.numpy().mean(axis=0), own_rate, rate).astype(float)
    loud = np.flatnonzero(np.abs(mono) > 0.01 * np.abs(mono).max(initial=0.0))
    if not len(loud) or len(loud) < SHORTEST * rate * 0.1:
        return None
    phrase = mono[loud[0] : loud[-1] + 1]
    if len(phrase) < SHORTEST * rate:
        return None
    return phrase / np.sqrt(np.mean(phrase**2))


def fit(phrase: Signal, rate: int, tempo: float, semitones: float) -> Signal:
    """Return a phrase sung `tempo` times as fast and `semitones` higher."""
    if abs(tempo - 1) < 1e-3 and abs(semitones) < 1e-2:
        return phrase
    return stretch(phrase[None].astype(np.float32), rate, tempo, semitones)[0].astype(float)
