"""Distillation: train towards the estimates of trained weights."""

from __future__ import annotations

import torch
from torch import Tensor

from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.nn.symmetry import images

__all__ = ["Teacher"]


class Teacher:
    """Targets from trained weights: their estimates averaged over the images of a mixture.

    A network is trained to treat left and right and both signs alike, and does so only roughly.
    The mean over the four images of a mixture does exactly, and is a better estimate. A student
    learns it at the cost of one pass.

    Args:
        weights: as for `SourceModel.from_pretrained`.
        student: the model to train.
    Raises:
        FileNotFoundError, OSError, ValueError: as `from_pretrained`; ValueError also if the
            weights' sources, audio format or context are not the student's.
    """

    def __init__(self, weights: str, student: SourceModel):
        self._model = SourceModel.from_pretrained(weights).requires_grad_(False)
        for name in ("sources", "in_channels", "sample_rate", "geometry"):
            theirs, own = getattr(self._model, name), getattr(student, name)
            if theirs != own:
                raise ValueError(
                    f"The teacher {weights} has {name} {theirs}, the model {own}; they must agree."
                )

    @torch.no_grad()
    def __call__(self, mixture: Tensor) -> Tensor:
        """Return the targets of mixtures, as `SourceModel.forward_context`."""
        model = self._model.to(mixture.device)
        passes = [model.forward_context(image) for image in images(mixture)]
        of_mono = model.in_channels == 1  # estimates without an axis of channels
        passes = [x[:, :, None] if of_mono else x for x in passes]
        mean = torch.stack([images(x)[i] for i, x in enumerate(passes)]).mean(dim=0)
        return mean[:, :, 0] if of_mono else mean
