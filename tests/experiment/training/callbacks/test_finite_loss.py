"""Training stops on a NaN loss and saves the offending batch."""

from __future__ import annotations

import pytest
import torch

from helpers.models import tiny
from helpers.training import Songs, train

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Broken(Songs):
    """Item 21 contains a NaN."""

    def __getitem__(self, index):
        mixture, targets = super().__getitem__(index)
        if index == 21:
            targets[0, 0] = float("nan")
        return mixture, targets


def test_nan_loss_saves_the_batch_and_keeps_the_checkpoint(tmp_path):
    says = r"loss is nan in step 10 \(epoch 2, batch 2\). .*failed_step_10.pt.*"
    with pytest.raises(ValueError, match=says + "--gradient_clip 1 .*--precision 32.*lower --lr"):
        train(tmp_path, train_set=Broken(tiny(), 8), checkpoint_minutes=0.0)
    failed = torch.load(tmp_path / "failed_step_10.pt", weights_only=True)
    assert failed["indices"] == [20, 21] and failed["seed"] == 1337
    assert (failed["epoch"], failed["batch"], failed["step"]) == (2, 2, 10)
    broken = Broken(tiny(), 8)
    for row, index in enumerate(failed["indices"]):
        mixture, targets = broken[index]
        assert torch.equal(failed["mixture"][row], mixture)
        torch.testing.assert_close(failed["targets"][row], targets, equal_nan=True)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 10
    assert all(torch.isfinite(weight).all() for weight in last["state_dict"].values())
    whole = train(tmp_path / "sound", checkpoint_minutes=0.0)
    mended = train(tmp_path, checkpoint_minutes=0.0)
    for a, b in zip(whole.parameters(), mended.parameters(), strict=True):
        assert torch.equal(a, b)


def test_diverging_weights_are_detected(tmp_path):
    with pytest.raises(ValueError, match=r"The loss is (nan|inf) in step [1-9] "):
        train(tmp_path, lr=1e30, max_epochs=20)
    assert not (tmp_path / "best_model.pth").exists()


def test_gpu_loss_is_checked_one_step_later_but_before_validation(tmp_path, monkeypatch):
    """Otherwise the CPU would wait for the GPU in every step."""
    from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler
    from asteroid_waveunet.experiment.training.callbacks.finite_loss import FiniteLoss

    class FakeGPU:
        device = torch.device("cuda")
        current_epoch = 0
        accumulate_grad_batches = 1

    losses = FiniteLoss(tmp_path, ResumableBatchSampler(4, 2), seed=0)
    batch = (torch.zeros(2, 1, 8), torch.zeros(2, 2, 4))
    losses.on_train_batch_end(FakeGPU, FakeGPU, {"loss": torch.tensor(1.0)}, batch, 0)
    losses.on_train_batch_end(FakeGPU, FakeGPU, {"loss": torch.tensor(float("inf"))}, batch, 1)
    assert not losses.failed
    with pytest.raises(ValueError, match="loss is inf in step 1 "):
        losses.on_validation_start(FakeGPU, FakeGPU)
    assert losses.failed


def test_step_number_counts_optimizer_steps(tmp_path):
    with pytest.raises(ValueError, match=r"in step 5 \(epoch 2, batch 2\)"):
        train(tmp_path, train_set=Broken(tiny(), 8), accumulate=2)
    assert torch.load(tmp_path / "failed_step_5.pt", weights_only=True)["indices"] == [20, 21]
