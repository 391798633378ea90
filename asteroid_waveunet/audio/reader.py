"""Read audio files as `(channels, time)` float32 tensors, full scale 1.0.

libsndfile reads files of plain samples, and ogg; PyAV reads everything else, and what libsndfile
cannot. The content decides, not the suffix. Reading goes on to the end of the data: a length
that a file states is only the least that it must hold.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from asteroid_waveunet.audio.container import NotAudio, open_container
from asteroid_waveunet.audio.file_structure import chunks, ogg, truncation
from asteroid_waveunet.audio.sources import Source, local_file
from asteroid_waveunet.system_errors import unreadable

__all__ = ["BLOCK", "Reader", "count_frames", "header", "open_reader", "read"]

UNKNOWN_LENGTH = 2**62  # samples; libsndfile reports the largest 64-bit integer
# Formats that only libsndfile reads: pvf, xi, paf, avr, mat5, nist, wve, sds. (It takes anything
# else for an mp3, and its decoder complains on stderr.)
RARE = (b"PVF1", b"Exten", b" paf", b"fap ", b"2BIT", b"MATLAB", b"NIST_1A", b"ALawS", b"\xf0\x7e")
RIFF = ("WAV", "WAVEX", "RF64")
PLAIN = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"dns.", b"caff", b"riff", b"OggS")

BLOCK = 2**14
"""Samples per channel to read or write at a time."""

TRUNCATED = (
    "{path} is truncated or damaged: it holds only {length} of {frames} samples per channel. Copy "
    "or download it again."
)


@dataclass(frozen=True)
class Reader:
    """An open audio file, to be read once from its start.

    Attributes:
        name: path of the file, for messages.
        sample_rate: in Hz.
        channels: number of channels.
        frames: expected samples per channel, which may be an estimate; None if unknown.
        declared: samples per channel that the file declares; None if its format stores none. It
            may hold more, but not less.
        subtype: libsndfile's name of the sample format, such as "PCM_16"; None for lossy codecs.
        read: yields all samples as `(n, channels)` arrays of about the given length.
        n_damaged: returns the number of packets that could not be decoded, so far.
    """

    name: str
    sample_rate: int
    channels: int
    frames: int | None
    declared: int | None
    subtype: str | None
    read: Callable[[int], Iterator[np.ndarray]]
    n_damaged: Callable[[], int] = lambda: 0

    def blocks(self, length: int) -> Iterator[Tensor]:
        """Yield all samples as finite `(channels, n)` float32 blocks of about `length`.

        Damaged passages of a file that declares no length are skipped, with a warning.

        Raises:
            ValueError: if the file is empty or truncated, or holds NaN or infinite samples.
            OSError: if the system cannot read on.
        """
        n_read = 0
        for frames in self.read(length):
            self._check_finite(frames, n_read)
            n_read += len(frames)
            yield torch.from_numpy(np.ascontiguousarray(frames.T))
        if self.declared is not None and n_read < self.declared:
            raise ValueError(TRUNCATED.format(path=self.name, length=n_read, frames=self.frames))
        if n_read == 0:
            raise ValueError(f"{self.name} is empty: it holds no samples.")
        if damaged := self.n_damaged():
            warnings.warn(
                f"{self.name} is damaged: {damaged} of its packets cannot be decoded and were left "
                "out. Copy or download it again.",
                stacklevel=2,
            )

    def excerpt(self, start: float = 0.0, duration: float | None = None) -> Reader:
        """Return a reader of a part of the file, both in seconds; None: up to the end.

        Raises:
            ValueError: if `start` is negative or `duration` not positive; in reading, if the
                file ends before `start`.
        """
        if not 0 <= start < math.inf:
            raise ValueError(f"start is {start}; expected seconds from 0 on.")
        if duration is not None and not 0 < duration < math.inf:
            raise ValueError(f"duration is {duration}; expected seconds above 0.")
        if start == 0 and duration is None:
            return self
        first = round(start * self.sample_rate)
        last = None if duration is None else first + max(1, round(duration * self.sample_rate))

        def read(length: int) -> Iterator[np.ndarray]:
            at = 0
            for frames in self.read(length):
                part = frames[max(0, first - at) : None if last is None else max(0, last - at)]
                at += len(frames)
                if len(part):
                    yield part
                if last is not None and at >= last:
                    return
            if at <= first:
                raise ValueError(
                    f"{self.name} ends after {at / self.sample_rate:g} s, before the start at "
                    f"{start:g} s."
                )

        return dataclasses.replace(
            self,
            read=read,
            frames=None
            if self.frames is None
            else max(0, min(self.frames, last or self.frames) - first),
            declared=None,
        )

    def _check_finite(self, frames: np.ndarray, start: int) -> None:
        finite = np.isfinite(frames)
        if not finite.all():
            index, channel = np.argwhere(~finite)[0] + (start, 0)
            raise ValueError(
                f"{self.name} has NaN or infinite samples, the first at "
                f"{index / self.sample_rate:.3f} s (sample {index} of channel {channel}). Repair "
                "it first: the estimates around them would be NaN too."
            )


@contextlib.contextmanager
def open_reader(source: Source) -> Iterator[Reader]:
    """Open an audio file to read it block by block, in constant memory.

    Truncated files are refused if the format reveals it: wav, aiff, w64, caf, au, wma and mkv by
    the header, flac by its length, ogg by the last page, mp3 if the encoder stored the length, mp4
    by its index.

    Args:
        source: a file that libsndfile or FFmpeg reads, of any suffix; the first audio stream is
            read. Or a pipe, or a binary file object, which is read to its end.
    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError, OSError: if the system does not
            open it.
        ValueError: if it is not an audio file, or is known to be truncated.
    """
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(local_file(source))
        start = _first_bytes(path)
        if not start:
            raise ValueError(
                f"{path} cannot be read as audio: it is empty or truncated, of 0 bytes. Copy it "
                "again."
            )
        _check_complete(path, start)
        if start[:4] in chunks.WHOLE_FILES and chunks.is_joined(path):
            warnings.warn(
                f"{path}: another file follows its samples and is left out, as by ffmpeg. Join wav "
                "and aiff files with sox or ffmpeg, not as bytes.",
                stacklevel=3,
            )
        reader = _plain_reader(path, stack) if start.startswith(PLAIN) else None
        if reader is None:
            try:
                reader = stack.enter_context(_container_reader(path))
            except NotAudio:
                reader = _plain_reader(path, stack) if start.startswith(RARE) else None
                if reader is None:
                    raise
        yield reader


def read(path: Source) -> tuple[Tensor, int]:
    """Read a whole audio file.

    Returns:
        Samples `(channels, time)`, float32, and the sample rate in Hz.
    Raises:
        FileNotFoundError, OSError, ValueError: see `open_reader` and `Reader.blocks`.
    """
    with open_reader(path) as file:
        return torch.cat(list(file.blocks(BLOCK)), dim=-1), file.sample_rate


def header(path: str | os.PathLike) -> Reader:
    """Return the closed reader of a file, for its sample rate, channels and declared length.

    Raises:
        FileNotFoundError, OSError, ValueError: as `read`, as far as the header tells.
    """
    with open_reader(path) as file:
        return file


def count_frames(path: str | os.PathLike) -> int:
    """Return a file's samples per channel, by decoding it if it declares no length."""
    with open_reader(path) as file:
        if file.declared is not None and file.frames is not None:
            return file.frames
        return sum(block.shape[-1] for block in file.blocks(BLOCK))


