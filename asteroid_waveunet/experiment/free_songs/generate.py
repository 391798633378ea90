"""Write free songs with exact stems in MUSDB18-HQ's layout.

    ROOT/{train,test}/NAME/{mixture,drums,bass,other,vocals}.wav
    ROOT/sources.json      the soundfont and the phrases, with checksums

A song depends on its seed, subset and number and on the sources, not on the number of songs: a set
can grow later, and the same arguments give the same songs.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from asteroid_waveunet.experiment.demo_songs.composition import sum_values
from asteroid_waveunet.experiment.demo_songs.generate import (
    STEMS,
    SUBSETS,
    check_arguments,
    check_existing,
    save,
    song_name,
    song_rng,
)
from asteroid_waveunet.experiment.demo_songs.synthesis import Signal, pan, reverberate, room
from asteroid_waveunet.experiment.free_songs import effects
from asteroid_waveunet.experiment.free_songs.arrangement import Part, arrange, draw_sheet
from asteroid_waveunet.experiment.free_songs.phrases import Choir, find_choirs
from asteroid_waveunet.experiment.free_songs.singing import draw_singer, sing
from asteroid_waveunet.experiment.free_songs.soundfont import Sampler
from asteroid_waveunet.experiment.free_songs.styles import STYLES
from asteroid_waveunet.file_utils import checksum, replacing

__all__ = ["Sources", "compose", "generate"]

INSTRUMENTAL = 0.08  # of the songs
LEVELS = {"drums": 0.0, "bass": -1.0, "other": 0.0, "vocals": 1.5}  # dB
LEVEL_DEVIATION = 2.5  # dB
WET = {"drums": 0.12, "bass": 0.02, "other": 0.15, "vocals": 0.2}  # typical reverb : dry sound
LONGEST_ROOM = {"drums": 0.8, "bass": 0.8, "other": 2.0, "vocals": 2.0}  # seconds


@dataclass(frozen=True)
class Sources:
    """The files that songs are made from.

    Attributes:
        soundfont: a General MIDI soundfont, .sf2 or .sf3.
        voices: folders of sung phrases, see `phrases`.
    """

    soundfont: Path
    voices: tuple[Path, ...]

    def record(self) -> dict[str, object]:
        """Return names, sizes and sha256 of all files."""
        choirs = find_choirs(self.voices)
        files = [self.soundfont, *(file for choir in choirs for file in choir.files)]
        return {
            "soundfont": self.soundfont.name,
            "files": {
                f"{file.parent.name}/{file.name}": checksum(file, "sha256") for file in files
            },
        }


def generate(
    root: str | os.PathLike,
    sources: Sources,
    train_songs: int = 200,
    test_songs: int = 4,
    seconds: float = 30.0,
    sample_rate: int = 44100,
    seed: int = 0,
    progress: bool = True,
    processes: int | None = None,
) -> None:
    """Generate songs; existing songs are kept, so an interrupted call can resume.

    Args:
        root: created if missing.
        sources: soundfont and voices.
        train_songs, test_songs: number of songs in each subset, >= 1.
        seconds: length of each song, >= 2.
        sample_rate: in Hz, >= 8000.
        seed: int >= 0.
        progress: show a progress bar.
        processes: songs made at once; one per processor if None. 1 needs no other process.
    Raises:
        FileNotFoundError, ImportError: if a source or FluidSynth is missing.
        ValueError: if an argument is out of range, the folder was made from other sources, or one
            of these songs exists in another length or sample rate, or incompletely.
    """
    check_arguments(train_songs, test_songs, seconds, sample_rate, seed)
    root, length = Path(root), round(seconds * sample_rate)
    counts = {"train": train_songs, "test": test_songs}
    todo = []
    for subset in SUBSETS:
        for index in range(counts[subset]):
            folder = root / subset / _name(subset, index, seed)
            if folder.exists():
                check_existing(folder, length, sample_rate)
            else:
                todo.append((subset, index))
    if todo:
        with Sampler(sources.soundfont, sample_rate):
            pass  # fails here rather than in a process
    _check_sources(root, sources)
    jobs = [(root, sources, length, sample_rate, seed, subset, index) for subset, index in todo]
    processes = min(processes or os.cpu_count() or 1, len(jobs))
    with tqdm(total=len(jobs), desc="free songs", unit="song", disable=not progress) as bar:
        if processes < 2:
            for job in jobs:
                _make(job)
                bar.update()
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(processes, mp_context=context) as pool:
                for _ in pool.map(_make, jobs):
                    bar.update()
    shutil.rmtree(root / ".unfinished", ignore_errors=True)


def _name(subset: str, index: int, seed: int) -> str:
    return song_name(subset, index, seed).replace("Demo", "Free", 1)


def _check_sources(root: Path, sources: Sources) -> None:
    """Record the sources of a new folder; compare those of an existing one.

    Raises:
        ValueError: if they differ.
    """
    path, record = root / "sources.json", sources.record()
    if not path.is_file():
        root.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
    elif json.loads(path.read_text(encoding="utf-8")) != record:
        raise ValueError(
            f"The songs of {root} were made from other files than {sources.soundfont} and "
            f"{', '.join(map(str, sources.voices))}; see {path}. Use another folder."
        )


def _make(job: tuple[Path, Sources, int, int, int, str, int]) -> None:
    root, sources, length, rate, seed, subset, index = job
    name = _name(subset, index, seed)
    stems = compose(
        _sampler(sources.soundfont, rate),
        _choirs(sources.voices),
        length,
        rate,
        song_rng(subset, index, seed),
    )
    save(stems, rate, root / subset / name, draft=root / ".unfinished" / name)


@lru_cache(1)
def _sampler(path: Path, rate: int) -> Sampler:
    return Sampler(path, rate)


@lru_cache(1)
def _choirs(folders: tuple[Path, ...]) -> list[Choir]:
    return find_choirs(folders)


def compose(
    sampler: Sampler,
    choirs: Sequence[Choir],
    length: int,
    rate: int,
    rng: np.random.Generator,
) -> dict[str, Signal]:
    """Compose a song: its stems, `(2, length)`, which like their sum are in [-0.9, 0.9]."""
    style = STYLES[str(rng.choice(list(STYLES)))]
    singer = None if rng.random() < INSTRUMENTAL else draw_singer(list(choirs), rng)
    tempo = singer.beats_per_minute if singer else None
    if tempo is not None and tempo > style.tempo[1]:
        tempo /= 2  # half time
    sheet = draw_sheet(
        style,
        length / rate,
        rng,
        tempo=tempo,
        key=singer.key if singer else None,
        major=singer.choir.major if singer and singer.choir.key is not None else None,
    )
    stems = {stem: np.zeros((2, length)) for stem in STEMS}
    for part in arrange(style, sheet, rng):
        stems[part.stem] += _perform(part, sampler, length, rng)
    if singer:
        stems["vocals"] = sing(singer, sheet, length, rate, rng)
    return _mix(stems, rate, rng)


def _perform(part: Part, sampler: Sampler, length: int, rng: np.random.Generator) -> Signal:
    """Play a part, with its amplifier, filter, panning and level: `(2, length)`, RMS about 1."""
    rate = sampler.rate
    x = sampler.play(part.notes, part.bank, part.program, length)
    if not x.any():
        return x
    if part.drive:
        x = effects.saturate(x, part.drive)
        x = effects.cut(x, rate, low=80.0, high=float(rng.uniform(3500.0, 7500.0)))
    x = effects.random_equalizer(x, rate, rng, most=4.0)
    if part.pan:
        x = pan(x.mean(axis=0), part.pan) + rng.uniform(0.0, 0.4) * x
    return x / np.std(x) * 10.0 ** (rng.normal(0.0, 3.0) / 20.0)


def _mix(stems: dict[str, Signal], rate: int, rng: np.random.Generator) -> dict[str, Signal]:
    """Compress the stems, add rooms, balance them, and scale all by one gain.

    In some songs all stems share the gain of a compressor that watches their sum, as mastering
    does; they still sum to the mixture.
    """
    mixed = {}
    for stem, x in stems.items():
        level = 10.0 ** ((LEVELS[stem] + rng.normal(0.0, LEVEL_DEVIATION)) / 20.0)
        ratio, below = rng.uniform(1.0, 4.0), rng.uniform(6.0, 15.0)
        echo = room(float(rng.uniform(0.15, LONGEST_ROOM[stem])), rate, rng)
        wet = WET[stem] * rng.uniform(0.0, 2.0)
        if x.any():
            x = x * effects.compress(x, rate, ratio, below)
            x = reverberate(x / np.std(x), echo, wet)
            x = level * x / _loudness(x)
        mixed[stem] = x
    if rng.random() < 0.5:
        total = sum_values(mixed)
        gain = effects.compress(total, rate, rng.uniform(1.5, 3.0), rng.uniform(3.0, 10.0), 0.1)
        mixed = {stem: gain * x for stem, x in mixed.items()}
    peak = max(np.abs(x).max() for x in (*mixed.values(), sum_values(mixed)))
    gain = rng.uniform(0.6, 0.9) / max(peak, 1e-9)
    return {stem: gain * x for stem, x in mixed.items()}


def _loudness(x: Signal) -> float:
    """Return the RMS of the louder half of a stem, which rests do not lower."""
    power = np.sort(np.mean(x**2, axis=0))
    return float(np.sqrt(power[len(power) // 2 :].mean()))
