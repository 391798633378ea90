"""Segments cut on a device equal those cut on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.segments import gpu_dataset
from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler, collate
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.segments.gpu_dataset import DeviceSegments
from asteroid_waveunet.nn.geometry import Lengths
from helpers.songs import write_prepared

LENGTHS, LEFT = Lengths(input=130, output=50), 45


def noise(folder, channels=2, groups=("a", "b", "rest"), owners=None):
    rng = np.random.default_rng(0)
    return [
        write_prepared(
            folder, str(n), rng.normal(size=(len(groups), channels, n)), groups, owners=owners
        )
        for n in (400, 120, 20)
    ]


@pytest.mark.parametrize(("channels", "left"), [(1, 45), (2, 0), (3, 80)])
def test_device_segments_equal_cpu_segments(tmp_path, channels, left):
    names = ["random_gains", "wide_gains", "swap_channels", "flip_signs"]
    arguments = noise(tmp_path, channels), LENGTHS, left, 40, 3, names
    cut = Segments(*arguments, remix=0.4)
    held = DeviceSegments(*arguments, remix=0.4, device="cpu")
    assert len(held) == len(cut) == 40
    for one, other in zip(held.__getitems__(range(40)), cut.__getitems__(range(40)), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(held[7], cut[7])


def test_device_segments_of_remixed_stems_equal_cpu_segments(tmp_path):
    tracks = noise(tmp_path, groups=("bass", "drums", "vocals", "noise"), owners=(0, 0, 1, 2))
    remixed = {"remix": 0.8, "remix_stems": 0.5}
    cut = Segments(tracks, LENGTHS, LEFT, 40, 3, ["wide_gains"], **remixed)
    held = DeviceSegments(tracks, LENGTHS, LEFT, 40, 3, ["wide_gains"], **remixed, device="cpu")
    for one, other in zip(held.__getitems__(range(40)), cut.__getitems__(range(40)), strict=True):
        torch.testing.assert_close(one, other)


def test_loader_passes_batches_through(tmp_path):
    held = DeviceSegments(noise(tmp_path), LENGTHS, LEFT, 8, device="cpu")
    batches = ResumableBatchSampler(steps=2, batch_size=4)
    batches.seek(epoch=1)
    loader = torch.utils.data.DataLoader(held, batch_sampler=batches, collate_fn=collate)
    mixtures, targets = next(iter(loader))
    assert mixtures.shape == (4, 2, 130) and targets.shape == (4, 2, 2, 50)
    torch.testing.assert_close((mixtures[1], targets[1]), held[9])


def test_tracks_exceeding_the_memory_are_refused(tmp_path, monkeypatch):
    held = DeviceSegments(noise(tmp_path), LENGTHS, LEFT, 8, device="cpu")
    monkeypatch.setattr(gpu_dataset, "_free_memory", lambda device: 10)
    with pytest.raises(ValueError, match=r"take 0.0 MB and cpu has 0.0 MB free. Set store: mem"):
        held[0]


def test_unsupported_arguments_are_refused(tmp_path, monkeypatch):
    tracks = noise(tmp_path)
    for name in ("pitch_tempo", "speed"):
        with pytest.raises(ValueError, match=f"{name}.*store: memory"):
            DeviceSegments(tracks, LENGTHS, LEFT, 8, augmentation=[name], device="cpu")
    with pytest.raises(ValueError, match="left context of 81 does not fit"):
        DeviceSegments(tracks, LENGTHS, 81, 8, device="cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a GPU that torch can use; set store: memory"):
        DeviceSegments(tracks, LENGTHS, LEFT, 8)
