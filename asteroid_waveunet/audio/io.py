"""Audio files and tensors: `(channels, time)`, float32, full scale 1.0."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from asteroid_waveunet.audio import mp4, truncation
from asteroid_waveunet.file_utils import replacing

__all__ = [
    "Reader",
    "Resampler",
    "as_pcm",
    "check_floating",
    "check_samples",
    "header",
    "read",
    "reading",
    "resample",
    "to_channels",
    "write",
    "writing",
]

PCM_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
UNKNOWN_LENGTH = 2**62  # samples: libsndfile has the largest 64-bit number for it
SYSTEM_ERROR = 2  # SF_ERR_SYSTEM of libsndfile
OGG_RATE, OGG_CHANNELS = 200_000, 255  # beyond them libsndfile crashes
WAV_LIMIT = 2**32 - 2**12  # bytes of samples: the header has 32 bits for their number and its own
QUALITY = {".mp3": 0.0, ".ogg": 0.2}  # compression_level: variable bit rates near 250 kbit/s

BLOCK = 2**14
"""Samples per channel that are read or written at once."""

TRUNCATED = (
    "{path} is truncated: only {length} samples per channel are left of it. Copy or download it "
    "again."
)


@dataclass(frozen=True)
class Reader:
    """An open audio file, read once from its start.

    Attributes:
        name: the file's, for messages.
        sample_rate: in Hz.
        channels: how many.
        frames: samples per channel; None if the file does not say.
        subtype: libsndfile's name of its sample format, such as "PCM_16"; None if there is none.
        read: gives all samples as arrays `(n, channels)`, each of about so many.
        slack: samples by which the file may be shorter than it says.
    """

    name: str
    sample_rate: int
    channels: int
    frames: int | None
    subtype: str | None
    read: Callable[[int], Iterator[np.ndarray]]
    slack: int = 0

    def blocks(self, length: int) -> Iterator[Tensor]:
        """All samples, `(channels, n)` float32, about `length` at a time.

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
            at, channel = np.argwhere(~finite)[0] + (start, 0)
            raise ValueError(
                f"{self.name} has NaN or infinite samples, the first one at "
                f"{at / self.sample_rate:.3f} s (sample {at} of channel {channel}). Repair it "
                "before use: estimates around them would be NaN too."
            )


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[Reader]:
    """An audio file to be read block by block, in a memory that does not grow with it.

    A file that was cut off is refused where its format tells: wav by its header, flac by its
    frames, ogg by its last page, mp3 if its encoder noted the length, mp4 by its index.

    Args:
        path: a wav, flac, ogg or mp3 file, or what else libsndfile knows; an m4a or mp4 one,
            of whose streams the first is read (needs PyAV).
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no audio file or known to be truncated.
    """
    if Path(path).suffix.lower() in mp4.SUFFIXES:
        with mp4.reading(present(path)) as (sample_rate, channels, frames, read):
            yield Reader(os.fspath(path), sample_rate, channels, frames, None, read, mp4.SLACK)
        return
    with opened(path) as file:

        def read(length: int) -> Iterator[np.ndarray]:
            while len(frames := file.read(length, dtype="float32", always_2d=True)):
                yield frames

        subtype = file.subtype
        yield Reader(os.fspath(path), file.samplerate, file.channels, file.frames, subtype, read)


def read(path: str | os.PathLike) -> tuple[Tensor, int]:
    """A whole audio file.

    Returns:
        Samples `(channels, time)`, float32, and the sample rate in Hz.
    Raises:
        FileNotFoundError, ValueError: as `reading` and its `blocks`.
    """
    with reading(path) as file:
        return torch.cat(list(file.blocks(BLOCK)), dim=-1), file.sample_rate


