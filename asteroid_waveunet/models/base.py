"""Base class of all models: tensor shapes, separation, saving and loading."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet._asteroid import BaseModel
from asteroid_waveunet.audio.checks import check_floating, check_samples
from asteroid_waveunet.audio.sources import Source
from asteroid_waveunet.nn.geometry import LengthRule, segment_starts
from asteroid_waveunet.separation.separate import (
    Progress,
    file_separate,
    numpy_separate,
    separate,
    torch_separate,
)
from asteroid_waveunet.streaming.base import BlockStream
from asteroid_waveunet.streaming.options import SeparationOptions
from asteroid_waveunet.streaming.overlapping_chunks import ChunkStream
from asteroid_waveunet.weights import loading

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SourceModel", "evaluating"]


class SourceModel(BaseModel):
    """Base class of models that estimate named sources; subclasses implement `_network`.

    Args:
        arguments: the constructor's validated arguments, including `sources`, `in_channels` and
            `sample_rate`.

    Attributes:
        sources: names of the estimates, in order.
        in_channels: channels of mixture and estimates.
        sample_rate: of mixture and estimates, in Hz.
        geometry: valid input and output lengths.
        reach: samples on either side of an estimate that can influence it, used by `ChunkStream`;
            None if all of the input does, or if the model has its own stream.
        replaceable: constructor arguments that do not affect the shapes of the weights.

    Shapes, of `model(mixture)`; float tensors at full scale 1.0:

    | mixture                         | estimates                        |
    | ------------------------------- | -------------------------------- |
    | `(batch, channels, time)`       | `(batch, n_src, channels, time)` |
    | `(channels, time)`              | `(n_src, channels, time)`        |
    | `(batch, 1, time)`, one channel | `(batch, n_src, time)`           |
    | `(1, time)` and `(time,)`       | `(n_src, time)`                  |
    """

    geometry: LengthRule
    reach: int | None = None
    replaceable: tuple[str, ...] = ("sample_rate",)

    def __init__(self, arguments: Mapping[str, Any]):
        super().__init__(sample_rate=arguments["sample_rate"], in_channels=arguments["in_channels"])
        self._arguments = {**arguments, "sources": list(arguments["sources"])}
        self.sources = tuple(arguments["sources"])

    @property
    def n_src(self) -> int:
        """Number of sources."""
        return len(self.sources)

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the sources of a mixture of any length (1 sample or more).

        Estimates have the mixture's length: it is zero-padded on both sides by the network's
        context, and on the right up to the next valid length.

        Raises:
            ValueError: if the mixture's shape is not in the class's table.
        """
        batch = self.to_batch(mixture)
        estimates = self._network(self._pad(batch))
        return self.from_batch(estimates.narrow(-1, 0, batch.shape[-1]), mixture)

    def forward_context(self, mixture: Tensor) -> Tensor:
        """Estimate the sources in the centre of a mixture without padding, as in training.

        Args:
            mixture: `(batch, channels, geometry.fit(n).input)`, or without the batch.
        Returns:
            Estimates of the `geometry.fit(n).output` samples that begin at
            `geometry.left_context`, shaped like those of `forward`.
        Raises:
            ValueError: if the shape or the length is not valid for this model.
        """
        batch = self.to_batch(mixture)
        self.geometry.output_of(batch.shape[-1])
        return self.from_batch(self._network(batch), mixture)

    def _network(self, mixture: Tensor) -> Tensor:
        """`(batch, channels, input)` -> `(batch, n_src, channels, output)`."""
        raise NotImplementedError

    def predict_track(self, mixture: Tensor, output_length: int | None = None) -> Tensor:
        """Predict a track segment by segment like the reference code, to reproduce its scores.

        Segments of `output_length` are predicted independently, each with its own context. That
        length is not a multiple of the step, so the result depends on where segments begin:
        `separate` is seamless and cheaper, but this is what the paper scored (Evaluate.py:82-145
        of its code; the resampling there is left to the caller). Always in evaluation mode.
        Models other than `WaveUNet` work likewise, with their own context.

        Args:
            mixture: `(channels, time)` or `(time,)` at the model's sample rate. A one-channel
                model gets the mean of the channels; otherwise a mono track is repeated.
            output_length: samples per segment, rounded up to a valid length; None for 16384, as
                in the paper.
        Returns:
            `(n_src, channels, time)`, or `(n_src, time)` for one channel.
        Raises:
            ValueError: if the mixture is empty, not finite or has the wrong number of channels.
        """
        lengths = self.geometry.fit(16384 if output_length is None else output_length)
        track = check_samples(torch.atleast_2d(torch.as_tensor(mixture)))
        if track.ndim != 2 or (self.in_channels > 1 and len(track) not in (1, self.in_channels)):
            raise ValueError(
                f"The track has shape {tuple(track.shape)}; expected (channels, time) with 1 or "
                f"{self.in_channels} channel(s)."
            )
        track = track.to(next(self.parameters()))
        if self.in_channels == 1:
            track = track.mean(dim=0, keepdim=True)
        elif track.shape[0] == 1:
            track = track.expand(self.in_channels, -1)
        n_samples = track.shape[-1]
        if n_samples < lengths.input:
            track = F.pad(track, (0, lengths.input - n_samples))
        padded = F.pad(track, (self.geometry.left_context, self.geometry.right_context))
        estimates = track.new_empty(self.n_src, *self._channel_shape, track.shape[-1])
        with evaluating(self), torch.no_grad():
            for start in segment_starts(track.shape[-1], lengths.output):
                segment = padded[..., start : start + lengths.input]
                estimates[..., start : start + lengths.output] = self.forward_context(segment)
        return estimates[..., :n_samples]

    def without_clipping(self) -> Self:
        """Return the model in a mode for separation that does not clip to full scale."""
        return self.eval()

    def stream(self, batch_size: int = 1, dtype: torch.dtype | None = None) -> BlockStream:
        """Separate a track block by block in constant memory; see `ChunkStream`.

        Estimates equal `model(track)` to rounding if the model has a `reach`, and approximate it
        otherwise.
        """
        return ChunkStream(self, batch_size, dtype)

    def evaluate_network(self, mixture: Tensor) -> Tensor:
        """Run `_network` in evaluation mode, without gradients, one item of the batch at a time.

        Memory does not grow with the batch. Separation does not update batch statistics and
        disables dropout, whatever mode the model is in.
        """
        with evaluating(self), torch.no_grad():
            return torch.cat([self._network(item) for item in mixture.split(1)])

    def _pad(self, batch: Tensor) -> Tensor:
        """Zero-pad `(batch, channels, n)` to the shortest input that yields at least n samples."""
        left, length = self.geometry.left_context, batch.shape[-1]
        return F.pad(batch, (left, self.geometry.fit(length).input - left - length))

    @property
    def _channel_shape(self) -> tuple[int, ...]:
        """Channel axis of estimates; none for one channel, as Asteroid's losses expect."""
        return () if self.in_channels == 1 else (self.in_channels,)

    def to_batch(self, mixture: Tensor, may_be_empty: bool = False) -> Tensor:
        """Convert any accepted shape to `(batch, channels, time)`.

        Raises:
            ValueError: if the shape is invalid, or the mixture is empty or not floating-point.
        """
        x = mixture[None] if mixture.ndim == 1 and self.in_channels == 1 else mixture
        if x.ndim not in (2, 3) or x.shape[-2] != self.in_channels:
            raise ValueError(
                f"The mixture has shape {tuple(mixture.shape)}; this model with {self.in_channels} "
                f"channel(s) expects (batch, {self.in_channels}, time) or "
                f"({self.in_channels}, time)"
                + (" or (time,)" if self.in_channels == 1 else "")
                + ". Use mixture.unsqueeze(1) for a batch of mono signals (batch, time)."
            )
        if x.numel() == 0 and not may_be_empty:
            raise ValueError(f"The mixture is empty: shape {tuple(mixture.shape)}.")
        check_floating(x)
        return x if x.ndim == 3 else x[None]

    def from_batch(self, estimates: Tensor, mixture: Tensor) -> Tensor:
        """Convert `(batch, n_src, channels, time)` to the shape that matches the mixture."""
        if self.in_channels == 1:
            estimates = estimates.squeeze(2)
        return estimates if mixture.ndim == 3 else estimates[0]

    # Asteroid's separation methods. Its own versions rescale the estimates, drop channels and
    # fail on stereo models.

    def separate(self, wav: Any, *args: Any, **kwargs: Any) -> Any:
        """Call `file_separate` for a path, `separation.separate.separate` for samples."""
        if isinstance(wav, (str, os.PathLike)):
            return self.file_separate(wav, *args, **kwargs)
        return separate(self, wav, *args, **kwargs)

    def torch_separate(
        self,
        wav: Tensor,
        progress: Progress | None = None,
        precision: str = "fp32",
        shifts: int = 1,
        mixture_consistency: bool = False,
    ) -> Tensor:
        """See `separation.separate.torch_separate` and `SeparationOptions`."""
        options = SeparationOptions(precision, shifts, mixture_consistency)
        return torch_separate(self, wav, options, progress)

    def numpy_separate(
        self,
        wav: np.ndarray,
        progress: Progress | None = None,
        precision: str = "fp32",
        shifts: int = 1,
        mixture_consistency: bool = False,
    ) -> np.ndarray:
        """See `separation.separate.numpy_separate` and `SeparationOptions`."""
        options = SeparationOptions(precision, shifts, mixture_consistency)
        return numpy_separate(self, wav, options, progress)

    def file_separate(
        self,
        filename: Source,
        output_dir: str | os.PathLike | None = None,
        force_overwrite: bool = False,
        resample: bool = True,
        progress: Progress | None = None,
        precision: str = "fp32",
        shifts: int = 1,
        mixture_consistency: bool = False,
        start: float = 0.0,
        duration: float | None = None,
        channels: str = "mix",
    ) -> dict[str, Path]:
        """See `separation.separate.file_separate` and `SeparationOptions`."""
        options = SeparationOptions(precision, shifts, mixture_consistency, resample, channels)
        part = (start, duration)
        return file_separate(self, filename, output_dir, force_overwrite, options, progress, *part)

    # Saving and loading.

    def get_model_args(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain Python values."""
        return {**self._arguments, "sample_rate": self.sample_rate}

    def serialize(self, **infos: Any) -> dict[str, Any]:
        """Return Asteroid's model dictionary, made of plain Python values and tensors only.

        `torch.load` reads it with `weights_only=True`, so unpatched Asteroid loads the file;
        Asteroid's own dictionary holds a `TorchVersion`, which that mode rejects.

        Args:
            infos: further entries of `infos`, such as scores or the training configuration.
        Raises:
            ValueError: if a value has no plain Python equivalent.
        """
        return loading.serialize(self, infos)

    @classmethod
    def from_pretrained(cls, pretrained_model_conf_or_path: Any, **kwargs: Any) -> Self:
        """Load a trained model from a file, a folder, the Hugging Face Hub, a URL or a dictionary.

        `SourceModel.from_pretrained` loads any model of this package, a subclass only its own
        kind. No code in a file is executed, and sizes are checked before the model is built.
        Downloads are cached and then work offline.

        Args:
            pretrained_model_conf_or_path: one of

                * the name of weights that come with the package, see `pretrained.names()`;
                * a folder with `model.safetensors` or `pytorch_model.bin` (in this order);
                * a file: `.safetensors`, `.bin`, `.pth`, or a `.ckpt` of this package's training;
                * `"user/model"` or `"user/model@revision"` on the Hub;
                * the URL of such a file, with `#sha256=...` appended to verify it;
                * the dictionary that `serialize()` returns.
            kwargs: constructor arguments that override the stored ones: the names of `sources`
                (not their number) and those in `replaceable`. Others fix the weights' shapes.
        Returns:
            The model, in evaluation mode.
        Raises:
            FileNotFoundError: if the file, folder or Hub model does not exist.
            OSError: if the download fails or is damaged.
            ValueError: if the file is corrupt, would run code, holds another kind of model or
                invalid arguments, or if an argument cannot be overridden.

        >>> from asteroid_waveunet import WaveUNet
        >>> model = WaveUNet(levels=4, sources=("accompaniment", "vocals"))
        >>> WaveUNet.from_pretrained(model.serialize(), sources=("music", "speech")).sources
        ('music', 'speech')
        """
        return loading.load(cls, pretrained_model_conf_or_path, kwargs)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode inside a `with` block, then restore the mode of each module."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
