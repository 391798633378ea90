"""Read and write audio files as `(channels, time)` float32 tensors, full scale 1.0."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from asteroid_waveunet.audio import mp4, truncation
from asteroid_waveunet.file_utils import replacing

__all__ = ["Reader", "as_pcm", "header", "open_reader", "open_writer", "read", "write"]

PCM_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
UNKNOWN_LENGTH = 2**62  # samples; libsndfile reports the largest 64-bit integer
SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM
OGG_MAX_RATE, OGG_MAX_CHANNELS = 200_000, 255  # libsndfile crashes beyond
WAV_MAX_BYTES = 2**32 - 2**12  # of samples: the header stores sizes, its own included, in 32 bits
COMPRESSION_LEVEL = {".mp3": 0.0, ".ogg": 0.2}  # variable bit rates near 250 kbit/s

BLOCK = 2**14
"""Samples per channel to read or write at a time."""

TRUNCATED = (
    "{path} is truncated: it holds only {length} samples per channel. Copy or download it again."
)


@dataclass(frozen=True)
class Reader:
    """An open audio file, to be read once from its start.

    Attributes:
        name: path of the file, for messages.
        sample_rate: in Hz.
        channels: number of channels.
        frames: samples per channel; None if the file does not store its length.
        subtype: libsndfile's name of the sample format, such as "PCM_16"; None for AAC.
        read: yields all samples as `(n, channels)` arrays of about the given length.
        slack: samples by which the file may be shorter than `frames`.
    """

    name: str
    sample_rate: int
    channels: int
    frames: int | None
    subtype: str | None
    read: Callable[[int], Iterator[np.ndarray]]
    slack: int = 0

    def blocks(self, length: int) -> Iterator[Tensor]:
        """Yield all samples as finite `(channels, n)` float32 blocks of about `length`.

        Raises:
            ValueError: if the file is empty or truncated, or holds NaN or infinite samples.
        """
        n_read = 0
        for frames in self.read(length):
            self._check_finite(frames, n_read)
            n_read += len(frames)
            yield torch.from_numpy(np.ascontiguousarray(frames.T))
        if self.frames is not None and n_read < self.frames - self.slack:
            raise ValueError(TRUNCATED.format(path=self.name, length=n_read))
        if n_read == 0:
            raise ValueError(f"{self.name} is empty: it holds no samples.")

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
def open_reader(path: str | os.PathLike) -> Iterator[Reader]:
    """Open an audio file to read it block by block, in constant memory.

    Truncated files are refused if the format reveals it: wav by the header, flac by its
    frames, ogg by the last page, mp3 if the encoder stored the length, mp4 by its index.

    Args:
        path: a wav, flac, ogg, mp3 or other file that libsndfile reads; or an m4a or mp4 file,
            whose first audio stream is read (needs PyAV).
    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not an audio file, or is known to be truncated.
    """
    if Path(path).suffix.lower() in mp4.SUFFIXES:
        with mp4.open_reader(_existing(path)) as (sample_rate, channels, frames, read):
            yield Reader(os.fspath(path), sample_rate, channels, frames, None, read, mp4.SLACK)
        return
    with _open(path) as file:

        def read(length: int) -> Iterator[np.ndarray]:
            while len(frames := file.read(length, dtype="float32", always_2d=True)):
                yield frames

        subtype = file.subtype
        yield Reader(os.fspath(path), file.samplerate, file.channels, file.frames, subtype, read)


def read(path: str | os.PathLike) -> tuple[Tensor, int]:
    """Read a whole audio file.

    Returns:
        Samples `(channels, time)`, float32, and the sample rate in Hz.
    Raises:
        FileNotFoundError, ValueError: see `open_reader` and `Reader.blocks`.
    """
    with open_reader(path) as file:
        return torch.cat(list(file.blocks(BLOCK)), dim=-1), file.sample_rate


def header(path: str | os.PathLike) -> soundfile.SoundFile:
    """Return a closed `SoundFile` with the file's `samplerate`, `channels` and `frames`.

    Raises:
        FileNotFoundError, ValueError: as `read`, as far as the header tells.
    """
    with _open(path) as file:
        return file


def _existing(path: str | os.PathLike) -> Path:
    """Return the path with its user directory expanded.

    Raises:
        FileNotFoundError: if it is not a file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"Audio file {path} not found.")
    return path


