"""Decode the first audio stream of any file with PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from asteroid_waveunet.audio.file_structure import boxes, chunks, mp3, ogg
from asteroid_waveunet.audio.formats import DEMUXERS

__all__ = ["Container", "NotAudio", "open_container", "require_pyav", "url"]

EXACT = ("flac", "tta", "wv", "ape", "tak")  # formats whose header states the length
SLACK = 2 * 1024  # samples: decoding may end two AAC frames before the stored length, or after it
MILLISECONDS = 0.1  # seconds by which a length in milliseconds may be off, with an encoder's delay


UNREADABLE = (
    "{path} cannot be read as audio ({reason}): it is truncated, damaged or no audio file. Copy or "
    "download it again; expected a complete wav, flac, ogg, mp3 or m4a file, or another that "
    "ffmpeg decodes."
)


class NotAudio(ValueError):
    """FFmpeg does not recognise a file."""


def require_pyav() -> ModuleType:
    """Import PyAV.

    Raises:
        ValueError: if it is not installed; names the command that installs it.
    """
    try:
        import av
    except ImportError as error:
        raise ValueError(
            f"Compressed audio needs PyAV, which cannot be imported ({error}): pip install av"
        ) from error
    return av


def url(path: Path) -> str:
    """Return a URL: FFmpeg would take "Song: live.m4a" for a protocol."""
    return f"file:{path}"


@dataclass
class Container:
    """An open file; see `audio.reader.Reader` for the attributes of the same names.

    Attributes:
        n_damaged: packets that could not be decoded, so far.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int | None
    declared: int | None
    subtype: str | None
    n_damaged: int = 0
    _file: Any = field(default=None, repr=False)
    _trim: bool = False
    _further: Sequence[tuple[int, int]] = ()

    def read(self, length: int) -> Iterator[np.ndarray]:
        """Yield all samples as `(n, channels)` arrays of about `length`.

        Packets that cannot be decoded are skipped and counted, as by the program ffmpeg.
        """
        parts = self._converted()
        if self._trim and self.frames is not None:
            parts = _without_padding(parts, self.frames)
        yield from _regrouped(parts, length)

    def _converted(self) -> Iterator[np.ndarray]:
        """Yield the frames as floats, in the rate and channels of the stream's beginning."""
        av = require_pyav()
        stream = self._file.streams.audio[0]
        layout, rate = stream.layout, stream.rate
        converter: Any = None
        converts = None
        for frame in self._frames():
            frame.pts = None  # these start again where files were joined
            form = frame.format.name, frame.layout.name, frame.rate
            if form != converts:
                yield from self._arrays(converter, None)
                # FFmpeg would change the level from mono and to mono.
                both = 1 not in (self.channels, frame.layout.nb_channels)
                converter = av.AudioResampler("flt", layout if both else frame.layout, rate)
                converts = form
            yield from self._arrays(converter, frame)
        yield from self._arrays(converter, None)

    def _arrays(self, converter: Any, frame: Any) -> Iterator[np.ndarray]:
        """Yield what a converter returns for a frame; None: at the end, and for no converter."""
        for converted in [] if converter is None else converter.resample(frame):
            samples = converted.to_ndarray().reshape(-1, converted.layout.nb_channels)
            if self.channels == 1:
                samples = samples.mean(axis=1, keepdims=True)
            yield np.broadcast_to(samples, (len(samples), self.channels))

    def _frames(self) -> Iterator[Any]:
        """Yield the frames of the file, then of each part that is joined to it."""
        yield from self._decoded(self._file)
        for part in self._further:
            with _open_part(self.path, part) as file:
                yield from self._decoded(file)

    def _decoded(self, file: Any) -> Iterator[Any]:
        errors = require_pyav().error
        with read_errors(self.path):
            for packet in file.demux(file.streams.audio[0]):
                try:
                    yield from packet.decode()
                except errors.FFmpegError:
                    self.n_damaged += 1


def _without_padding(parts: Iterator[np.ndarray], total: int) -> Iterator[np.ndarray]:
    """Drop what follows `total` samples if it is an encoder's padding; more than that is audio."""
    n_read, beyond = 0, []
    for part in parts:
        n_within = min(len(part), max(0, total - n_read))
        n_read += len(part)
        yield part[:n_within]
        beyond.append(part[n_within:])
        if n_read - total > SLACK:
            yield from beyond
            beyond = []


