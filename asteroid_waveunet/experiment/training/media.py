"""Sounds and pictures in Lightning's loggers, those that hold such things."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

__all__ = ["Media", "of"]


@dataclass(frozen=True)
class Media:
    """What one logger does with a sound and with a picture.

    Attributes:
        add_sound: called with a tag, samples `(channels, time)` at full scale 1.0, their rate in
            Hz and the optimiser's step.
        add_picture: called with a tag, pixels `(height, width, 3)` of uint8 and the step.
    """

    add_sound: Callable[[str, np.ndarray, int, int], None]
    add_picture: Callable[[str, np.ndarray, int], None]


def of(loggers: Sequence[Logger]) -> list[Media]:
    """Those of the loggers that show media; a table of numbers does not."""
    return [
        make(logger)
        for logger in loggers
        for kind, make in KINDS.items()
        if isinstance(logger, kind)
    ]


def _tensorboard(logger: Any) -> Media:
    """PyTorch's writer takes mono only, so that sounds are given to what is behind it."""

    def add_sound(tag: str, samples: np.ndarray, sample_rate: int, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        channels, n_samples = samples.shape
        file = io.BytesIO()
        soundfile.write(file, samples.T.clip(-1, 1), sample_rate, "PCM_16", format="WAV")
        audio = Summary.Audio(
            sample_rate=sample_rate,
            num_channels=channels,
            length_frames=n_samples,
            encoded_audio_string=file.getvalue(),
            content_type="audio/wav",
        )
        summary = Summary(value=[Summary.Value(tag=tag, audio=audio)])
        logger.experiment.file_writer.add_summary(summary, step)

    def add_picture(tag: str, pixels: np.ndarray, step: int) -> None:
        logger.experiment.add_image(tag, pixels, step, dataformats="HWC")

    return Media(add_sound, add_picture)


def _wandb(logger: Any) -> Media:
    def add_sound(tag: str, samples: np.ndarray, sample_rate: int, step: int) -> None:
        logger.log_audio(tag, [samples.T.clip(-1, 1)], step, sample_rate=[sample_rate])

    def add_picture(tag: str, pixels: np.ndarray, step: int) -> None:
        logger.log_image(tag, [pixels], step)

    return Media(add_sound, add_picture)


KINDS: dict[type[Logger], Callable[[Any], Media]] = {
    TensorBoardLogger: _tensorboard,
    WandbLogger: _wandb,
}
