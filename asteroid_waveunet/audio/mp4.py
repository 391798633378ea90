"""Write `.stem.mp4` files (MUSDB18's format) with PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from asteroid_waveunet.audio import stem_names
from asteroid_waveunet.audio.container import require_pyav, url
from asteroid_waveunet.audio.formats import STEM_SUFFIX
from asteroid_waveunet.audio.tags import Tags, write_tags
from asteroid_waveunet.file_utils import replacing

__all__ = ["STEM_SUFFIX", "open_stem_writer", "require_pyav"]

LAYOUTS = {1: "mono", 2: "stereo"}
BIT_RATE = 256_000  # bits per second and stream, as in MUSDB18


@contextlib.contextmanager
def open_stem_writer(
    path: Path,
    names: Sequence[str],
    sample_rate: int,
    channels: int,
    tags: Tags | None = None,
) -> Iterator[Callable[[Tensor], None]]:
    """Open a file of several AAC streams to write it block by block; it appears once complete.

    Args:
        names: of the streams, in order. Put the mixture first: players play the first stream.
            They are stored as titles, and as Native Instruments' names; see `stem_names`.
        sample_rate: in Hz, one that AAC supports: 8000 to 96000.
        channels: 1 or 2.
        tags: of the file.
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
    with replacing(path) as partial, _write_errors(path, sample_rate):
        with av.open(url(partial), "w", format="mp4", options=clock) as container:
            streams = [
                container.add_stream("aac", rate=sample_rate, layout=LAYOUTS[channels])
                for _ in names
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
        if len(names) > 1:
            stem_names.add_names(partial, names[1:])
        if tags:
            write_tags(partial, tags)


@contextlib.contextmanager
def _write_errors(path: Path, sample_rate: int) -> Iterator[None]:
    """Convert FFmpeg's write errors to a ValueError or OSError with a remedy."""
    try:
        yield
    except require_pyav().error.FFmpegError as error:
        if isinstance(error, OSError):  # from the disk, not the codec
            raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
        raise ValueError(
            f"{path} cannot be written as AAC at {sample_rate} Hz: {error.strerror}."
        ) from error
