"""A model as an estimator of sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.estimators import TrackAudio
from asteroid_waveunet.experiment.evaluation.metrics.windows import Audio, as_array
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.separation.separate import separate_at_rate
from asteroid_waveunet.streaming.options import DEFAULT_OPTIONS, SeparationOptions

__all__ = ["Separator"]


RECENT = 256e6  # bytes of estimates that are kept: those of short songs, for the page's excerpts


@dataclass(frozen=True)
class Separator:
    """Estimates computed from the mixture by a function, in the calling process.

    The latest estimates are kept, up to `RECENT`; the page asks for some again.

    Attributes:
        separate: `(mixture (channels, time), sample_rate)` -> source -> `(channels, time)`.
        model: that `separate` uses, if it does.
    """

    separate: Callable[[Tensor, int], Mapping[str, Audio]]
    model: SourceModel | None = None
    _recent: dict[Track, Mapping[str, Audio]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __call__(self, track: Track, audio: TrackAudio) -> Mapping[str, Audio]:
        estimates = self._recent.pop(track, None)
        if estimates is None:
            estimates = self.separate(audio.mixture, audio.sample_rate)
        self._recent[track] = estimates
        while sum(map(_size, self._recent.values())) > RECENT:
            del self._recent[next(iter(self._recent))]
        return estimates

    @classmethod
    def from_model(
        cls, model: SourceModel, options: SeparationOptions = DEFAULT_OPTIONS
    ) -> Separator:
        """Separate with a model, on its device.

        A mono model receives the mean of the channels, and its estimates stand for both channels,
        as the paper scores M1 to M3 and M7.

        Args:
            options: of the separation.
        """

        def separate(mixture: Tensor, sample_rate: int) -> Mapping[str, Audio]:
            if model.in_channels == 1:
                mixture = to_channels(mixture, 1)
            estimates = separate_at_rate(model, mixture, sample_rate, options)
            return dict(zip(model.sources, estimates, strict=True))

        return cls(separate, model)

    @classmethod
    def segment_wise(cls, model: SourceModel, output_length: int) -> Separator:
        """Separate segment by segment, like the reference whose scores the paper reports.

        Args:
            output_length: samples per segment; see `SourceModel.predict_track`.
        """

        def separate(mixture: Tensor, sample_rate: int) -> Mapping[str, Audio]:
            track = resample(mixture, sample_rate, model.sample_rate)
            stems = model.predict_track(track, output_length).to(mixture)
            stems = stems.reshape(model.n_src, model.in_channels, -1)
            stems = resample(stems, model.sample_rate, sample_rate, mixture.shape[-1])
            return dict(zip(model.sources, to_channels(stems, len(mixture)), strict=True))

        return cls(separate, model)

    @classmethod
    def configured(
        cls, model: SourceModel, segment_length: int | None, fit_levels: bool
    ) -> Separator:
        """Separate as the settings of an experiment say.

        Args:
            segment_length: samples per segment of `segment_wise`; None for `from_model`.
            fit_levels: apply `with_fitted_levels`.
        """
        if segment_length is None:
            separator = cls.from_model(model)
        else:
            separator = cls.segment_wise(model, segment_length)
        return separator.with_fitted_levels() if fit_levels else separator

    def with_fitted_levels(self) -> Separator:
        """Scale the estimates so that their sum is the best approximation of the mixture.

        The gains g minimise sum |mixture - sum_i g_i * s_i| ** 2 over all samples of the track.
        This needs no reference, and settles the levels (and signs) that a scale-invariant loss
        leaves open.
        """

        def separate(mixture: Tensor, sample_rate: int) -> Mapping[str, Audio]:
            estimates = self.separate(mixture, sample_rate)
            wide = [torch.as_tensor(s).expand_as(mixture).flatten() for s in estimates.values()]
            columns = torch.stack(wide).double()
            products, projections = columns @ columns.T, columns @ mixture.flatten().to(columns)
            if not products.isfinite().all():
                return estimates  # scoring refuses them with the reason
            gains = torch.linalg.pinv(products, hermitian=True) @ projections  # zero for silence
            return {
                name: torch.as_tensor(samples) * gain.to(torch.float32)
                for (name, samples), gain in zip(estimates.items(), gains, strict=True)
            }

        return Separator(separate, self.model)


def _size(estimates: Mapping[str, Audio]) -> int:
    """Return the bytes of some estimates."""
    return sum(as_array(samples).nbytes for samples in estimates.values())
