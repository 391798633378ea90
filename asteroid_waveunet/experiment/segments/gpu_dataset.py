"""Random training segments cut, augmented and mixed in a GPU's memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.disk import format_size
from asteroid_waveunet.experiment.segments.dataset import BatchedDataset, Lengths, check_segments
from asteroid_waveunet.experiment.segments.random_plans import Plan, RandomPlans
from asteroid_waveunet.experiment.settings import RESAMPLING

__all__ = ["DeviceSegments"]


class DeviceSegments(BatchedDataset):
    """The random segments of `Segments`, equal up to rounding, from and on a device.

    For `DataLoader(..., num_workers=0, collate_fn=batch_sampler.collate)`. A batch takes about ten
    kernels and the transfer of a few numbers.

    Args:
        tracks, lengths, left_context, epoch_length, seed, augmentation, remix, remix_stems: see
            `Segments`.
        device: memory of the samples. They are moved with the first batch; "cuda" is the
            process's current GPU at that time.

    Raises:
        ValueError: for a missing device or an unsupported augmentation; with the first batch, if
            the tracks do not fit its memory. The message says what to do.
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
        remix_stems: float = 0.0,
        device: str | torch.device = "cuda",
    ) -> None:
        check_segments(tracks, lengths, left_context)
        for name in RESAMPLING:
            if name in augmentation:
                raise ValueError(
                    f"store gpu does not support {name}; remove it, or set store: memory."
                )
        self.tracks = tuple(tracks)
        self.lengths = lengths
        self.left_context = left_context
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("store gpu needs a GPU that torch can use; set store: memory.")
        self._plans = RandomPlans(tracks, lengths.output, seed, augmentation, remix, remix_stems)
        self._length = epoch_length
        # Silence between tracks is long enough for segments that exceed either end.
        silence = max(left_context, lengths.input - left_context)
        self._firsts = np.cumsum([0, *(track.length + silence for track in tracks)]) + silence

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return a batch of the segments with these indices, on the device."""
        return self._cut(self._plans.plan(indices))

    def _cut(self, plan: Plan) -> tuple[Tensor, Tensor]:
        """Cut a plan's segments with one gather over the axes (segment, group, channel)."""
        _, n_groups, channels = plan.tracks.shape[0], *self._samples.shape[:2]
        group = np.arange(n_groups)[:, None]
        channel = np.arange(channels)
        channel = np.where(plan.amounts.swaps[..., None], channels - 1 - channel, channel)
        first = (self._firsts[plan.tracks] + plan.starts - self.left_context)[..., None]
        location = np.stack(np.broadcast_arrays(group, channel, first))
        gains = self._on_device(plan.amounts.gains.astype(np.float32)[..., None, None])
        windows = self._samples.unfold(-1, self.lengths.input, 1)  # a view of overlapping windows
        groups = windows[tuple(self._on_device(location))] * gains
        first, stop = self.tracks[0], self.left_context + self.lengths.output
        stems = groups[..., self.left_context : stop]
        bounds = np.searchsorted(first.owners, range(first.n_src + 1)).tolist()
        sums = [stems[:, a:b].sum(1) for a, b in itertools.pairwise(bounds)]
        targets = torch.stack(sums, dim=1)
        return groups.sum(dim=1), targets[:, :, 0] if channels == 1 else targets

    def _on_device(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers).to(self.device, non_blocking=True)

    @cached_property
    def _samples(self) -> Tensor:
        """Concatenate all tracks, with silence between them: `(groups, channels, time)` int16."""
        first = self.tracks[0]
        shape = len(first.groups), first.channels, int(self._firsts[-1])
        needed, free = 2 * math.prod(shape), _free_memory(self.device)
        advice = "Set store: memory, or train on fewer tracks or at a lower sample rate."
        if free is not None and needed > free:
            raise ValueError(
                f"the training tracks take {format_size(needed)} and {self.device} has "
                f"{format_size(free)} free. {advice}"
            )
        try:
            samples = torch.zeros(shape, dtype=torch.int16, device=self.device)
        except RuntimeError as error:  # each device has its own out-of-memory error
            raise ValueError(
                f"the training tracks take {format_size(needed)} on {self.device}: {error}. "
                f"{advice}"
            ) from error
        for track, start in zip(self.tracks, self._firsts, strict=False):
            samples[..., start : start + track.length] = torch.from_numpy(track.map().copy())
        return samples


def _free_memory(device: torch.device) -> int | None:
    """Return the free memory of a GPU in bytes, None for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
