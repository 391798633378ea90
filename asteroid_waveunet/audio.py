"""Audio files and tensors: `(channels, time)`, float32, full scale 1.0."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from .files import replacing

__all__ = [
    "check_floating",
    "check_samples",
    "header",
    "read",
    "resample",
    "to_channels",
    "write",
]

# What libsndfile notes of a file that is shorter than its header says. A program that writes to a
# pipe cannot go back to its header and leaves a size there that no file has: those are whole.
SHORTER_THAN_SAID = re.compile(r"data : (\d+) \(should be (\d+)\)")
UNKNOWN_SIZE = 0x7FFF0000

TRUNCATED = (
    "{path} is truncated: only {length} samples per channel are left of it. Copy or download it "
    "again."
)


def read(path: str | os.PathLike) -> tuple[Tensor, int]:
    """A whole audio file: wav, flac, ogg, mp3, and what else libsndfile knows.

    A file that was cut off is refused where its format tells: wav by its header, flac by its
    frames, ogg by its last page, mp3 if its encoder noted the length.

    Returns:
        Samples `(channels, time)`, float32, and the sample rate in Hz.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no audio file, empty, truncated, or holds NaN or infinite samples.
    """
    with opened(path) as file:
        samples = file.read(dtype="float32", always_2d=True)
        if len(samples) != file.frames:
            raise ValueError(TRUNCATED.format(path=path, length=len(samples)))
    return check_samples(torch.from_numpy(samples.T.copy()), os.fspath(path)), file.samplerate


def header(path: str | os.PathLike) -> soundfile.SoundFile:
    """An audio file's `samplerate`, `channels`, `frames`; the file is closed again.

    Raises:
        FileNotFoundError, ValueError: as `read`, as far as the header tells.
    """
    with opened(path) as file:
        return file


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[soundfile.SoundFile]:
    """An audio file that is there, readable, and not known to be cut off."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no audio file {path}.")
    try:
        with soundfile.SoundFile(path) as file:
            if is_cut_off(file, path):
                raise ValueError(TRUNCATED.format(path=path, length=file.frames))
            yield file
    except soundfile.LibsndfileError as reason:
        raise ValueError(
            f"{path} cannot be read as audio ({reason.error_string}). Expected a whole wav, flac, "
            "ogg or mp3 file; others can be converted with ffmpeg."
        ) from reason


def is_cut_off(file: soundfile.SoundFile, path: Path) -> bool:
    """Whether a file ends before its format says, which libsndfile passes over.

    Of a wav it notes what the header said. An ogg stream ends with a page so marked: the flag 4
    in the sixth byte of its header (RFC 3533).
    """
    cut = SHORTER_THAN_SAID.search(file.extra_info)
    if cut is not None:
        return int(cut[2]) < int(cut[1]) < UNKNOWN_SIZE
    if file.format == "OGG":
        tail = path.read_bytes()[-(2**17) :]
        last_page = tail.rfind(b"OggS")
        return last_page < 0 or not tail[last_page + 5] & 4
    return False


def write(
    path: str | os.PathLike, samples: Tensor, sample_rate: float, subtype: str = "FLOAT"
) -> None:
    """Writes `(channels, time)` samples, whole or not at all; the format is the suffix's.

    Args:
        sample_rate: in Hz, a whole number.
        subtype: libsndfile's name of the sample format. `"FLOAT"` keeps samples beyond full
            scale; integer formats (`"PCM_16"`, `"PCM_24"`) clip them.
    Raises:
        ValueError: if the format cannot be written.
    """
    frames = samples.detach().cpu().numpy().T
    try:
        with replacing(path) as partial:
            soundfile.write(partial, frames, int(sample_rate), subtype=subtype)
    except (soundfile.LibsndfileError, ValueError, TypeError) as reason:
        raise ValueError(f"{os.fspath(path)} cannot be written as {subtype}: {reason}") from reason


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
        flat = samples.reshape(-1, samples.shape[-1]).cpu().numpy()
        result = soxr.resample(np.ascontiguousarray(flat.T), from_rate, to_rate, quality="VHQ")
        resampled = torch.from_numpy(np.ascontiguousarray(result.T)).to(samples)
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
