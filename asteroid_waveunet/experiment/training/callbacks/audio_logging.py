"""What a person hears and sees of a training.

The model's progress is heard in one passage of music, again and again.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.report import excerpts, spectrogram_images
from asteroid_waveunet.experiment.report.excerpts import Excerpt
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training import media
from asteroid_waveunet.experiment.training.callbacks import progress
from asteroid_waveunet.experiment.training.callbacks.ema import Averaging
from asteroid_waveunet.models.base import SourceModel, evaluating
from asteroid_waveunet.separation.separate import torch_separate

__all__ = ["Listening", "Passage", "callbacks", "choose"]

SECONDS = 6.0
MOST_TRACKS = 8  # that are looked through for a passage
AUDIBLE = 1e-3  # RMS, -60 dB


def callbacks(
    settings: Training, exp_dir: Path, steps_per_epoch: int, valid_set: Dataset
) -> list[pl.Callback]:
    """Lightning's callbacks for all that is watched, and for the average of weights.

    They come before those that store or change weights: see `Averaging`.

    Args:
        exp_dir: where the training's files are.
        steps_per_epoch: batches, of each process.
        valid_set: the passage to listen to is chosen from it if it is `Segments`.
    """
    by_step = settings.schedule != "constant" or settings.warmup_steps > 0
    found: list[pl.Callback] = [
        LearningRateMonitor("step" if by_step else "epoch"),
        progress.shown(steps_per_epoch),
        progress.Summary(exp_dir),
    ]
    if settings.ema:
        found.insert(0, Averaging(settings.ema))
    if settings.listen_every and isinstance(valid_set, Segments):
        found.append(Listening(valid_set, settings.listen_every))
    return found


@dataclass(frozen=True)
class Passage:
    """A few seconds of a validation track, with what the model wants to see around them.

    Attributes:
        mixture: `(channels, left + time + right)`, with the model's context.
        left, right: samples of it before and after the passage.
        piece: its mixture and its true sources, which stand for estimates too.
    """

    mixture: Tensor
    left: int
    right: int
    piece: Excerpt

    def separated(self, model: SourceModel) -> Excerpt:
        """The piece with the model's estimates, those of the whole track; the model stays as it is.

        What is not finite is silent: that training has diverged is for others to say.
        """
        with evaluating(model), torch.no_grad():
            found = torch_separate(model, self.mixture).float().nan_to_num(0, 0, 0)
        stop = found.shape[-1] - self.right
        estimates = found[..., self.left : stop].reshape(model.n_src, model.in_channels, -1)
        return dataclasses.replace(
            self.piece, estimates=dict(zip(model.sources, estimates.numpy(), strict=True))
        )


def choose(segments: Segments, model: SourceModel, seconds: float = SECONDS) -> Passage:
    """The passage in which most is going on, of the first track where all sources are heard.

    If there is no such track among the first eight, it is of the very first. The same segments
    have the same passage, so that a training that goes on is heard with it again.

    Args:
        segments: of validation (`random=False`).
        model: whose sources and context they have.
        seconds: of the passage; a shorter track is taken whole.
    """
    found = []
    for track in itertools.islice(_tracks(segments), MOST_TRACKS):
        found.append(_liveliest(*track, model, seconds))
        sources = found[-1].piece.references.values()
        if all(np.sqrt(np.mean(np.square(source))) > AUDIBLE for source in sources):
            return found[-1]
    return found[0]


def _tracks(segments: Segments) -> Iterator[tuple[Prepared, Tensor, Tensor]]:
    """Each track, put together of its segments: mixture `(channels, time)`, and sources."""
    start = segments.left_context
    kept = slice(start, start + segments.lengths.output)
    walk = itertools.groupby(range(len(segments)), key=lambda index: segments.locate(index)[0])
    for number, indices in walk:
        track = segments.tracks[number]
        # A copy is kept of the mixture's middle: its context is much longer.
        items = [
            (mixture[:, kept].clone(), targets)
            for mixture, targets in map(segments.__getitem__, indices)
        ]
        mixture, sources = (torch.cat(parts, dim=-1) for parts in zip(*items, strict=True))
        sources = sources.reshape(track.n_src, track.channels, -1)
        yield track, mixture[:, : track.length], sources[..., : track.length]


def _liveliest(
    track: Prepared, mixture: Tensor, sources: Tensor, model: SourceModel, seconds: float
) -> Passage:
    true = dict(zip(model.sources, sources.numpy(), strict=True))
    piece = excerpts.excerpt(track.name, mixture.numpy(), true, true, track.sample_rate, seconds)
    geometry = model.geometry
    start = round(piece.start * piece.sample_rate)
    # The context is that of estimates at their best place in a step; others see up to a step
    # more. And as the model commutes with shifts by a step only, the mixture begins where one does.
    reach = model.reach or 0
    left = max(geometry.left_context, reach) + geometry.step
    left += (start - left) % geometry.step
    right = max(geometry.right_context, reach) + geometry.step
    around = F.pad(mixture, (left, right))[
        :, start : start + left + piece.mixture.shape[-1] + right
    ]
    return Passage(around.clone(), left, right, piece)


class Listening(pl.Callback):
    """Sounds of a passage and a picture of it, in those loggers that show them.

    The mixture and the true sources are there once, the estimates every so many epochs. It
    draws no random numbers and changes nothing: training ends with the same weights without it.
    One process of several does it.

    Args:
        segments: of validation, where the passage is from; see `choose`.
        every: epochs, >= 1; the first epoch is heard.
    """

    def __init__(self, segments: Segments, every: int) -> None:
        self.segments = segments
        self.every = every
        self.heard = False
        self._passage: Passage | None = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch % self.every or not trainer.is_global_zero:
            return
        loggers = media.of(trainer.loggers)
        if not loggers:
            return
        model: Any = pl_module.model
        if self._passage is None:
            self._passage = choose(self.segments, model)
        piece = self._passage.separated(model)
        step = trainer.global_step - 1  # the last that was done, as with Lightning's own metrics
        sounds = {f"{source}/estimate": x for source, x in piece.estimates.items()}
        if not self.heard:
            truth = {f"{source}/truth": x for source, x in piece.references.items()}
            sounds = {"mixture": piece.mixture, **truth, **sounds}
        picture = spectrogram_images.comparison(piece)
        for logger in loggers:
            for name, samples in sounds.items():
                logger.add_sound(f"passage/{name}", samples, piece.sample_rate, step)
            logger.add_picture("passage/picture", picture, step)
        self.heard = True

    def state_dict(self) -> dict[str, Any]:
        return {"heard": self.heard}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.heard = state_dict["heard"]
