"""Find songs in files, folders and patterns, and separate them in parallel."""

from __future__ import annotations

import contextlib
import glob
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from asteroid_waveunet.audio.folders import files_below, is_audio_file, left_out
from asteroid_waveunet.audio.formats import KINDS
from asteroid_waveunet.file_utils import expanded
from asteroid_waveunet.separation.stems import without_suffix
from asteroid_waveunet.system_errors import explain, unreadable

__all__ = ["Song", "Stopped", "distinct_names", "find", "n_bytes", "run", "songs_of"]

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Song:
    """An audio file and the name of its stems, relative to the output folder."""

    path: Path
    name: Path


def find(inputs: Sequence[str], output: Path, missing: dict[str, str] | None = None) -> list[Song]:
    """Return the songs that files, folders and patterns refer to, each once.

    Folders are searched recursively; patterns match audio files and folders. Hidden files and
    the output folder are skipped. Names keep the folder structure. Songs that differ only in
    their suffix keep it in the name.

    Args:
        missing: receives the inputs that cannot be found, with the reasons, if others can.
    Raises:
        FileNotFoundError: if an input does not exist, matches nothing or holds no audio.
        ValueError: if two songs would get the same name.
    """
    named: dict[Path, Path] = {}
    for item in inputs:
        try:
            for song, name in songs_of(item, output).items():
                named.setdefault(song.resolve(), name)
        except OSError as reason:
            if missing is None or len(inputs) == 1:
                raise
            missing[item] = explain(reason)
    names = distinct_names(named, str(output))
    if not names:
        if missing:
            raise FileNotFoundError(" ".join(missing.values()))
        raise FileNotFoundError(
            f"Found no audio file ({KINDS}) outside the output folder {output}; pass another."
        )
    return [Song(path, name) for path, name in names.items()]


def distinct_names(
    named: Mapping[Key, Path], output: str, shown: Callable[[Key], object] = str
) -> dict[Key, Path]:
    """Return the names of songs without their suffixes, which those that differ only there keep.

    Args:
        named: song -> its name with the suffix.
        output: for the message.
        shown: returns how the message names a song.
    Raises:
        ValueError: if two songs would get the same name.
    """
    short = {song: name.with_name(without_suffix(name.name)) for song, name in named.items()}
    taken = Counter(short.values())
    names = {song: name if taken[name] == 1 else named[song] for song, name in short.items()}
    for name, count in Counter(names.values()).items():
        if count > 1:
            alike = ", ".join(f"{shown(song)}" for song, other in names.items() if other == name)
            raise ValueError(
                f"{alike} would all be written to {output}/{name}. Pass their common folder, or "
                "quote the pattern that the shell expanded ('*/song.wav'): names then include "
                "the folders. Songs of a manifest can each have a name."
            )
    return names


def songs_of(item: str, output: Path) -> dict[Path, Path]:
    """Return the songs of one input and their names, with suffixes, relative to its folder.

    Raises:
        OSError: if it does not exist, matches nothing or holds no audio.
    """
    path = expanded(item)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        try:
            path.stat()
        except PermissionError as error:
            raise unreadable(path, error) from error
    if path.is_dir():
        songs = _in_folder(path, output)
        if not songs and not _is_within(path, output):
            raise FileNotFoundError(f"Folder {path} holds no audio file ({KINDS}).")
    elif path.exists():
        songs = {path: Path(path.name)}
    else:
        songs, others = {}, []
        fixed = _fixed_part(path)
        # The shortest path first, so that links do not give a song a longer name.
        matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=_depth_and_name)
        for match in matches:
            if match.is_dir():
                songs.update(_in_folder(match, output))
            elif is_audio_file(match, below=fixed) and not _is_within(match, output):
                songs[match] = match.relative_to(fixed)
            elif not _is_within(match, output):
                others.append(match)
        if songs:
            _say_left_out(others, item)
        if not songs:
            raise FileNotFoundError(
                f"{item} does not exist, and matches no audio file ({KINDS}) as a pattern."
            )
    return songs


def _depth_and_name(path: Path) -> tuple[int, Path]:
    return len(path.parts), path


def _fixed_part(pattern: Path) -> Path:
    """Return the leading folders of a pattern that hold no wildcard.

    >>> _fixed_part(Path("music/19*/**/*.flac"))
    PosixPath('music')
    """
    return next(p for p in pattern.parents if not glob.has_magic(str(p)))


def _in_folder(folder: Path, output: Path) -> dict[Path, Path]:
    """Return all audio files below a folder, and their paths relative to it."""
    files = [path for path in files_below(folder) if not _is_within(path, output)]
    songs = [path for path in files if is_audio_file(path, below=folder)]
    if songs:
        _say_left_out(set(files).difference(songs), folder)
    return {path: path.relative_to(folder) for path in songs}


def _say_left_out(files: Iterable[Path], place: str | Path) -> None:
    if said := left_out(files, place):
        warnings.warn(f"{said}. A file that is named itself is read anyway.", stacklevel=2)


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def n_bytes(song: Song) -> int:
    """Return the size of a song's file, 0 if it cannot be accessed."""
    try:
        return song.path.stat().st_size
    except OSError:
        return 0


class Stopped(Exception):
    """Raised in running songs when the user stops the run."""


def run(
    songs: Sequence[Song],
    work: Callable[[Song, Callable[[], None]], None],
    jobs: int = 1,
) -> dict[Song, str]:
    """Process each song with `work`; a failure does not stop the other songs.

    Args:
        work: called with a song and a function that it must call regularly, which raises
            `Stopped` once the run is stopped.
        jobs: number of songs in parallel, which share the processor's cores.
    Returns:
        The error messages of the songs that failed.
    """
    runner = _Runner(work)
    if jobs == 1:
        messages = [runner.process(song) for song in songs]
    else:
        threads = max(1, torch.get_num_threads() // jobs)
        with ThreadPoolExecutor(
            jobs, initializer=torch.set_num_threads, initargs=(threads,)
        ) as pool:
            try:
                futures = [pool.submit(runner.process, song) for song in songs]
                for future in futures:
                    # A signal that another thread receives does not end an unlimited wait.
                    while not wait([future], timeout=0.5).done:
                        pass
            except BaseException:
                runner.stop()
                raise
        messages = [future.result() for future in futures]
    return {song: why for song, why in zip(songs, messages, strict=True) if why is not None}


class _Runner:
    """Processes songs in several threads until it is stopped."""

    def __init__(self, work: Callable[[Song, Callable[[], None]], None]):
        self._work = work
        self._stopped = False
        self._idle = threading.Condition()
        self._n_running = 0

    def process(self, song: Song) -> str | None:
        """Process a song; return the message of its error, None if it succeeds."""
        with self._idle:
            self._n_running += 1
        try:
            self._check()
            self._work(song, self._check)
        except Stopped:
            return "stopped"
        except Exception as error:  # even a bug must not stop the other songs
            return explain(error)
        finally:
            with self._idle:
                self._n_running -= 1
                self._idle.notify_all()
        return None

    def stop(self) -> None:
        """Stop all songs and wait for them.

        A thread pool does not join a thread whose start was interrupted.
        """
        self._stopped = True
        with self._idle:
            self._idle.wait_for(lambda: self._n_running == 0)

    def _check(self) -> None:
        if self._stopped:
            raise Stopped
