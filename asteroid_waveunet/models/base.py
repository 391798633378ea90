"""What all models here have in common: shapes, separation, weights as files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet._asteroid import BaseModel, asteroid
from asteroid_waveunet._import_hook import register_models
from asteroid_waveunet.audio.checks import check_floating, check_samples
from asteroid_waveunet.models import argument_checks
from asteroid_waveunet.nn.geometry import LengthRule, segment_starts
from asteroid_waveunet.separation.separate import (
    dispatch,
    file_separate,
    numpy_separate,
    torch_separate,
)
from asteroid_waveunet.streaming.overlapping_chunks import PieceStream
from asteroid_waveunet.streaming.wave_unet_stream import BlockStream
from asteroid_waveunet.weights import serialization

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["PerChannel", "SourceModel", "evaluating"]


class SourceModel(BaseModel):
    """A mixture in, its sources by name out. A kind of model says how, in `_network`.

    Args:
        given: the constructor's arguments, checked; `sources`, `in_channels` and `sample_rate`
            among them.

    Attributes:
        sources: names of the estimates, in order.
        in_channels: channels of mixture and estimates.
        sample_rate: of mixture and estimates, in Hz.
        geometry: which lengths the network has.
        reach: samples on either side beyond which an estimate does not depend on the mixture,
            for `PieceStream`; None if the network looks at all of it, or has a stream of its own.
        replaceable: arguments that leave the shapes of weights as they are.

    Shapes, of `model(mixture)`; float tensors at full scale 1.0:

    ===============================  ==========================================
    mixture                          estimates
    ===============================  ==========================================
    `(batch, channels, time)`        `(batch, n_src, channels, time)`
    `(channels, time)`               `(n_src, channels, time)`
    `(batch, 1, time)`, one channel  `(batch, n_src, time)`
    `(1, time)` and `(time,)`        `(n_src, time)`
    ===============================  ==========================================
    """

    geometry: LengthRule
    reach: int | None = None
    replaceable: tuple[str, ...] = ("sample_rate",)

    def __init__(self, given: Mapping[str, Any]):
        super().__init__(sample_rate=given["sample_rate"], in_channels=given["in_channels"])
        self._arguments = {**given, "sources": list(given["sources"])}
        self.sources = tuple(given["sources"])

    @property
    def n_src(self) -> int:
        """Number of sources."""
        return len(self.sources)

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimates as long as the mixture, whatever its length (1 sample or more).

        What the network wants to see beyond the ends is silence: as much context as it needs,
        and zeros on the right up to a length that fits.

        Raises:
            ValueError: if the mixture's shape is none of those in the class's table.
        """
        batch = self.to_batch(mixture)
        estimates = self._network(self._with_silence(batch))
        return self.from_batch(estimates.narrow(-1, 0, batch.shape[-1]), mixture)

    def forward_context(self, mixture: Tensor) -> Tensor:
        """Estimates of the centre of a mixture, nothing padded: what training uses.

        Args:
            mixture: `(batch, channels, geometry.fit(n).input)`, or without the batch.
        Returns:
            Estimates of the `geometry.fit(n).output` samples that begin at
            `geometry.left_context`, shaped as `forward`'s.
        Raises:
            ValueError: if the shape or the length fits no output of this model.
        """
        batch = self.to_batch(mixture)
        self.geometry.output_of(batch.shape[-1])
        return self.from_batch(self._network(batch), mixture)

    def _network(self, mixture: Tensor) -> Tensor:
        """`(batch, channels, input)` -> `(batch, n_src, channels, output)`."""
        raise NotImplementedError

    def predict_track(self, mixture: Tensor, output_length: int | None = None) -> Tensor:
        """The reference's segment-wise prediction of a track, for parity with its scores.

        Segments of `output_length` are predicted one by one, each with its own context. Since
        that length is no multiple of the step, the result depends on where segments begin:
        `separate` is seamless and cheaper, this is what the paper scored (Evaluate.py:82-145
        of its code; the resampling there is left to the caller). Always in evaluation mode.
        Of other models than a `WaveUNet` the same, with the context that they have.

        Args:
            mixture: `(channels, time)` or `(time,)` at the model's sample rate; for a model of
                one channel the channels are averaged, a mono track is repeated for the others.
            output_length: samples per segment, rounded up to a length that fits; 16384, as in
                the paper, if None.
        Returns:
            `(n_src, channels, time)`, for one channel `(n_src, time)`.
        Raises:
            ValueError: if the mixture is empty, not finite or of other channels.
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
        """The model itself, to separate in a mode that leaves what is beyond full scale."""
        return self.eval()

    def stream(self, batch_size: int = 1, dtype: torch.dtype | None = None) -> BlockStream:
        """A track in blocks, in a memory that does not grow; see `PieceStream`.

        Of a model with a `reach` the estimates are `model(track)`'s to rounding, of another close
        to them.
        """
        return PieceStream(self, batch_size, dtype)

    def _evaluated(self, mixture: Tensor) -> Tensor:
        """`_network` in evaluation mode, without gradients, one item of the batch after another.

        So memory does not grow with the batch; and to separate is not to train: no statistics of a
        normalisation are changed, nothing is dropped.
        """
        with evaluating(self), torch.no_grad():
            return torch.cat([self._network(item) for item in mixture.split(1)])

    def _with_silence(self, batch: Tensor) -> Tensor:
        """`(batch, channels, n)` amid the zeros that make it an input yielding at least n."""
        left, length = self.geometry.left_context, batch.shape[-1]
        return F.pad(batch, (left, self.geometry.fit(length).input - left - length))

    @property
    def _channel_shape(self) -> tuple[int, ...]:
        """The channel axis of estimates, which one channel does without (Asteroid's losses)."""
        return () if self.in_channels == 1 else (self.in_channels,)

    def to_batch(self, mixture: Tensor, may_be_empty: bool = False) -> Tensor:
        """Any accepted shape -> `(batch, channels, time)`.

        Raises:
            ValueError: if the shape is none, or the mixture is empty or not of floats.
        """
        x = mixture[None] if mixture.ndim == 1 and self.in_channels == 1 else mixture
        if x.ndim not in (2, 3) or x.shape[-2] != self.in_channels:
            raise ValueError(
                f"The mixture has shape {tuple(mixture.shape)}; this model of {self.in_channels} "
                f"channel(s) takes (batch, {self.in_channels}, time) or ({self.in_channels}, time)"
                + (" or (time,)" if self.in_channels == 1 else "")
                + ". A batch of mono signals (batch, time) becomes one by mixture.unsqueeze(1)."
            )
        if x.numel() == 0 and not may_be_empty:
            raise ValueError(f"The mixture is empty: shape {tuple(mixture.shape)}.")
        check_floating(x)
        return x if x.ndim == 3 else x[None]

    def from_batch(self, estimates: Tensor, mixture: Tensor) -> Tensor:
        """`(batch, n_src, channels, time)` -> the shape that belongs to the mixture's."""
        if self.in_channels == 1:
            estimates = estimates.squeeze(2)
        return estimates if mixture.ndim == 3 else estimates[0]

    # Separation: Asteroid's names. Its own versions rescale the estimates, drop channels and fail
    # on stereo models.

    def separate(self, wav: Any, *args: Any, **kwargs: Any) -> Any:
        """`torch_separate`, `numpy_separate` or `file_separate`, by the type of `wav`."""
        return dispatch(self, wav, *args, **kwargs)

    def torch_separate(self, wav: Tensor, **kwargs: Any) -> Tensor:
        """See `separation.torch_separate`."""
        return torch_separate(self, wav, **kwargs)

    def numpy_separate(self, wav: np.ndarray, **kwargs: Any) -> np.ndarray:
        """See `separation.numpy_separate`."""
        return numpy_separate(self, wav, **kwargs)

    def file_separate(self, filename: Any, *args: Any, **kwargs: Any) -> dict:
        """See `separation.file_separate`."""
        return file_separate(self, filename, *args, **kwargs)

    # Weights.

    def get_model_args(self) -> dict[str, Any]:
        """The constructor's arguments, plain Python."""
        return {**self._arguments, "sample_rate": self.sample_rate}

    def serialize(self, **infos: Any) -> dict[str, Any]:
        """Asteroid's model dictionary, in plain Python and tensors only.

        That is what `torch.load` reads under `weights_only`, so that unpatched Asteroid loads
        the file; Asteroid's own holds a `TorchVersion`, which it then refuses.

        Args:
            infos: further entries of `infos`, such as scores or the training's configuration.
        Raises:
            ValueError: if a value of theirs has no plain Python equivalent.
        """
        from asteroid_waveunet._version import __version__

        versions = {
            "torch_version": str(torch.__version__),
            "asteroid_version": asteroid.__version__,
            "asteroid_waveunet_version": __version__,
        }
        return {
            "model_name": type(self).__name__,
            "state_dict": self.get_state_dict(),
            "model_args": serialization.plain(self.get_model_args()),
            "infos": serialization.plain({"software_versions": versions, **infos}),
        }

    @classmethod
    def from_pretrained(cls, pretrained_model_conf_or_path: Any, **kwargs: Any) -> Self:
        """A trained model from a file, a folder, the Hugging Face Hub, a URL or a dictionary.

        `SourceModel.from_pretrained` takes those of any model here, the others their own kind's.
        Nothing in a file is run, and its sizes are compared with its weights before anything is
        built. What was downloaded once is loaded without a network.

        Args:
            pretrained_model_conf_or_path: one of

                * a folder with `model.safetensors`, or else `pytorch_model.bin`;
                * a file: `.safetensors`, `.bin`, `.pth`, or a `.ckpt` of a training here;
                * `"user/model"` or `"user/model@revision"` on the Hub;
                * the URL of such a file, with `#sha256=...` behind it if that is to be checked;
                * what `serialize()` returns.
            kwargs: arguments of the constructor that replace the stored ones: names of as many
                `sources`, and those in `replaceable`. The others decide on the shapes of
                weights.
        Returns:
            The model, in evaluation mode.
        Raises:
            FileNotFoundError: if there is no such file, folder or model on the Hub.
            OSError: if it cannot be downloaded, or came damaged.
            ValueError: if it is corrupt, would run code, holds another kind of model or
                arguments out of their range, or an argument cannot be replaced.

        >>> from asteroid_waveunet import WaveUNet
        >>> model = WaveUNet(levels=4, sources=("accompaniment", "vocals"))
        >>> WaveUNet.from_pretrained(model.serialize(), sources=("music", "speech")).sources
        ('music', 'speech')
        """
        conf = serialization.read(pretrained_model_conf_or_path)
        kind = cls._kind(conf["model_name"])
        stored = kind._outline(conf["model_args"])
        argument_checks.check_replaced(stored.get_model_args(), kwargs, kind.replaceable)
        model = kind._outline({**conf["model_args"], **kwargs}) if kwargs else stored
        serialization.fill(model, conf["state_dict"])
        return model.eval()

    @classmethod
    def _kind(cls, name: str) -> type[Self]:
        """This class or one that derives from it, by its name.

        Raises:
            ValueError: if there is none of that name.
        """
        register_models()
        found = cls if name == cls.__name__ else vars(asteroid.models).get(name)
        if not (isinstance(found, type) and issubclass(found, cls)):
            raise ValueError(
                f"These are weights of a {name}, not of a {cls.__name__}; "
                "asteroid.models.BaseModel.from_pretrained loads them."
            )
        return found

    @classmethod
    def _outline(cls, model_args: dict[str, Any]) -> Self:
        """A model that has shapes only.

        Raises:
            ValueError: if the arguments are none of this class's, or out of their range.
        """
        try:
            with torch.device("meta"):
                return cls(**model_args)
        except TypeError as reason:
            raise ValueError(f"These arguments are no {cls.__name__}'s: {reason}.") from reason


class PerChannel(SourceModel):
    """A network of one channel, to which each channel of a mixture is a signal of its own.

    So a mono network, of which the literature knows most, takes any number of channels: they are
    laid into the batch, and nothing of a stereo image is lost. What the channels have in common,
    such as where a source is in the stereo image, the network does not see.

    These networks compute in float32 or float64; in mixed precision (torch.autocast) they know
    themselves what is to be exact.
    """

    replaceable = ("sample_rate", "in_channels")

    def _network(self, mixture: Tensor) -> Tensor:
        dtype = next(self.parameters()).dtype
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"A {type(self).__name__} does not compute in {dtype}; expected float32 or "
                "float64. What there is beside them is mixed precision: torch.autocast, "
                "--precision bf16-mixed in the recipe."
            )
        estimates = self._mono(mixture.flatten(0, 1))
        return estimates.unflatten(0, mixture.shape[:2]).transpose(1, 2)

    def _mono(self, mixture: Tensor) -> Tensor:
        """`(batch, input)` -> `(batch, n_src, output)`."""
        raise NotImplementedError


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of a `with` block; then each module is in its own again."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
