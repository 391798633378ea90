"""A whole track, from a tensor, an array or a file, with its level and channels kept.

Asteroid's functions of the same names scale the estimates until their sum of magnitudes is
the mixture's, which changes their level and makes NaN of silence, and keep a file's first
channel only. Here nothing is rescaled: what the network says is what comes out.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.checks import check_samples
from asteroid_waveunet.separation.stems import CLIPS, StemFiles, Stems, Target, without_suffix
from asteroid_waveunet.streaming.ensemble import Queue
from asteroid_waveunet.streaming.track_stream import TrackStream, stream_of
from asteroid_waveunet.streaming.wave_unet_stream import MAX_HOP

if TYPE_CHECKING:
    from asteroid_waveunet.models.base import SourceModel

__all__ = [
    "dispatch",
    "file_separate",
    "numpy_separate",
    "separate",
    "separate_at",
    "separate_file",
    "torch_separate",
]

Progress = Callable[[int, "int | None"], None]
"""Called now and then with the samples done and those there are, None if that is unknown."""


def separate(
    model: SourceModel,
    track: Tensor | np.ndarray | str | os.PathLike,
    resample: bool = True,
    progress: Progress | None = None,
    **how: Any,
) -> Any:
    """The sources of a track.

    Args:
        track: a tensor or array shaped as `model` takes it, at the model's sample rate; or the
            path of an audio file, of any rate and channels (see `file_separate`).
        resample: whether a file of another rate is converted; if not it is an error.
        progress: called with the samples done so far and the number there are, or None.
        how: `precision` ("fp32" or "bf16"), `shifts` (passes to average, 1 to the model's
            step), `mixture_consistency`; see `track.stream_of`.
    Returns:
        A tensor or array shaped as `model` gives it; of a file a tensor
        `(n_src, channels, time)` with the file's own channels, rate and length.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the track is unreadable, empty, not finite or of the wrong shape, or an
            argument out of its range.

    >>> from asteroid_waveunet import presets
    >>> model = presets.make("M4", levels=6)
    >>> separate(model, torch.zeros(2, 22050), shifts=2).shape
    torch.Size([2, 2, 22050])
    """
    if isinstance(track, (str, os.PathLike)):
        with audio_io.open_reader(track) as file:
            stream = TrackStream(model, file.sample_rate, file.channels, resample, **how)
            blocks = _counted(file.blocks(stream.block), file.frames, progress)
            return _joined(stream, blocks)
    if isinstance(track, np.ndarray):
        return numpy_separate(model, track, progress=progress, **how)
    if isinstance(track, Tensor):
        return torch_separate(model, track, progress=progress, **how)
    raise ValueError(f"A {type(track).__name__} is no track; expected a tensor, array or path.")


def dispatch(model: SourceModel, wav: Any, *args: Any, **kwargs: Any) -> Any:
    """`BaseModel.separate`: files are written beside, tensors and arrays returned."""
    if isinstance(wav, (str, os.PathLike)):
        return file_separate(model, wav, *args, **kwargs)
    return separate(model, wav, *args, **kwargs)


def torch_separate(
    model: SourceModel, wav: Tensor, progress: Progress | None = None, **how: Any
) -> Tensor:
    """The estimates of `model(wav)`, in a memory that a long track does not exceed.

    As with `model(wav)`, it is `model.eval()` that clips to full scale.

    Args:
        wav: shaped as `model` takes it, on any device; silence around it is assumed.
        progress, how: see `separate`.
    Returns:
        Estimates shaped as `model` gives them, on the device of `wav`.
    Raises:
        ValueError: if `wav` is empty, not finite or of the wrong shape.
    """
    batch = model.to_batch(check_samples(wav))
    stream = stream_of(model, len(batch), **how)
    blocks = _counted(batch.split(MAX_HOP, dim=-1), batch.shape[-1], progress)
    estimates = _joined(stream, blocks)
    return estimates if wav.ndim == 3 else estimates[0]


def numpy_separate(model: SourceModel, wav: np.ndarray, **how: Any) -> np.ndarray:
    """`torch_separate` for an array of floats; the estimates have its dtype."""
    if wav.dtype.kind != "f":
        raise ValueError(
            f"The mixture is of {wav.dtype}; expected floats at full scale 1.0, such as "
            "pcm / 32768 for 16-bit samples."
        )
    # Torch takes neither long doubles nor other byte orders, negative strides or read-only memory.
    samples = np.array(wav, dtype=np.float32 if wav.dtype.itemsize <= 4 else np.float64, order="C")
    return torch_separate(model, torch.from_numpy(samples), **how).numpy().astype(wav.dtype)


def file_separate(
    model: SourceModel,
    filename: str | os.PathLike,
    output_dir: str | os.PathLike | None = None,
    force_overwrite: bool = False,
    resample: bool = True,
    progress: Progress | None = None,
    **how: Any,
) -> dict[str, Path]:
    """Separates an audio file into one file a source.

    Args:
        filename: a wav, flac, ogg, mp3 or m4a file.
        output_dir: where estimates are written; beside the file if None.
        force_overwrite: whether files of the estimates' names are replaced. If not, and there
            is one, nothing is done but to warn, as Asteroid does.
        resample: whether a file of another rate than the model's is converted.
        progress, how: see `separate`.
    Returns:
        `{source: path}` of what was written: NAME_SOURCE.wav, 32-bit float, which keeps what is
        beyond full scale (`model.eval()` clips before), with the rate, channels and length of
        the input.
    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if the estimates cannot be written.
        ValueError: if the file cannot be separated. In each case nothing is written.
    """
    path = Path(filename).expanduser()
    folder = path.parent if output_dir is None else Path(output_dir).expanduser()
    name = without_suffix(path.name)
    paths = {source: folder / f"{name}_{source}.wav" for source in model.sources}
    existing = [str(path) for path in paths.values() if path.exists()]
    if existing and not force_overwrite:
        warnings.warn(
            f"{', '.join(existing)} exist already, and nothing is done; pass force_overwrite=True "
            "to replace them, or another output_dir.",
            stacklevel=2,
        )
        return {}
    target = StemFiles(paths, bits="float")
    separate_file(model, path, target, resample=resample, progress=progress, **how)
    return paths


def separate_file(
    model: SourceModel,
    path: str | os.PathLike,
    target: Target,
    two_stems: str | None = None,
    residual: bool = False,
    clip: str = "clamp",
    resample: bool = True,
    progress: Progress | None = None,
    **how: Any,
) -> None:
    """Reads a file, separates and writes it block by block, in a memory that does not grow.

    Args:
        target: where the stems go, under the names of `Stems.of`; they replace what is there.
        two_stems, residual: which stems; see `Stems.of`.
        clip: what happens to samples beyond full scale in formats that cannot hold them, one
            of `stems.CLIPS`.
        resample, progress, how: see `separate`.
    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if the stems cannot be written.
        ValueError: if the file cannot be separated. In each case nothing is written.
    """
    if clip not in CLIPS:
        raise ValueError(f"clip is {clip!r}; expected {', '.join(CLIPS)}.")
    stems = Stems.of(model.sources, two_stems, residual, mixture=target.with_mixture)
    with audio_io.open_reader(path) as file:
        stream = TrackStream(model, file.sample_rate, file.channels, resample, **how)
        _check_places(target.paths)
        waiting = Queue()
        with target.writing(stems.names, file, clip) as write:

            def write_stems(estimates: Tensor) -> None:
                if not estimates.isfinite().all():
                    raise ValueError(
                        f"The model's estimates of {file.name} are not finite: its samples are far "
                        "beyond full scale, or the weights are damaged."
                    )
                if estimates.shape[-1]:
                    write(stems(estimates, waiting.take(estimates.shape[-1])))

            for block in _counted(file.blocks(stream.block), file.frames, progress):
                waiting.put(block)
                write_stems(stream.feed(block))
            write_stems(stream.flush())


def separate_at(
    model: SourceModel, samples: Tensor, sample_rate: float, resample: bool = True, **how: Any
) -> Tensor:
    """The sources of `(channels, time)` samples at any rate and with any number of channels.

    Args:
        resample, how: see `separate`.
    Returns:
        `(n_src, channels, time)`; how rates and channels are converted: see `TrackStream`.
    Raises:
        ValueError: if the rate differs and `resample` is False, or channels do not convert.
    """
    stream = TrackStream(model, sample_rate, len(samples), resample, **how)
    return _joined(stream, check_samples(samples).split(stream.block, dim=-1))


def _joined(stream: Any, blocks: Iterable[Tensor]) -> Tensor:
    """What a stream gives for all of a track."""
    return torch.cat([*map(stream.feed, blocks), stream.flush()], dim=-1)


def _counted(
    blocks: Iterable[Tensor], total: int | None, progress: Progress | None
) -> Iterable[Tensor]:
    """The blocks, of which `progress` hears when each is done."""
    done = 0
    for block in blocks:
        yield block
        done += block.shape[-1]
        if progress is not None:
            progress(done, total)


def _check_places(paths: Iterable[Path]) -> None:
    """Finds out before the work whether its results can be written."""
    for path in paths:
        if path.parent.exists() and not path.parent.is_dir():
            raise NotADirectoryError(f"{path.parent} is a file; expected a folder for the stems.")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder, where a stem should be written.")
