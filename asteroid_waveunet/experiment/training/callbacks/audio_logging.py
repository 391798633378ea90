"""Log audio and spectrograms of a validation excerpt during training."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.report import excerpts, spectrogram_images
from asteroid_waveunet.experiment.report.excerpts import Excerpt
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.training import loggers
from asteroid_waveunet.models.base import SourceModel, evaluating
from asteroid_waveunet.separation.separate import torch_separate

__all__ = ["AudioLogging", "ExcerptInContext", "choose_excerpt"]

SECONDS = 6.0
MAX_TRACKS = 8  # searched for an excerpt
AUDIBLE = 1e-3  # RMS, -60 dB


@dataclass(frozen=True)
class ExcerptInContext:
    """A few seconds of a validation track with the model's context around them.

    Attributes:
        mixture: `(channels, left + time + right)`, including context.
        left, right: samples of context before and after the excerpt.
        excerpt: its mixture and references; its estimates are the references.
    """

    mixture: Tensor
    left: int
    right: int
    excerpt: Excerpt

    def separate(self, model: SourceModel) -> Excerpt:
        """Return the excerpt with the model's estimates; they equal those of the whole track.

        The model is not changed. NaN and infinite samples become 0: `FiniteLoss` reports
        divergence.
        """
        with evaluating(model), torch.no_grad():
            estimates = torch_separate(model, self.mixture).float().nan_to_num(0, 0, 0)
        stop = estimates.shape[-1] - self.right
        estimates = estimates[..., self.left : stop].reshape(model.n_src, model.in_channels, -1)
        return dataclasses.replace(
            self.excerpt, estimates=dict(zip(model.sources, estimates.numpy(), strict=True))
        )


def choose_excerpt(
    segments: Segments, model: SourceModel, seconds: float = SECONDS
) -> ExcerptInContext:
    """Return the most active excerpt of the first track in whose excerpt all sources are audible.

    If none of the first eight tracks has one, the excerpt comes from the first track. The choice
    depends on the segments only, so a resumed training logs the same excerpt.

    Args:
        segments: validation segments (`random=False`).
        model: with the same sources and context.
        seconds: length of the excerpt; a shorter track is used whole.
    """
    candidates = []
    for track in itertools.islice(_tracks(segments), MAX_TRACKS):
        candidates.append(_most_active(*track, model, seconds))
        references = candidates[-1].excerpt.references.values()
        if all(np.sqrt(np.mean(np.square(source))) > AUDIBLE for source in references):
            return candidates[-1]
    return candidates[0]


def _tracks(segments: Segments) -> Iterator[tuple[Prepared, Tensor, Tensor]]:
    """Join the segments of each track: mixture `(channels, time)` and sources."""
    start = segments.left_context
    center = slice(start, start + segments.lengths.output)
    by_track = itertools.groupby(range(len(segments)), key=lambda index: segments.locate(index)[0])
    for number, indices in by_track:
        track = segments.tracks[number]
        # Copy the mixture's center, to free its much longer context.
        items = [
            (mixture[:, center].clone(), targets)
            for mixture, targets in map(segments.__getitem__, indices)
        ]
        mixture, sources = (torch.cat(parts, dim=-1) for parts in zip(*items, strict=True))
        sources = sources.reshape(track.n_src, track.channels, -1)
        yield track, mixture[:, : track.length], sources[..., : track.length]


def _most_active(
    track: Prepared, mixture: Tensor, sources: Tensor, model: SourceModel, seconds: float
) -> ExcerptInContext:
    references = dict(zip(model.sources, sources.numpy(), strict=True))
    excerpt = excerpts.excerpt(
        track.name, mixture.numpy(), references, references, track.sample_rate, seconds
    )
    geometry = model.geometry
    start = round(excerpt.start * excerpt.sample_rate)
    # The context is that of the best-placed estimates in a step; others need up to a step more.
    # The model commutes with shifts by whole steps only, so the mixture begins at one.
    reach = model.reach or 0
    left = max(geometry.left_context, reach) + geometry.step
    left += (start - left) % geometry.step
    right = max(geometry.right_context, reach) + geometry.step
    in_context = F.pad(mixture, (left, right))[
        :, start : start + left + excerpt.mixture.shape[-1] + right
    ]
    return ExcerptInContext(in_context.clone(), left, right, excerpt)


class AudioLogging(pl.Callback):
    """Log an excerpt's audio and spectrograms to the loggers that support media.

    Mixture and references are logged once, estimates every `every` epochs. Training is not
    affected: no random numbers are drawn and no weights changed. Only the first process logs.

    Args:
        segments: validation segments to choose the excerpt from; see `choose_excerpt`.
        every: epochs, >= 1; starts with the first epoch.
    """

    def __init__(self, segments: Segments, every: int) -> None:
        self.segments = segments
        self.every = every
        self.references_logged = False
        self._excerpt: ExcerptInContext | None = None

    @property
    def state_key(self) -> str:
        return "Listening"  # the name in existing checkpoints

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch % self.every or not trainer.is_global_zero:
            return
        writers = loggers.media_writers(trainer.loggers)
        if not writers:
            return
        model: Any = pl_module.model
        if self._excerpt is None:
            self._excerpt = choose_excerpt(self.segments, model)
        excerpt = self._excerpt.separate(model)
        step = trainer.global_step - 1  # the last step done, as for Lightning's own metrics
        audio = {f"{source}/estimate": x for source, x in excerpt.estimates.items()}
        if not self.references_logged:
            truth = {f"{source}/truth": x for source, x in excerpt.references.items()}
            audio = {"mixture": excerpt.mixture, **truth, **audio}
        image = spectrogram_images.comparison(excerpt)
        for writer in writers:
            for name, samples in audio.items():
                writer.add_audio(f"passage/{name}", samples, excerpt.sample_rate, step)
            writer.add_image("passage/picture", image, step)
        self.references_logged = True

    def state_dict(self) -> dict[str, Any]:
        return {"heard": self.references_logged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.references_logged = state_dict["heard"]
