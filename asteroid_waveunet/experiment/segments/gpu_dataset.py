"""The whole training set in a GPU's memory, where batches are cut, augmented and mixed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.disk import gigabytes
from asteroid_waveunet.experiment.segments.dataset import Batched, Lengths, check
from asteroid_waveunet.experiment.segments.random_plans import Drawing, Plan

__all__ = ["DeviceSegments"]


class DeviceSegments(Batched):
    """Random segments as `Segments` draws them, the same to rounding, as tensors on a device.

    For `DataLoader(..., num_workers=0, collate_fn=sampling.collated)`: a batch takes some ten
    kernels and the transfer of a few numbers.

    Args:
        tracks, lengths, left_context, epoch_length, seed, augmentation, remix: see `Segments`.
        device: where the samples are kept; they get there with the first batch, so that "cuda" is
            the GPU which the process then uses.

    Raises:
        ValueError: for a device that is not there, or an augmentation that is not done on it;
            with the first batch, if the tracks do not fit its memory. Says what to do instead.
    """

    endless = True

    def __init__(
        self,
        tracks: Sequence[Prepared],
        lengths: Lengths,
        left_context: int,
        epoch_length: int,
        seed: int = 0,
        augmentation: Sequence[str] = (),
        remix: float = 0.0,
        device: str | torch.device = "cuda",
    ) -> None:
        check(tracks, lengths, left_context)
        if "pitch_tempo" in augmentation:
            raise ValueError(
                "pitch_tempo is not done in a GPU's memory; leave it out, or set store: memory."
            )
        self.tracks = tuple(tracks)
        self.lengths = lengths
        self.left_context = left_context
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("store: gpu needs a GPU that torch can use; set store: memory.")
        self._drawing = Drawing(tracks, lengths.output, seed, augmentation, remix)
        self._length = epoch_length
        # Silence lies between the tracks, long enough for what is beyond the end of either.
        silence = max(left_context, lengths.input - left_context)
        self._firsts = np.cumsum([0, *(track.length + silence for track in tracks)]) + silence

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The segments with these indices, in a batch on the device."""
        return self._cut(self._drawing.plan(indices))

    def _cut(self, plan: Plan) -> tuple[Tensor, Tensor]:
        """`n group channel` index three axes at once; what is left is a segment's time."""
        _, n_groups, channels = plan.tracks.shape[0], *self._samples.shape[:2]
        group = np.arange(n_groups)[:, None]
        channel = np.arange(channels)
        channel = np.where(plan.amounts.swaps[..., None], channels - 1 - channel, channel)
        first = (self._firsts[plan.tracks] + plan.starts - self.left_context)[..., None]
        where = np.stack(np.broadcast_arrays(group, channel, first))
        gains = self._on_device(plan.amounts.gains.astype(np.float32)[..., None, None])
        windows = self._samples.unfold(-1, self.lengths.input, 1)  # a view of overlapping windows
        groups = windows[tuple(self._on_device(where))] * gains
        n_src, stop = self.tracks[0].n_src, self.left_context + self.lengths.output
        targets = groups[:, :n_src, :, self.left_context : stop]
        targets = targets[:, :, 0] if channels == 1 else targets
        return groups.sum(dim=1), targets.contiguous()

    def _on_device(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers).to(self.device, non_blocking=True)

    @cached_property
    def _samples(self) -> Tensor:
        """All tracks one after another, `(groups, channels, time)` int16, silence between them."""
        first = self.tracks[0]
        shape = len(first.groups), first.channels, int(self._firsts[-1])
        needed, free = 2 * math.prod(shape), free_memory(self.device)
        advice = "Set store: memory, or train on fewer tracks or at a lower sample rate."
        if free is not None and needed > free:
            raise ValueError(
                f"the training tracks take {gigabytes(needed)} and {self.device} has "
                f"{gigabytes(free)} free. {advice}"
            )
        try:
            samples = torch.zeros(shape, dtype=torch.int16, device=self.device)
        except RuntimeError as reason:  # whatever the device calls it
            raise ValueError(
                f"the training tracks take {gigabytes(needed)} on {self.device}: {reason}. {advice}"
            ) from reason
        for track, start in zip(self.tracks, self._firsts, strict=False):
            samples[..., start : start + track.length] = torch.from_numpy(track.map().copy())
        return samples


def free_memory(device: torch.device) -> int | None:
    """Bytes that a GPU has to spare; None where the device does not tell."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
