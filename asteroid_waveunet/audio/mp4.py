"""Read m4a and mp4 files and write `.stem.mp4` files (MUSDB18's format), with PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from torch import Tensor

from asteroid_waveunet.file_utils import replacing

__all__ = ["STEM_SUFFIX", "SUFFIXES", "open_reader", "open_stem_writer", "require_pyav"]

SUFFIXES = (".m4a", ".mp4")
STEM_SUFFIX = ".stem.mp4"
LAYOUTS = {1: "mono", 2: "stereo"}
BIT_RATE = 256_000  # bits per second and stream, as in MUSDB18
SLACK = 2 * 1024  # samples: decoding may end two AAC frames before the stored length

Read = Callable[[int], Iterator[np.ndarray]]


def require_pyav() -> ModuleType:
    """Import PyAV.

    Raises:
        ValueError: if it is not installed; names the command that installs it.
    """
    try:
        import av
    except ImportError as error:
        raise ValueError(
            "m4a and mp4 files need PyAV, which is not installed: "
            "pip install 'asteroid-waveunet[formats]'"
        ) from error
    return av


@contextlib.contextmanager
def open_reader(path: Path) -> Iterator[tuple[int, int, int | None, Read]]:
    """Open the first audio stream of a file.

    Yields:
        Sample rate, channels, length if known, and `Reader.read`.
    Raises:
        ValueError: if the file has no audio stream, or is truncated or corrupt.
    """
    av = require_pyav()
    with contextlib.ExitStack() as stack:
        with _read_errors(path):
            container = stack.enter_context(av.open(_url(path)))
        if not container.streams.audio:
            raise ValueError(f"{path} holds no audio.")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise ValueError(f"{path} is truncated or corrupt: its index is invalid.")
        frames = None
        if stream.duration:
            frames = round(stream.duration * stream.time_base * stream.rate)
        floats = av.AudioResampler(format="fltp", layout=stream.layout)

        def read(length: int) -> Iterator[np.ndarray]:
            decoded = (f for frame in container.decode(stream) for f in floats.resample(frame))
            with _read_errors(path):
                yield from _regroup((f.to_ndarray().T for f in decoded), length, frames)

        yield stream.rate, stream.channels, frames, read


def _url(path: Path) -> str:
    """Return a URL: FFmpeg would take "Song: live.m4a" for a protocol."""
    return f"file:{path}"


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Convert FFmpeg's read errors to a ValueError with a remedy."""
    try:
        yield
    except require_pyav().error.FFmpegError as error:
        raise ValueError(
            f"{path} cannot be read as audio ({error.strerror}): it is truncated or corrupt, or "
            "not an mp4 file. Copy or download it again."
        ) from error


def _regroup(parts: Iterable[np.ndarray], length: int, total: int | None) -> Iterator[np.ndarray]:
    """Join `(n, channels)` arrays to about `length`; drop the padding after `total`."""
    pending: list[np.ndarray] = []
    n_read = 0
    for part in parts:
        pending.append(part if total is None else part[: total - n_read])
        n_read += len(pending[-1])
        if sum(map(len, pending)) >= length:
            yield np.concatenate(pending)
            pending = []
    if pending:
        yield np.concatenate(pending)


@contextlib.contextmanager
def open_stem_writer(
    path: Path, names: Sequence[str], sample_rate: int, channels: int
) -> Iterator[Callable[[Tensor], None]]:
    """Open a file of several AAC streams to write it block by block; it appears once complete.

    Args:
        names: of the streams, in order. Put the mixture first: players play the first stream
            (musdb and stempeg identify streams by their order).
        sample_rate: in Hz, one that AAC supports: 8000 to 96000.
        channels: 1 or 2.
    Yields:
        A function that writes the next `(len(names), channels, n)` samples.
    Raises:
        ValueError: if AAC does not support the sample rate or channels.
        OSError: if the file cannot be written.
    """
    av = require_pyav()
    if channels not in LAYOUTS:
        raise ValueError(f"{path} would have {channels} channels; {STEM_SUFFIX} files have 1 or 2.")
    # The container's default clock would round the length to milliseconds.
    clock = {"movie_timescale": str(sample_rate)}
    with (
        replacing(path) as partial,
        _write_errors(path, sample_rate),
        av.open(_url(partial), "w", format="mp4", options=clock) as container,
    ):
        streams = [
            container.add_stream("aac", rate=sample_rate, layout=LAYOUTS[channels]) for _ in names
        ]
        for stream, name in zip(streams, names, strict=True):
            stream.bit_rate = BIT_RATE
            stream.metadata.update(title=name, handler_name=name)
        n_written = 0

        def write(stems: Tensor) -> None:
            nonlocal n_written
            for stream, samples in zip(streams, stems.cpu().numpy(), strict=True):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(samples), "fltp", LAYOUTS[channels]
                )
                frame.sample_rate, frame.pts = sample_rate, n_written
                container.mux(stream.encode(frame))
            n_written += stems.shape[-1]

        yield write
        for stream in streams:
            container.mux(stream.encode(None))


@contextlib.contextmanager
def _write_errors(path: Path, sample_rate: int) -> Iterator[None]:
    """Convert FFmpeg's write errors to a ValueError or OSError with a remedy."""
    try:
        yield
    except require_pyav().error.FFmpegError as error:
        if isinstance(error, OSError):  # from the disk, not the codec
            raise OSError(
                f"{path} cannot be written: {error.strerror}. Free some space, or write elsewhere."
            ) from error
        raise ValueError(
            f"{path} cannot be written as AAC at {sample_rate} Hz: {error.strerror}."
        ) from error