def present(path: str | os.PathLike) -> Path:
    """The path of a file that exists.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no audio file {path}.")
    return path


def header(path: str | os.PathLike) -> soundfile.SoundFile:
    """An audio file's `samplerate`, `channels`, `frames`; the file is closed again.

    Raises:
        FileNotFoundError, ValueError: as `read`, as far as the header tells.
    """
    with opened(path) as file:
        return file


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[soundfile.SoundFile]:
    """What libsndfile reads: a file that is there, readable, and not known to be cut off."""
    path = present(path)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if file.frames >= UNKNOWN_LENGTH:
                raise ValueError(
                    f"{path} does not say how long it is, as a program leaves it that writes to a "
                    "pipe. Write it again to a file, with `flac` or ffmpeg."
                )
            if truncation.is_cut_off(path, file.format):
                raise ValueError(TRUNCATED.format(path=path, length=file.frames))
            yield file
    except soundfile.LibsndfileError as reason:
        raise ValueError(
            f"{path} cannot be read as audio ({reason.error_string}). Expected a whole wav, flac, "
            "ogg, mp3 or m4a file; others can be converted with ffmpeg."
        ) from reason


@contextlib.contextmanager
def writing(
    path: str | os.PathLike,
    sample_rate: float,
    channels: int,
    subtype: str | None = "FLOAT",
    frames: int | None = None,
) -> Iterator[Callable[[Tensor], None]]:
    """A file written block by block, which appears when all is written, or not at all.

    Args:
        path: its suffix is the format: wav, flac, ogg, mp3 or what else libsndfile knows.
        sample_rate: in Hz, a whole number.
        subtype: libsndfile's name of the sample format. `"FLOAT"` keeps samples beyond full
            scale; integer formats (`"PCM_16"`, `"PCM_24"`) cut them off. None: the format's own.
        frames: samples per channel that are to come, if known: a wav of more than 4 GB is
            written as RF64 (EBU Tech 3306), which has no such limit.
    Yields:
        A function that takes the next samples, `(channels, n)`.
    Raises:
        ValueError: if the format cannot hold such samples.
        OSError: if the file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    size = (frames or 0) * channels * PCM_BITS.get(subtype or "", 32) // 8
    is_long = suffix == ".wav" and size > WAV_LIMIT
    with replacing(path) as partial:
        with _explained(path, subtype):
            if suffix == ".ogg" and (sample_rate > OGG_RATE or channels > OGG_CHANNELS):
                raise ValueError(
                    f"Vorbis has {OGG_RATE} Hz and {OGG_CHANNELS} channels at most, not "
                    f"{sample_rate} Hz and {channels}."
                )
            file = soundfile.SoundFile(
                os.fsencode(partial),
                "w",
                samplerate=int(sample_rate),
                channels=channels,
                subtype=subtype,
                format="RF64" if is_long else None,
                compression_level=QUALITY.get(suffix),
            )
        bits = PCM_BITS.get(file.subtype)

        def write(samples: Tensor) -> None:
            # libsndfile keeps an ogg block of any length on the stack, and crashes.
            for block in samples.detach().cpu().split(BLOCK, dim=-1):
                with _explained(path, subtype):
                    file.write(as_pcm(block, bits).T.numpy())

        try:
            yield write
        finally:
            with _explained(path, subtype):
                file.close()


@contextlib.contextmanager
def _explained(path: Path, subtype: str | None) -> Iterator[None]:
    """libsndfile's refusals to write, as errors that say what to do."""
    try:
        yield
    except (soundfile.LibsndfileError, ValueError, TypeError) as reason:
        if getattr(reason, "code", None) != SYSTEM_ERROR:
            kind = f" as {subtype}" if subtype else ""
            raise ValueError(f"{path} cannot be written{kind}: {reason}") from reason
        free = shutil.disk_usage(path.parent).free / 2**20
        raise OSError(
            f"{path} cannot be written: the system refused, {free:.0f} MB being free on its disk. "
            "Make room, or write elsewhere."
        ) from reason


