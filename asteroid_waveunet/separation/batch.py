"""Many songs: which they are, where their stems go, and what became of each."""

from __future__ import annotations

import glob
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.mp4 import STEM_SUFFIX
from asteroid_waveunet.separation.stems import (
    StemFile,
    StemFiles,
    Target,
    without_suffix,
)

__all__ = ["SUFFIXES", "Song", "find", "run", "target_of"]

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".mp4", ".aif", ".aiff")
KINDS = ", ".join(suffix[1:] for suffix in SUFFIXES)


@dataclass(frozen=True)
class Song:
    """An audio file and the name of its stems, relative to the output folder."""

    path: Path
    name: Path


def find(inputs: Sequence[str], output: Path) -> list[Song]:
    """The songs that files, folders and patterns stand for, each once.

    Folders are searched with all that is in them, and patterns match audio files and folders;
    hidden files and the output folder are left out. The structure of folders is kept in the
    names. Songs that differ only in their suffix keep it in the name.

    Raises:
        FileNotFoundError: if an input is or matches nothing, or holds no audio.
        ValueError: if two songs would get one name.
    """
    named: dict[Path, Path] = {}
    for item in inputs:
        for song, name in _songs_of(item, output).items():
            named.setdefault(song.resolve(), name)
    short = {path: name.with_name(without_suffix(name.name)) for path, name in named.items()}
    taken = Counter(short.values())
    names = {path: name if taken[name] == 1 else named[path] for path, name in short.items()}
    for name, count in Counter(names.values()).items():
        if count > 1:
            alike = ", ".join(str(path) for path, other in names.items() if other == name)
            raise ValueError(
                f"{alike} would all be written to {output / name}. Separate them one by one into "
                "different folders, or give the folder above them."
            )
    if not names:
        raise FileNotFoundError(
            f"There is no audio file ({KINDS}) outside the output folder {output}; name another."
        )
    return [Song(path, name) for path, name in names.items()]


def _songs_of(item: str, output: Path) -> dict[Path, Path]:
    """The songs of one input, with their names."""
    path = Path(item).expanduser()
    if path.is_dir():
        songs = _in_folder(path, output)
        if not songs and not _is_within(path, output):
            raise FileNotFoundError(f"The folder {path} holds no audio file ({KINDS}).")
    elif path.exists():
        songs = {path: Path(path.name)}
    else:
        songs = {}
        for match in map(Path, sorted(glob.glob(str(path), recursive=True))):
            if match.is_dir():
                songs.update(_in_folder(match, output))
            elif _is_song(match, output):
                songs[match] = match.relative_to(_fixed_part(path))
        if not songs:
            raise FileNotFoundError(
                f"There is no file or folder {item}, and no audio file ({KINDS}) matches it."
            )
    return songs


def _fixed_part(pattern: Path) -> Path:
    """The folders that a pattern begins with.

    >>> _fixed_part(Path("music/19*/**/*.flac"))
    PosixPath('music')
    """
    return next(p for p in pattern.parents if not glob.has_magic(str(p)))


def _in_folder(folder: Path, output: Path) -> dict[Path, Path]:
    """The audio files in a folder and all below it, with their names relative to it."""
    return {
        path: path.relative_to(folder)
        for path in sorted(folder.rglob("*"))
        if _is_song(path, output) and not any(map(_is_hidden, path.relative_to(folder).parts))
    }


def _is_song(path: Path, output: Path) -> bool:
    """Whether it is audio that nobody asked for by its name: no stem of ours, not hidden."""
    audible = path.suffix.lower() in SUFFIXES and path.is_file()
    return audible and not _is_hidden(path.name) and not _is_within(path, output)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") and not name.startswith("..")  # "...And Justice for All"


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def target_of(
    song: Song, output: Path, suffix: str, names: Iterable[str], bits: str | None
) -> Target:
    """OUTPUT/SONG/STEM.wav and so on, or OUTPUT/SONG.stem.mp4."""
    if suffix == STEM_SUFFIX:
        return StemFile(output / song.name.with_name(song.name.name + suffix))
    return StemFiles({name: output / song.name / f"{name}{suffix}" for name in names}, bits)


def seconds_of(song: Song) -> float:
    """The length of a song as its header tells, 0 if it cannot be read."""
    try:
        with audio_io.open_reader(song.path) as file:
            return (file.frames or 0) / file.sample_rate
    except (OSError, ValueError):
        return 0.0


class Stopped(Exception):
    """Raised in the songs at work when the user stops the run."""


def run(
    songs: Sequence[Song],
    work: Callable[[Song, Callable[[], None]], None],
    jobs: int = 1,
) -> dict[Song, str]:
    """Does the work for each song; one that fails does not stop the others.

    Args:
        work: called with a song and a function to call now and then, which ends the work when
            the run is stopped.
        jobs: songs at once, which share the processor's cores.
    Returns:
        What went wrong, for each song that failed.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def one(song: Song) -> str | None:
        try:
            check()
            work(song, check)
        except Stopped:
            return "stopped"
        except Exception as reason:  # whatever it is, the other songs are not to blame
            return _plainly(reason)
        return None

    if jobs == 1:
        outcomes = [one(song) for song in songs]
    else:
        threads = max(1, torch.get_num_threads() // jobs)
        with ThreadPoolExecutor(
            jobs, initializer=torch.set_num_threads, initargs=(threads,)
        ) as pool:
            try:
                outcomes = list(pool.map(one, songs))
            except BaseException:
                stop.set()
                raise
    return {song: why for song, why in zip(songs, outcomes, strict=True) if why is not None}


def _plainly(reason: Exception) -> str:
    expected = isinstance(reason, (ValueError, OSError))
    return str(reason) if expected else f"{type(reason).__name__}: {reason}"
