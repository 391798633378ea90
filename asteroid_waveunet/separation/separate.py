"""Separate a whole track, given as a tensor, an array or a file.

Level and channels are preserved: nothing is rescaled. Asteroid's functions of the same names
rescale the estimates so that their sum of magnitudes equals the mixture's, which changes their
level and turns silence into NaN, and keep only the first channel of a file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.checks import check_samples, mixed_down
from asteroid_waveunet.audio.reader import Reader
from asteroid_waveunet.audio.sources import Source, path_of
from asteroid_waveunet.file_utils import expanded
from asteroid_waveunet.separation.stems import CLIPS, StemFiles, Stems, Target, without_suffix
from asteroid_waveunet.streaming.base import MAX_HOP
from asteroid_waveunet.streaming.ensemble import Queue
from asteroid_waveunet.streaming.interface import BatchStream, StreamableModel
from asteroid_waveunet.streaming.options import DEFAULT_OPTIONS, SeparationOptions
from asteroid_waveunet.streaming.track_stream import TrackStream, make_stream

__all__ = [
    "file_separate",
    "numpy_separate",
    "separate",
    "separate_at_rate",
    "separate_file",
    "torch_separate",
]

NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)

Progress = Callable[[int, "int | None"], None]
"""Called after each block with the samples done and their total (None if unknown)."""


def separate(
    model: StreamableModel,
    track: Tensor | np.ndarray | Source,
    resample: bool = True,
    progress: Progress | None = None,
    precision: str = "fp32",
    shifts: int = 1,
    mixture_consistency: bool = False,
    start: float = 0.0,
    duration: float | None = None,
    channels: str = "mix",
) -> Any:
    """Separate a track into its sources.

    Args:
        track: a tensor or array shaped as `model` takes it, at the model's sample rate; or the
            path of an audio file, or a binary file object, of any sample rate and channel count.
        resample: convert a file of another sample rate; otherwise refuse it.
        progress: called after each block; see `Progress`.
        precision, shifts, mixture_consistency, channels: see `SeparationOptions`.
        start, duration: the part of a file to separate, in seconds; None: up to its end.
    Returns:
        A tensor or array shaped as `model` returns it; for a file a tensor
        `(n_src, channels, time)` with the file's channels, sample rate and length.
    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the track is unreadable, empty, not finite or of an unsupported shape, or
            an argument is out of range.

    >>> from asteroid_waveunet import presets
    >>> model = presets.make("M4", levels=6)
    >>> separate(model, torch.zeros(2, 22050), shifts=2).shape
    torch.Size([2, 2, 22050])
    """
    options = SeparationOptions(precision, shifts, mixture_consistency, resample, channels)
    if isinstance(track, np.ndarray):
        return numpy_separate(model, track, options, progress)
    if isinstance(track, Tensor):
        return torch_separate(model, track, options, progress)
    if isinstance(track, (str, os.PathLike)) or hasattr(track, "read"):
        with _opened(model, track, options, start, duration) as (file, stream):
            return _joined(stream, _counted(file.blocks(stream.block), file.frames, progress))
    raise ValueError(
        f"Unsupported input type {type(track).__name__}; expected a tensor, an array, a path or "
        "a binary file object."
    )


def torch_separate(
    model: StreamableModel,
    wav: Tensor,
    options: SeparationOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
) -> Tensor:
    """Compute the estimates of `model(wav)` in bounded memory.

    As in `model(wav)`, `model.eval()` clips to full scale.

    Args:
        wav: shaped as `model` takes it, on any device; padded with silence.
    Returns:
        Estimates shaped as `model` returns them, on the device of `wav`.
    Raises:
        ValueError: if `wav` is empty, not finite or of an unsupported shape.
    """
    batch = model.to_batch(check_samples(wav))
    stream = make_stream(model, len(batch), options)
    blocks = _counted(batch.split(MAX_HOP, dim=-1), batch.shape[-1], progress)
    return model.from_batch(_joined(stream, blocks), wav)


def numpy_separate(
    model: StreamableModel,
    wav: np.ndarray,
    options: SeparationOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
) -> np.ndarray:
    """Apply `torch_separate` to an array of floats; the estimates have its dtype."""
    if wav.dtype.kind != "f":
        raise ValueError(
            f"The mixture has dtype {wav.dtype}; expected floats at full scale 1.0, such as "
            "pcm / 32768 for 16-bit samples."
        )
    # Torch supports no long doubles, other byte orders, negative strides or read-only memory.
    samples = np.array(wav, dtype=np.float32 if wav.dtype.itemsize <= 4 else np.float64, order="C")
    estimates = torch_separate(model, torch.from_numpy(samples), options, progress)
    return estimates.numpy().astype(wav.dtype)


def file_separate(
    model: StreamableModel,
    filename: Source,
    output_dir: str | os.PathLike | None = None,
    force_overwrite: bool = False,
    options: SeparationOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
    start: float = 0.0,
    duration: float | None = None,
) -> dict[str, Path]:
    """Separate an audio file into one file per source.

    Args:
        filename: an audio file, a pipe, or a binary file object, as of `separate`.
        output_dir: folder of the estimates. Default: the file's folder.
        force_overwrite: replace existing files. Otherwise, if one exists, only warn and do
            nothing, as Asteroid does.
        progress: called after each block; see `Progress`.
        start, duration: the part to separate, in seconds; None: up to the end.
    Returns:
        `{source: path}` of the written files, NAME_SOURCE.wav, with the rate, channels and
        length of the input. 32-bit floats keep samples beyond full scale (`model.eval()` clips
        before).
    Raises:
        FileNotFoundError: if the file does not exist.
        OSError: if the estimates cannot be written.
        ValueError: if the file cannot be separated, or a file object without a path comes
            without `output_dir`. No file is written on an error.
    """
    path = path_of(filename)
    if path is None and output_dir is None:
        raise ValueError(f"{filename!r} is in no folder; pass output_dir.")
    folder = expanded(output_dir) if output_dir is not None else (path or Path()).parent
    name = without_suffix(path.name) if path else "stream"
    paths = {source: folder / f"{name}_{source}.wav" for source in model.sources}
    existing = [str(path) for path in paths.values() if path.exists()]
    if existing and not force_overwrite:
        warnings.warn(
            f"Nothing was separated: {', '.join(existing)} already exist. Pass "
            "force_overwrite=True to replace them, or another output_dir.",
            stacklevel=3,
        )
        return {}
    target = StemFiles(paths, bits="float")
    try:
        separate_file(
            model,
            filename,
            target,
            options=options,
            progress=progress,
            start=start,
            duration=duration,
        )
    except OSError as reason:
        is_refused = reason.errno in NOT_WRITABLE and reason.filename != str(path)
        if output_dir is not None or not is_refused:
            raise
        raise OSError(
            reason.errno,
            f"{reason.strerror}: cannot write beside the song; pass output_dir, the folder of the "
            "estimates",
            str(folder),
        ) from reason
    return paths


def separate_file(
    model: StreamableModel,
    song: Source,
    target: Target,
    two_stems: str | None = None,
    residual: bool = False,
    clip: str = "clamp",
    options: SeparationOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
    stems: Sequence[str] | None = None,
    without: Sequence[str] = (),
    start: float = 0.0,
    duration: float | None = None,
    refuse_silence: bool = False,
) -> float:
    """Read, separate and write a file block by block, in constant memory.

    Args:
        song: a path, or a binary file object.
        target: the stems' files, which are replaced if they exist.
        two_stems, residual, stems, without: select the stems; see `Stems.of`.
        clip: treatment of samples beyond full scale in formats that cannot store them, one of
            `stems.CLIPS`.
        progress: called after each block; see `Progress`.
        start, duration: the part to separate, in seconds; None: up to the end.
        refuse_silence: raise an error if all samples are zero.
    Returns:
        Seconds of audio that were separated.
    Raises:
        FileNotFoundError: if the file does not exist.
        OSError: if the stems cannot be written.
        ValueError: if the file cannot be separated. No file is written on an error.
    """
    if clip not in CLIPS:
        raise ValueError(f"clip is {clip!r}; expected {', '.join(CLIPS)}.")
    chosen = Stems.of(
        model.sources, two_stems, residual, target.with_mixture, stems=stems, without=without
    )
    with _opened(model, song, options, start, duration) as (file, stream):
        _check_writable(target.paths)
        blocks = _counted(file.blocks(stream.block), file.frames, progress)
        n_samples, silent = 0, refuse_silence
        with target.writing(chosen.names, file, clip) as write:
            for mixture, estimates in _aligned(stream, blocks):
                n_samples += mixture.shape[-1]
                silent = silent and not mixture.any()
                if not estimates.isfinite().all():
                    raise ValueError(
                        f"The model's estimates of {file.name} are not finite: its samples are far "
                        "beyond full scale, or the weights are damaged."
                    )
                write(chosen(estimates, mixture))
            if silent:
                raise ValueError(f"{file.name} is silent: all of its samples are zero.")
    return n_samples / file.sample_rate


@contextlib.contextmanager
def _opened(
    model: StreamableModel,
    song: Source,
    options: SeparationOptions,
    start: float,
    duration: float | None,
) -> Iterator[tuple[Reader, TrackStream]]:
    """Open a part of a song, in channels that the model takes, and the stream that separates it.

    Surround sound is mixed down for a model of stereo, unless the options say otherwise.
    """
    with audio_io.open_reader(song) as whole:
        file = whole.excerpt(start, duration)
        if file.channels > 2 and model.in_channels == 2 and options.channels == "mix":
            file = mixed_down(file)
        yield file, TrackStream(model, file.sample_rate, file.channels, options)


def separate_at_rate(
    model: StreamableModel,
    samples: Tensor,
    sample_rate: float,
    options: SeparationOptions = DEFAULT_OPTIONS,
) -> Tensor:
    """Separate `(channels, time)` samples of any sample rate and channel count.

    Returns:
        `(n_src, channels, time)`; for the conversions see `TrackStream`.
    Raises:
        ValueError: if the samples are empty or not finite, the rate differs and
            `options.resample` is False, or the channels cannot be converted.
    """
    stream = TrackStream(model, sample_rate, len(samples), options)
    return _joined(stream, check_samples(samples).split(stream.block, dim=-1))


def _joined(stream: BatchStream, blocks: Iterable[Tensor]) -> Tensor:
    """Return a stream's estimates of a whole track."""
    return torch.cat([*map(stream.push, blocks), stream.finish()], dim=-1)


def _aligned(stream: BatchStream, blocks: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each part of a track's mixture with its estimates."""
    mixture = Queue()
    for block in blocks:
        mixture.put(block)
        estimates = stream.push(block)
        if estimates.shape[-1]:
            yield mixture.take(estimates.shape[-1]), estimates
    estimates = stream.finish()
    if estimates.shape[-1]:
        yield mixture.take(estimates.shape[-1]), estimates


def _counted(
    blocks: Iterable[Tensor], total: int | None, progress: Progress | None
) -> Iterator[Tensor]:
    """Yield the blocks; report to `progress` when each is done."""
    done = 0
    for block in blocks:
        yield block
        done += block.shape[-1]
        if progress is not None:
            progress(done, total)


def _check_writable(paths: Iterable[Path]) -> None:
    """Check before the work that no folder is in place of a file, or the other way round.

    Raises:
        NotADirectoryError, IsADirectoryError: if one is.
    """
    for path in paths:
        if path.parent.exists() and not path.parent.is_dir():
            raise NotADirectoryError(f"{path.parent} is a file; expected a folder for the stems.")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; expected a place for a stem's file.")