def as_pcm(samples: Tensor, bits: int | None) -> Tensor:
    """Samples as 32-bit integers whose upper `bits` hold them, rounded; as they are if None.

    Full scale is 2 ** (bits - 1), as it is on reading: what was read is written again, bit for
    bit. (libsndfile scales floats by one less on writing.)

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
    """Writes `(channels, time)` samples at once; see `writing`."""
    channels, frames = samples.shape
    with writing(path, sample_rate, channels, subtype, frames) as write_block:
        write_block(samples)


def check_floating(samples: Tensor, name: str = "the mixture") -> Tensor:
    """The samples as they are, if they are floats.

    Raises:
        ValueError: if not: PCM integers would be taken for samples far beyond full scale.
    """
    if not samples.is_floating_point():
        raise ValueError(
            f"{name} is of {samples.dtype}; expected floats at full scale 1.0, such as pcm / 32768 "
            "for 16-bit samples."
        )
    return samples


def check_samples(samples: Tensor, name: str = "the mixture") -> Tensor:
    """The samples as they are, `(..., channels, time)`, if they are floats, and all finite.

    Raises:
        ValueError: if there are none, or some are NaN or infinite; says how many and where.
    """
    if samples.numel() == 0:
        raise ValueError(f"{name} is empty: shape {tuple(samples.shape)}.")
    check_floating(samples, name)
    finite = torch.isfinite(samples)
    if not finite.all():
        bad = (~finite).nonzero()
        raise ValueError(
            f"{name} has {len(bad)} NaN or infinite samples of {samples.numel()}, the first one "
            f"at {tuple(bad[0].tolist())} of {tuple(samples.shape)}. Repair it before use: "
            "estimates around them would be NaN too."
        )
    return samples


class Resampler:
    """Changes the sample rate of a signal that comes in blocks, band-limited.

    Args:
        from_rate, to_rate: in Hz; where they are equal the samples come back untouched.
        channels: how many signals run side by side.

    >>> resampler = Resampler(44100, 22050, channels=2)
    >>> resampler.feed(torch.zeros(2, 441)).shape[-1] + resampler.flush().shape[-1]
    221
    """

    def __init__(self, from_rate: float, to_rate: float, channels: int):
        self.stream: soxr.ResampleStream | None = None
        if from_rate != to_rate:
            self.stream = soxr.ResampleStream(
                from_rate, to_rate, channels, dtype="float32", quality="VHQ"
            )
        self.like = torch.zeros(channels, 0)  # the last block, without its samples

    def feed(self, block: Tensor, last: bool = False) -> Tensor:
        """`(channels, n)` -> `(channels, m)`: what is certain so far."""
        self.like = block[:, :0]
        if self.stream is None:
            return block
        frames = np.ascontiguousarray(block.float().cpu().numpy().T)
        resampled = self.stream.resample_chunk(frames, last=last)
        return torch.from_numpy(np.ascontiguousarray(resampled.T)).to(block)

    def flush(self) -> Tensor:
        """The rest."""
        return self.feed(self.like, last=True)


def resample(
    samples: Tensor, from_rate: float, to_rate: float, length: int | None = None
) -> Tensor:
    """Changes the sample rate of `(..., time)` samples, band-limited.

    Args:
        from_rate, to_rate: in Hz; where they are equal the samples come back untouched.
        length: of the result, in samples: the filter's tail is cut or padded with zeros to it.
            `round(time * to_rate / from_rate)` if None. The way back gives the original length.

    >>> resample(torch.zeros(2, 441), 44100, 22050).shape
    torch.Size([2, 220])
    """
    if length is None:
        length = round(samples.shape[-1] * to_rate / from_rate)
    if from_rate != to_rate and samples.shape[-1]:
        flat = samples.reshape(-1, samples.shape[-1])
        resampled = Resampler(from_rate, to_rate, len(flat)).feed(flat, last=True)
        samples = resampled.reshape(*samples.shape[:-1], -1)
    missing = length - samples.shape[-1]
    return torch.nn.functional.pad(samples, (0, missing)) if missing else samples


def to_channels(samples: Tensor, channels: int) -> Tensor:
    """`(..., channels, time)` with another number of channels: one is repeated, many averaged.

    Raises:
        ValueError: between two numbers above one, which has no one meaning.
    """
    n_channels = samples.shape[-2]
    if n_channels == channels:
        return samples
    if n_channels == 1:
        return samples.expand(*samples.shape[:-2], channels, samples.shape[-1])
    if channels == 1:
        return samples.mean(dim=-2, keepdim=True)
    raise ValueError(
        f"{n_channels} channels cannot be made {channels}: only mono is repeated and only a mix "
        f"to mono averaged. Mix the audio to {channels} or 1 channel(s) first."
    )
