"""Generate songs with exact stems in MUSDB18-HQ's layout, to try the recipe without a download.

    ROOT/{train,test}/NAME/{mixture,drums,bass,other,vocals}.wav

Stereo, 16 bits; the mixture is exactly the sum of the stems. Key, tempo, chords, drum pattern, bass
line, melody, instruments, singer, panning, levels and room are drawn for each song, so test songs
differ from training songs. The music is far easier to separate than real recordings: scores show
that the recipe works, and say nothing about MUSDB18.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from asteroid_waveunet.experiment.demo_songs.composition import compose, sum_values
from asteroid_waveunet.experiment.demo_songs.synthesis import Signal

__all__ = ["generate"]

STEMS = ("drums", "bass", "other", "vocals")
SUBSETS = ("train", "test")
MIN_SECONDS, MIN_SAMPLE_RATE = 2.0, 8000

# fmt: off
COLOURS = (
    "Amber", "Blue", "Copper", "Crimson", "Golden", "Green", "Indigo",
    "Ivory", "Olive", "Pearl", "Scarlet", "Silver", "Violet", "White",
)
THINGS = (
    "Anchor", "Avenue", "Bridge", "Garden", "Harbour", "Lantern", "Letter",
    "Meadow", "Mirror", "Orchard", "River", "Signal", "Station", "Window",
)
# fmt: on


def generate(
    root: str | os.PathLike,
    train_songs: int = 24,
    test_songs: int = 6,
    seconds: float = 20.0,
    sample_rate: int = 16000,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Generate songs with their stems; existing songs are kept, so an interrupted call can resume.

    A song depends on `seed`, its subset, its number in it, `seconds` and `sample_rate`, not on the
    number of songs. The same arguments give identical files.

    Args:
        root: created if missing. Other songs in it are kept.
        train_songs, test_songs: number of songs in each subset, >= 1.
        seconds: length of each song, >= 2.
        sample_rate: in Hz, >= 8000.
        seed: int >= 0.
        progress: show a progress bar.
    Raises:
        ValueError: if an argument is out of range, or one of these songs exists in another length
            or sample rate, or incompletely.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     generate(root, train_songs=1, test_songs=1, seconds=2, progress=False)
    ...     sorted(track.name for track in Path(root).glob("train/*/*"))
    ['bass.wav', 'drums.wav', 'mixture.wav', 'other.wav', 'vocals.wav']
    """
    check_arguments(train_songs, test_songs, seconds, sample_rate, seed)
    root, length = Path(root), round(seconds * sample_rate)
    counts = {"train": train_songs, "test": test_songs}
    songs = [(subset, index) for subset in SUBSETS for index in range(counts[subset])]

    def provide(song: tuple[str, int]) -> None:
        folder = root / song[0] / song_name(*song, seed)
        if folder.exists():
            check_existing(folder, length, sample_rate)
        else:
            stems = compose(length, sample_rate, song_rng(*song, seed))
            save(stems, sample_rate, folder, draft=root / ".unfinished" / folder.name)

    bar = tqdm(total=len(songs), desc="demo songs", unit="song", disable=not progress)
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy releases the GIL
        for _ in pool.map(provide, songs):
            bar.update()
    shutil.rmtree(root / ".unfinished", ignore_errors=True)


def check_arguments(
    train_songs: int, test_songs: int, seconds: float, sample_rate: int, seed: int
) -> None:
    """Check the arguments of `generate`.

    Raises:
        ValueError: if one is out of range.
    """
    for argument, count in (("train_songs", train_songs), ("test_songs", test_songs)):
        if count < 1:
            raise ValueError(
                f"{argument} is {count}; expected at least 1: the recipe needs both subsets."
            )
    if not MIN_SECONDS <= seconds < np.inf:
        raise ValueError(
            f"seconds is {seconds}; expected at least {MIN_SECONDS:g}, about one bar of music."
        )
    if sample_rate < MIN_SAMPLE_RATE or sample_rate != int(sample_rate):
        raise ValueError(
            f"sample_rate is {sample_rate} Hz; expected a whole number, at least "
            f"{MIN_SAMPLE_RATE}, such as 16000: lower rates lose cymbals and consonants."
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected a whole number, at least 0.")


def check_existing(folder: Path, length: int, sample_rate: int) -> None:
    """Check that an existing song is complete and of this length and sample rate.

    Raises:
        ValueError: if it is not.
    """
    missing = [stem for stem in (*STEMS, "mixture") if not (folder / f"{stem}.wav").is_file()]
    if missing:
        raise ValueError(
            f"{folder} lacks {', '.join(missing)}. Delete the folder to generate it again."
        )
    found = soundfile.info(folder / "mixture.wav")
    if (found.frames, found.samplerate) != (length, sample_rate):
        raise ValueError(
            f"{folder} has {found.frames} samples at {found.samplerate} Hz; expected {length} at "
            f"{sample_rate} Hz. Use another folder, or delete this one first."
        )


def song_rng(subset: str, index: int, seed: int) -> np.random.Generator:
    """Return the random generator of one song."""
    return np.random.default_rng([seed, SUBSETS.index(subset), index])


def song_name(subset: str, index: int, seed: int = 0) -> str:
    """Return a song's folder name, "artist - title" as in MUSDB18, with unique titles per seed.

    >>> song_name("train", 0)
    'Demo train 01 - Silver Orchard'
    """
    order = np.random.default_rng(seed).permutation(len(COLOURS) * len(THINGS))
    colour, thing = divmod(order[(2 * index + SUBSETS.index(subset)) % len(order)], len(THINGS))
    return f"Demo {subset} {index + 1:02d} - {COLOURS[colour]} {THINGS[thing]}"


def save(stems: dict[str, Signal], sample_rate: int, folder: Path, draft: Path) -> None:
    """Write a song to `draft`, then rename it, so that `folder` exists only when complete."""
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    # Rounded before summing: the stems then sum to the mixture exactly.
    pcm = {stem: np.round(32767 * samples.T).astype(np.int16) for stem, samples in stems.items()}
    pcm["mixture"] = sum_values(pcm)
    for track, samples in pcm.items():
        soundfile.write(draft / f"{track}.wav", samples, sample_rate, subtype="PCM_16")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(folder)