@contextlib.contextmanager
def _open(path: str | os.PathLike) -> Iterator[soundfile.SoundFile]:
    """Open a file with libsndfile; raise `open_reader`'s errors."""
    path = _existing(path)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if file.frames >= UNKNOWN_LENGTH:
                raise ValueError(
                    f"{path} does not store its length; its encoder wrote to a pipe. Write it to "
                    "a file again, with `flac` or ffmpeg."
                )
            if truncation.is_truncated(path, file.format):
                raise ValueError(TRUNCATED.format(path=path, length=file.frames))
            yield file
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{path} cannot be read as audio ({error.error_string}). Expected a complete wav, "
            "flac, ogg, mp3 or m4a file; ffmpeg converts others."
        ) from error


@contextlib.contextmanager
def open_writer(
    path: str | os.PathLike,
    sample_rate: float,
    channels: int,
    subtype: str | None = "FLOAT",
    frames: int | None = None,
) -> Iterator[Callable[[Tensor], None]]:
    """Open an audio file to write it block by block; it appears once complete.

    Args:
        path: its suffix selects the format: wav, flac, ogg, mp3 or another of libsndfile's.
        sample_rate: in Hz, a whole number.
        subtype: libsndfile's name of the sample format. "FLOAT" keeps samples beyond full
            scale; integer formats ("PCM_16", "PCM_24") clip them. None: the format's default.
        frames: samples per channel to be written, if known. A wav above 4 GB is written as
            RF64 (EBU Tech 3306), which has no size limit.
    Yields:
        A function that writes the next `(channels, n)` samples.
    Raises:
        ValueError: if the format does not support these samples.
        OSError: if the file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    with replacing(path) as partial:
        with _write_errors(path, subtype):
            file = _create(partial, sample_rate, channels, subtype, frames or 0)
        bits = PCM_BITS.get(file.subtype)

        def write(samples: Tensor) -> None:
            # libsndfile puts an ogg block of any length on the stack, which overflows.
            for block in samples.detach().cpu().split(BLOCK, dim=-1):
                with _write_errors(path, subtype):
                    file.write(as_pcm(block, bits).T.numpy())

        try:
            yield write
        finally:
            with _write_errors(path, subtype):
                file.close()


def _create(
    path: Path, sample_rate: float, channels: int, subtype: str | None, frames: int
) -> soundfile.SoundFile:
    """Create a file of `frames` samples per channel; see `open_writer`."""
    suffix = path.suffix.lower()
    if suffix == ".ogg" and (sample_rate > OGG_MAX_RATE or channels > OGG_MAX_CHANNELS):
        raise ValueError(
            f"Vorbis supports at most {OGG_MAX_RATE} Hz and {OGG_MAX_CHANNELS} channels, not "
            f"{sample_rate} Hz and {channels}."
        )
    n_bytes = frames * channels * PCM_BITS.get(subtype or "", 32) // 8
    return soundfile.SoundFile(
        os.fsencode(path),
        "w",
        samplerate=int(sample_rate),
        channels=channels,
        subtype=subtype,
        format="RF64" if suffix == ".wav" and n_bytes > WAV_MAX_BYTES else None,
        compression_level=COMPRESSION_LEVEL.get(suffix),
    )


@contextlib.contextmanager
def _write_errors(path: Path, subtype: str | None) -> Iterator[None]:
    """Convert libsndfile's write errors to a ValueError or OSError with a remedy."""
    try:
        yield
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        if getattr(error, "code", None) != SYSTEM_ERROR:
            kind = f" as {subtype}" if subtype else ""
            raise ValueError(f"{path} cannot be written{kind}: {error}") from error
        free = shutil.disk_usage(path.parent).free / 2**20
        raise OSError(
            f"{path} cannot be written: the system refused, with {free:.0f} MB free on its disk. "
            "Free some space, or write elsewhere."
        ) from error


def as_pcm(samples: Tensor, bits: int | None) -> Tensor:
    """Round samples to the upper `bits` of 32-bit integers; return them unchanged if None.

    Full scale is 2 ** (bits - 1), as on reading, so PCM files survive a round trip bit for
    bit. (On writing, libsndfile scales floats by one less.)

    >>> as_pcm(torch.tensor([-1.0, 0.5, 2.0]), 16) >> 16
    tensor([-32768,  16384,  32767], dtype=torch.int32)
    """
    if bits is None:
        return samples
    scale = 2 ** (bits - 1)
    rounded = (samples.double() * scale).round().clamp(-scale, scale - 1)
    return rounded.to(torch.int32) << (32 - bits)


def write(
    path: str | os.PathLike,
    samples: Tensor,
    sample_rate: float,
    subtype: str | None = "FLOAT",
) -> None:
    """Write `(channels, time)` samples; see `open_writer`."""
    channels, frames = samples.shape
    with open_writer(path, sample_rate, channels, subtype, frames) as write_block:
        write_block(samples)
