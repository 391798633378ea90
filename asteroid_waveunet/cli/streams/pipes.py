"""`-` and pipes as songs, `-` as the output."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from asteroid_waveunet.audio.folders import files_below, is_audio_file
from asteroid_waveunet.audio.sources import is_pipe, local_file
from asteroid_waveunet.cli.streams.output import show_as
from asteroid_waveunet.file_utils import expanded

__all__ = ["PIPE", "check_one_file", "folder_of_output", "regular_files"]

PIPE = "-"


@contextlib.contextmanager
def regular_files(songs: Sequence[str]) -> Iterator[list[str]]:
    """Yield the songs with standard input (`-`) and named pipes replaced by copies.

    Raises:
        ValueError: if standard input is to be read twice, or is a terminal.
    """
    if songs.count(PIPE) > 1:
        raise ValueError("Standard input (-) can be read once only.")
    with contextlib.ExitStack() as stack:
        files = []
        for song in songs:
            if song == PIPE:
                if sys.stdin.isatty():
                    raise ValueError("- reads a song from standard input; pipe one into it.")
                copy = stack.enter_context(local_file(sys.stdin.buffer, "stdin"))
                show_as(str(copy), "standard input")
            elif is_pipe(expanded(song)):
                copy = stack.enter_context(local_file(song))
                show_as(str(copy), song)
            else:
                files.append(song)
                continue
            files.append(str(copy))
        yield files


@contextlib.contextmanager
def folder_of_output(output: str) -> Iterator[str]:
    """Yield the output folder; for `-` a temporary one, whose one file goes to standard output.

    What is printed then goes to stderr.
    """
    if output != PIPE:
        yield output
        return
    target = sys.stdout.buffer
    with (
        tempfile.TemporaryDirectory(prefix="waveunet.") as folder,
        contextlib.redirect_stdout(sys.stderr),
    ):
        yield folder
        written = [file for file in files_below(Path(folder)) if is_audio_file(file)]
        if len(written) == 1:  # none if the song failed
            with written[0].open("rb") as file:
                try:
                    shutil.copyfileobj(file, target, 2**20)
                    target.flush()
                except OSError as reason:
                    raise OSError(reason.errno, reason.strerror, "standard output") from reason


def check_one_file(n_songs: int, names: Sequence[str], suffix: str) -> None:
    """Check that a run writes one file, for standard output.

    Raises:
        ValueError: if it writes several.
    """
    if n_songs != 1 or (len(names) != 1 and suffix != ".stem.mp4"):
        raise ValueError(
            f"-o - writes one file to standard output, not {n_songs} x {', '.join(names)}: give "
            "one song, and --stems with one name, --without or --format stem.mp4."
        )
