"""AAC in mp4: m4a songs, and stems in one `.stem.mp4` file as MUSDB18 has them; through PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from torch import Tensor

from asteroid_waveunet.file_utils import replacing

__all__ = ["SUFFIXES", "pyav", "reading", "writing_stems"]

SUFFIXES = (".m4a", ".mp4")
LAYOUTS = {1: "mono", 2: "stereo"}
BIT_RATE = 256_000  # bits per second and stream, as MUSDB18's
SLACK = 2 * 1024  # samples: two AAC frames, by which what is decoded may be shorter than said

Read = Callable[[int], Iterator[np.ndarray]]


def pyav() -> ModuleType:
    """PyAV.

    Raises:
        ValueError: if it is not there; says how to get it.
    """
    try:
        import av
    except ImportError as reason:
        raise ValueError(
            "m4a and mp4 files need PyAV, which is not installed: "
            "pip install 'asteroid-waveunet[formats]'"
        ) from reason
    return av


@contextlib.contextmanager
def reading(path: Path) -> Iterator[tuple[int, int, int | None, Read]]:
    """The first audio stream of a file: sample rate, channels, length if known, `Reader.read`.

    Raises:
        ValueError: if there is none, or the file is truncated or corrupt.
    """
    av = pyav()
    with contextlib.ExitStack() as stack:
        with _readable(path):
            container = stack.enter_context(av.open(_url(path)))
        if not container.streams.audio:
            raise ValueError(f"{path} holds no audio.")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise ValueError(f"{path} is truncated or corrupt: its index makes no sense.")
        frames = None
        if stream.duration:
            frames = round(stream.duration * stream.time_base * stream.rate)
        floats = av.AudioResampler(format="fltp", layout=stream.layout)

        def read(length: int) -> Iterator[np.ndarray]:
            decoded = (f for frame in container.decode(stream) for f in floats.resample(frame))
            with _readable(path):
                yield from _grouped((f.to_ndarray().T for f in decoded), length, frames)

        yield stream.rate, stream.channels, frames, read


def _url(path: Path) -> str:
    """What FFmpeg does not take for a protocol, as it does "Song: live.m4a"."""
    return f"file:{path}"


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """FFmpeg's refusals to read, as errors that say what to do."""
    try:
        yield
    except pyav().error.FFmpegError as reason:
        raise ValueError(
            f"{path} cannot be read as audio ({reason.strerror}): it is truncated or corrupt, or "
            "no mp4 file. Copy or download it again."
        ) from reason


def _grouped(parts: Iterable[np.ndarray], length: int, total: int | None) -> Iterator[np.ndarray]:
    """`(n, channels)` arrays joined to about `length`, until `total`: the last frame is padded."""
    held: list[np.ndarray] = []
    n_read = 0
    for part in parts:
        held.append(part if total is None else part[: total - n_read])
        n_read += len(held[-1])
        if sum(map(len, held)) >= length:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


@contextlib.contextmanager
def writing_stems(
    path: Path, names: Sequence[str], sample_rate: int, channels: int
) -> Iterator[Callable[[Tensor], None]]:
    """One file of many streams, block by block; it appears when all is written, or not at all.

    Args:
        names: of the streams, in their order; the first should be the mixture, which players
            play (musdb and stempeg know the streams by their order).
        sample_rate: in Hz, one that AAC knows: 8000 to 96000.
        channels: 1 or 2.
    Yields:
        A function that takes the next samples, `(len(names), channels, n)`.
    Raises:
        ValueError: if AAC cannot hold such samples.
        OSError: if the file cannot be written.
    """
    av = pyav()
    if channels not in LAYOUTS:
        raise ValueError(f"{path} would have {channels} channels; .stem.mp4 files have 1 or 2.")
    # The container counts the length in its own clock, which would round it to milliseconds.
    clock = {"movie_timescale": str(sample_rate)}
    with (
        replacing(path) as partial,
        _writable(path, sample_rate),
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
def _writable(path: Path, sample_rate: int) -> Iterator[None]:
    """FFmpeg's refusals to write, as errors that say what to do."""
    try:
        yield
    except pyav().error.FFmpegError as reason:
        if isinstance(reason, OSError):  # the disk's, not the codec's
            raise OSError(
                f"{path} cannot be written: {reason.strerror}. Make room, or write elsewhere."
            ) from reason
        raise ValueError(
            f"{path} cannot be written as AAC at {sample_rate} Hz: {reason.strerror}."
        ) from reason
