"""Read and write audio files as `(channels, time)` float32 tensors, full scale 1.0.

Reading is in `audio.reader`.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from asteroid_waveunet.audio.reader import (
    BLOCK,
    Reader,
    count_frames,
    header,
    open_reader,
    read,
)
from asteroid_waveunet.audio.tags import Tags, write_tags
from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.system_errors import write_error

__all__ = [
    "BLOCK",
    "Reader",
    "as_pcm",
    "count_frames",
    "header",
    "open_reader",
    "open_writer",
    "read",
    "write",
]

PCM_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM
OGG_MAX_RATE, OGG_MAX_CHANNELS = 200_000, 255  # libsndfile crashes beyond
WAV_MAX_BYTES = 2**32 - 2**12  # of samples: the header stores sizes, its own included, in 32 bits
COMPRESSION_LEVEL = {".mp3": 0.0, ".ogg": 0.2}  # variable bit rates near 250 kbit/s


@contextlib.contextmanager
def open_writer(
    path: str | os.PathLike,
    sample_rate: float,
    channels: int,
    subtype: str | None = "FLOAT",
    frames: int | None = None,
    tags: Tags | None = None,
) -> Iterator[Callable[[Tensor], None]]:
    """Open an audio file to write it block by block; it appears once complete.

    Args:
        path: its suffix selects the format: wav, flac, ogg, mp3 or another of libsndfile's.
        sample_rate: in Hz, a whole number.
        subtype: libsndfile's name of the sample format. "FLOAT" keeps samples beyond full
            scale; integer formats ("PCM_16", "PCM_24") clip them. None: the format's default.
        frames: samples per channel to be written, if known. A wav above 4 GB is written as
            RF64 (EBU Tech 3306), which has no size limit.
        tags: to write; a format without tags gives a warning.
    Yields:
        A function that writes the next `(channels, n)` samples.
    Raises:
        ValueError: if the format does not support these samples.
        OSError: if the file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    with replacing(path) as partial:
        with _write_errors(path, partial, subtype):
            file = _create(partial, sample_rate, channels, subtype, frames or 0)
        bits = PCM_BITS.get(file.subtype)

        def write(samples: Tensor) -> None:
            # libsndfile puts an ogg block of any length on the stack, which overflows.
            for block in samples.detach().cpu().split(BLOCK, dim=-1):
                with _write_errors(path, partial, subtype):
                    file.write(as_pcm(block, bits).T.numpy())

        try:
            yield write
        finally:
            with _write_errors(path, partial, subtype):
                file.close()
        if tags:
            try:
                write_tags(partial, tags)
            except ValueError:
                warnings.warn(f"{path} has no tags: its format does not take them.", stacklevel=4)


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
def _write_errors(path: Path, partial: Path, subtype: str | None) -> Iterator[None]:
    """Convert libsndfile's write errors to a ValueError or OSError with a remedy."""
    try:
        yield
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        if getattr(error, "code", None) != SYSTEM_ERROR:
            kind = f" as {subtype}" if subtype else ""
            raise ValueError(f"{path} cannot be written{kind}: {error}") from error
        raise write_error(path, partial, error) from error


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
