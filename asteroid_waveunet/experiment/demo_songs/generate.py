"""Generated songs with true stems, in MUSDB18-HQ's layout: a recipe runs before any download.

    ROOT/{train,test}/NAME/{mixture,drums,bass,other,vocals}.wav

Stereo, 16 bits, the mixture being exactly the sum of the stems. Every song draws its own key,
tempo, chords, drum pattern, bass line, melody, instruments, singer, panning, levels and room, so
no test song is a training song again; but it is simple music, and far easier to separate than
records are: scores on it say that a recipe works, and nothing about MUSDB18.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from asteroid_waveunet.experiment.demo_songs.composition import compose, total
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
    """Writes songs with their stems; those already there are kept, so a killed run goes on.

    A song depends on `seed`, its subset, its number there, `seconds` and `sample_rate`, not on
    how many are asked for; the same arguments give the same files, bit for bit.

    Args:
        root: folder; made if it is not there. Other songs in it stay.
        train_songs, test_songs: songs of each subset, >= 1.
        seconds: length of each song, >= 2.
        sample_rate: in Hz, >= 8000.
        seed: int >= 0; another seed gives other songs.
        progress: show a progress bar.
    Raises:
        ValueError: if an argument is out of its range, or `root` holds one of these songs in
            another length or rate, or without one of its tracks.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     generate(root, train_songs=1, test_songs=1, seconds=2, progress=False)
    ...     sorted(track.name for track in Path(root).glob("train/*/*"))
    ['bass.wav', 'drums.wav', 'mixture.wav', 'other.wav', 'vocals.wav']
    """
    check(train_songs, test_songs, seconds, sample_rate, seed)
    root, length = Path(root), round(seconds * sample_rate)
    counts = {"train": train_songs, "test": test_songs}
    wanted = [(subset, index) for subset in SUBSETS for index in range(counts[subset])]

    def provide(song: tuple[str, int]) -> None:
        folder = root / song[0] / name(*song, seed)
        if folder.exists():
            check_found(folder, length, sample_rate)
        else:
            stems = compose(length, sample_rate, dice(*song, seed))
            save(stems, sample_rate, folder, draft=root / ".unfinished" / folder.name)

    bar = tqdm(total=len(wanted), desc="demo songs", unit="song", disable=not progress)
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy computes outside the GIL
        for _ in pool.map(provide, wanted):
            bar.update()
    shutil.rmtree(root / ".unfinished", ignore_errors=True)


def check(train_songs: int, test_songs: int, seconds: float, sample_rate: int, seed: int) -> None:
    """Refuses what cannot be generated."""
    for what, count in (("train_songs", train_songs), ("test_songs", test_songs)):
        if count < 1:
            raise ValueError(
                f"{what} is {count}; expected at least 1: a recipe needs songs in both subsets."
            )
    if not MIN_SECONDS <= seconds < np.inf:
        raise ValueError(
            f"seconds is {seconds}; expected at least {MIN_SECONDS:g}, a bar of music or so. "
            "Ask for longer songs."
        )
    if sample_rate < MIN_SAMPLE_RATE or sample_rate != int(sample_rate):
        raise ValueError(
            f"sample_rate is {sample_rate} Hz; expected a whole number, at least "
            f"{MIN_SAMPLE_RATE}: below it cymbals and consonants are lost. 16000 will do."
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected a whole number, at least 0.")


def check_found(folder: Path, length: int, sample_rate: int) -> None:
    """Refuses to pass off another song as the one asked for."""
    missing = [stem for stem in (*STEMS, "mixture") if not (folder / f"{stem}.wav").is_file()]
    if missing:
        raise ValueError(
            f"{folder} lacks {', '.join(missing)}. Delete the folder, and it is generated anew."
        )
    found = soundfile.info(folder / "mixture.wav")
    if (found.frames, found.samplerate) != (length, sample_rate):
        raise ValueError(
            f"{folder} holds {found.frames} samples at {found.samplerate} Hz; expected {length} at "
            f"{sample_rate} Hz. Generate into another folder, or delete this one first."
        )


def dice(subset: str, index: int, seed: int) -> np.random.Generator:
    """The song's own source of chance."""
    return np.random.default_rng([seed, SUBSETS.index(subset), index])


def name(subset: str, index: int, seed: int = 0) -> str:
    """A song's folder, artist and title as in MUSDB18; the titles of a seed are a shuffled pack.

    >>> name("train", 0)
    'Demo train 01 - Silver Orchard'
    """
    pack = np.random.default_rng(seed).permutation(len(COLOURS) * len(THINGS))
    colour, thing = divmod(pack[(2 * index + SUBSETS.index(subset)) % len(pack)], len(THINGS))
    return f"Demo {subset} {index + 1:02d} - {COLOURS[colour]} {THINGS[thing]}"


def save(stems: dict[str, Signal], sample_rate: int, folder: Path, draft: Path) -> None:
    """Writes a song to `draft`, then renames that: `folder` exists only when it is complete."""
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    # Rounded before they are added, the stems sum to the mixture bit for bit.
    pcm = {stem: np.round(32767 * samples.T).astype(np.int16) for stem, samples in stems.items()}
    pcm["mixture"] = total(pcm)
    for track, samples in pcm.items():
        soundfile.write(draft / f"{track}.wav", samples, sample_rate, subtype="PCM_16")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(folder)