def _regrouped(parts: Iterator[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Join `(n, channels)` arrays to about `length`."""
    pending: list[np.ndarray] = []
    for part in parts:
        if len(part):
            pending.append(part)
        if sum(map(len, pending)) >= length:
            yield np.concatenate(pending)
            pending = []
    if pending:
        yield np.concatenate(pending)


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """Open the first audio stream of a file, which FFmpeg recognises by its content.

    Raises:
        NotAudio: if FFmpeg does not recognise it.
        ValueError: if the file has no audio stream, or one that cannot be decoded.
        OSError: if the system refuses to read it.
    """
    with path.open("rb") as content:
        start = content.read(4)
    parts = ogg.links(path) if start == b"OggS" else []
    is_joined = len(parts) > 1
    with _open_part(path, parts[0]) if is_joined else _open(path, start) as file:
        stream = file.streams.audio[0]
        if stream.codec_context is None or not stream.rate or not stream.channels:
            raise ValueError(
                f"{path} is truncated, damaged or of an unknown codec: its header describes no "
                "audio. Copy or download it again, or convert it with ffmpeg."
            )
        name = file.format.name.split(",")[0]
        frames, declared = (None, None) if is_joined else _lengths(path, file, stream, name)
        yield Container(
            path,
            stream.rate,
            stream.channels,
            frames,
            declared,
            _subtype(stream),
            _file=file,
            _trim=name == "mov" and declared is not None,
            _further=parts[1:],
        )


@contextlib.contextmanager
def _open(path: Path, start: bytes = b"", part: _Part | None = None) -> Iterator[Any]:
    """Open a file, or a part of it, with FFmpeg; see `open_container`.

    Args:
        start: first bytes of the file.
    """
    options = {"format_whitelist": ",".join(DEMUXERS)}
    if start in (b"RF64", b"BW64") and chunks.has_unsized_samples(path):
        options["ignore_length"] = "1"
    with contextlib.ExitStack() as stack:
        with read_errors(path):
            source = url(path) if part is None else part
            file = stack.enter_context(require_pyav().open(source, options=options))
        if not file.streams.audio:
            raise ValueError(f"{path} holds no audio.")
        yield file


@contextlib.contextmanager
def _open_part(path: Path, place: tuple[int, int]) -> Iterator[Any]:
    """Open the part of a file between two positions."""
    with path.open("rb") as content, _open(path, part=_Part(content, *place)) as file:
        yield file


class _Part(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: BinaryIO, start: int, end: int):
        self._file, self._start, self._end = file, start, end
        file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._end - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = (self._start, self._file.tell(), self._end)[whence]
        return self._file.seek(origin + offset) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start


def _lengths(path: Path, file: Any, stream: Any, name: str) -> tuple[int | None, int | None]:
    """Return the length that FFmpeg knows or estimates, and the least that the file declares.

    FFmpeg estimates where a format stores no length, and does not say so.
    """
    frames = None
    if stream.duration:
        frames = round(stream.duration * stream.time_base * stream.rate)
    elif file.duration:
        frames = round(file.duration / 1e6 * stream.rate)
    if frames is None:
        return None, None
    if name == "mov":
        return frames, None if boxes.is_fragmented(path) else frames - SLACK
    if name in EXACT or (name == "mp3" and mp3.declares_length(path)):
        return frames, frames
    if name == "matroska" and len(file.streams) == 1:  # the length is the longest stream's
        return frames, frames - round(MILLISECONDS * stream.rate)
    return frames, None


def _subtype(stream: Any) -> str | None:
    """Return libsndfile's name of the sample format of a lossless codec, None for a lossy one."""
    codec = stream.codec_context
    if not codec.codec.lossless and not codec.name.startswith("pcm_"):
        return None
    if codec.name == "flac" and len(codec.extradata or b"") >= 14:
        info = codec.extradata  # STREAMINFO: 5 bits across two bytes hold the depth less one
        bits = ((info[12] & 1) << 4 | info[13] >> 4) + 1
        return "PCM_16" if bits <= 16 else "PCM_24" if bits <= 24 else "PCM_32"
    if codec.name.startswith("pcm_s32"):
        return "PCM_32"
    return {"u8": "PCM_U8", "s16": "PCM_16", "s32": "PCM_24"}.get(codec.format.packed.name)


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Convert FFmpeg's read errors: the system's stay OSErrors, others become ValueErrors."""
    try:
        yield
    except require_pyav().error.FFmpegError as error:
        reason = error.strerror or "unknown format"
        if isinstance(error, OSError) and not isinstance(error, EOFError):
            raise OSError(f"{path} cannot be read: {reason}.") from error
        raise NotAudio(UNREADABLE.format(path=path, reason=reason)) from error
