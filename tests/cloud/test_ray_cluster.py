"""Resources of workers on a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from asteroid_waveunet.cloud.ray_cluster import Resources, assigned_device

NODES = {"head": {"CPU": 4.0}, "gpu": {"CPU": 16.0, "GPU": 2.0}}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Resources(), (2, 1, 1)),
        (Resources(gpus=0), (20, 1, 0)),
        (Resources(gpus=0.1), (16, 1, 0.1)),
        (Resources(gpus=0.2, cpus=0.5), (10, 0.5, 0.2)),
        (Resources(gpus=2, cpus=8), (1, 8, 2)),
        (Resources(workers=7, gpus=4), (7, 1, 4)),
    ],
)
def test_workers_fill_the_nodes_that_have_room(asked, found):
    fitted = asked.fitted(NODES)
    assert (fitted.workers, fitted.cpus, fitted.gpus) == found


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (Resources(workers=0), "workers is 0"),
        (Resources(gpus=-1), "gpus_per_worker is -1"),
        (Resources(gpus=1.5), "gpus_per_worker is 1.5"),
        (Resources(gpus=4), "4 GPUs"),
        (Resources(cpus=0), "cpus_per_worker is 0"),
        (Resources(workers=1, cpus=-1), "cpus_per_worker is -1"),
        (Resources(cpus=32), "32 CPUs"),
    ],
)
def test_what_no_node_has_is_refused(asked, word):
    with pytest.raises(ValueError, match=word):
        asked.fitted(NODES)


@pytest.mark.parametrize("has_cuda", [True, False])
def test_workers_use_the_gpu_that_they_were_given(has_cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)

    def ray(*gpus):
        context = SimpleNamespace(get_accelerator_ids=lambda: {"GPU": [*gpus]})
        return SimpleNamespace(get_runtime_context=lambda: context)

    assert assigned_device(ray()) == "cpu"
    if has_cuda:
        assert assigned_device(ray("0")) == "cuda"
        return
    with pytest.raises(OSError, match="--gpus-per-worker 0"):
        assigned_device(ray("0"))