def _first_bytes(path: Path) -> bytes:
    """Return the beginning of a file, by which formats are told apart.

    Raises:
        OSError: if the system does not open or read it: the system's reason and what to do.
    """
    try:
        if not path.is_file() and path.exists() and not path.is_dir():
            raise OSError(errno.EINVAL, "it is a device, no file")
        with path.open("rb") as file:
            return file.read(16)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"Audio file {path} not found.") from error
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{path} is a folder; expected an audio file.") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _check_complete(path: Path, start: bytes) -> None:
    """Raise ValueError if a file ends before its container states."""
    if truncation.is_truncated(path, truncation.format_of(start)):
        raise ValueError(
            f"{path} is truncated: it ends before its header says. Copy or download it again."
        )


def _plain_reader(path: Path, stack: contextlib.ExitStack) -> Reader | None:
    """Open a file with libsndfile; None if it cannot read the file to its end."""
    try:
        file = stack.enter_context(soundfile.SoundFile(os.fsencode(path)))
    except soundfile.LibsndfileError:
        return None
    is_surround_ogg = file.format == "OGG" and file.channels > 2  # in Vorbis's order of channels
    if (
        is_surround_ogg
        or file.frames >= UNKNOWN_LENGTH
        or file.subtype.startswith("MPEG")
        or (file.frames == 0 and (file.format not in RIFF or chunks.has_unsized_samples(path)))
        or (file.format == "OGG" and len(ogg.links(path)) > 1)
    ):
        return None

    def read(length: int) -> Iterator[np.ndarray]:
        while len(frames := file.read(length, dtype="float32", always_2d=True)):
            yield frames

    return Reader(
        os.fspath(path),
        file.samplerate,
        file.channels,
        file.frames,
        file.frames,
        None if file.format == "OGG" else file.subtype,
        read,
    )


@contextlib.contextmanager
def _container_reader(path: Path) -> Iterator[Reader]:
    """Open a file with PyAV."""
    with open_container(path) as file:
        yield Reader(
            os.fspath(path),
            file.sample_rate,
            file.channels,
            file.frames,
            file.declared,
            file.subtype,
            file.read,
            lambda: file.n_damaged,
        )
