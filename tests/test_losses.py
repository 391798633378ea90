"""Tests of `losses`: Asteroid's losses train mono and, with `ChannelsInTime`, stereo models."""

from __future__ import annotations

import warnings

import pytest
import torch
from asteroid.losses import (
    MixITLossWrapper,
    PITLossWrapper,
    SingleSrcMultiScaleSpectral,
    multisrc_mse,
    multisrc_neg_sisdr,
    pairwise_mse,
    pairwise_neg_sisdr,
    singlesrc_mse,
)

from asteroid_waveunet.losses import ChannelsInTime, MagnitudeL1
from helpers.models import tiny


def spectral():
    sizes = [256, 64]
    return SingleSrcMultiScaleSpectral(sizes, sizes, [s // 2 for s in sizes])


def mean_of(loss):
    """Average a loss that returns one value per example."""
    return lambda estimates, targets: loss(estimates, targets).mean()


LOSSES = {
    "multisrc_mse": mean_of(multisrc_mse),
    "multisrc_neg_sisdr": mean_of(multisrc_neg_sisdr),
    "pit_sisdr": PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx"),
    "pit_mse": PITLossWrapper(pairwise_mse, pit_from="pw_mtx"),
    "pit_singlesrc_mse": PITLossWrapper(singlesrc_mse, pit_from="pw_pt"),
    "pit_spectral": PITLossWrapper(spectral(), pit_from="pw_pt"),
    "mixit": MixITLossWrapper(multisrc_mse),
}


def batch_of(model, loss_name):
    """Return a mixture with its context, and targets: sources, or two mixtures for MixIT."""
    lengths = model.geometry.fit(600)
    left = model.geometry.left_context
    channels = model.in_channels
    shape = (2, model.n_src, channels, lengths.input)
    time = torch.arange(lengths.input) / 50
    tones = torch.stack([torch.sin(2.0**i * time) for i in range(model.n_src)])
    sources = 0.2 * tones[:, None] * torch.rand(2, model.n_src, channels, 1)
    assert sources.shape == shape
    targets = sources[..., left : left + lengths.output]
    if loss_name == "mixit":
        targets = torch.stack([targets[:, ::2].sum(1), targets[:, 1::2].sum(1)], dim=1)
    return sources.sum(dim=1), targets.squeeze(2) if channels == 1 else targets


@pytest.mark.parametrize("name", LOSSES)
def test_training_lowers_every_loss(name):
    channels = 1 if name in ("multisrc_mse", "pit_mse") else 2
    model = tiny(sources=tuple("abcd"), in_channels=channels, output="direct").train()
    loss_func = LOSSES[name] if channels == 1 else ChannelsInTime(LOSSES[name])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    mixture, targets = batch_of(model, name)
    values = []
    for _ in range(25):
        loss = loss_func(model.forward_context(mixture), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert min(values[-3:]) < values[0] - 0.05 * abs(values[0])


def test_channels_share_one_permutation():
    targets = torch.randn(1, 2, 2, 400)
    half_swapped = targets.clone()
    half_swapped[:, :, 1] = targets.flip(1)[:, :, 1]
    loss = ChannelsInTime(PITLossWrapper(pairwise_mse))
    assert loss(targets.flip(1), targets) == 0
    assert loss(half_swapped, targets) > 0.5, "one channel must not be permuted alone"


def test_channels_in_time_equals_a_channel_independent_loss():
    estimates, targets = torch.randn(2, 3, 4, 2, 100)
    torch.testing.assert_close(
        ChannelsInTime(multisrc_mse)(estimates, targets), multisrc_mse(estimates, targets)
    )
    mono = estimates[:, :, 0], targets[:, :, 0]
    assert torch.equal(ChannelsInTime(multisrc_mse)(*mono), multisrc_mse(*mono))


def test_asteroids_system_trains_the_model(tmp_path):
    channels = 2
    pl = pytest.importorskip("pytorch_lightning")
    from asteroid.engine import System

    model = tiny(sources=("a", "b"), in_channels=channels)
    sources = 0.3 * torch.randn(8, 2, channels, 500)
    data = torch.utils.data.TensorDataset(sources.sum(dim=1), sources)
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    system = System(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        loss_func=ChannelsInTime(PITLossWrapper(pairwise_neg_sisdr)),
        train_loader=loader,
        val_loader=loader,
        config={"training": {"lr": 1e-3}},
    )
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=pl.loggers.CSVLogger(tmp_path),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(system)
    assert trainer.current_epoch == 2
    assert torch.isfinite(trainer.callback_metrics["val_loss"])


def test_magnitude_l1_equals_a_plain_transform_and_ignores_phase():
    """Frames match those of `SpectrogramUNet`."""
    loss = MagnitudeL1(window=64, hop=48)
    targets = torch.randn(2, 3, 2, 48 * 9 - 16)
    assert loss(targets, targets) == 0 and loss(-targets, targets) == 0
    spectrum = loss.stft
    padded = torch.nn.functional.pad(0.5 * targets.flatten(0, -2), (16, 16))
    frames = padded.unfold(-1, 64, 48) * torch.hann_window(64)
    expected = torch.fft.rfft(frames).abs().mean()
    torch.testing.assert_close(loss(1.5 * targets, targets), expected)
    assert spectrum.analyse(padded).shape[-1] == frames.shape[1] == 9


def test_magnitude_l1_covers_every_sample_at_any_length():
    for length in (1, 10, 63, 64, 500):
        signals = torch.zeros(2, length)
        for position in (0, length - 1):
            changed = signals.index_fill(-1, torch.tensor([position]), 1.0)
            assert MagnitudeL1(window=64, hop=16)(changed, signals) > 0, (length, position)


def test_magnitude_l1_accepts_any_precision():
    """Without being moved by its caller, with and without mixed precision."""
    loss = MagnitudeL1(window=64, hop=48)
    signals = torch.randn(2, 3, 200, dtype=torch.float64)
    expected = loss(*signals)
    assert expected.dtype == torch.float64
    torch.testing.assert_close(loss(*signals.float()), expected.float())
    torch.testing.assert_close(loss(signals[0].float(), signals[1]), expected, rtol=1e-5, atol=0)
    low = signals.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(*low), loss(*low.float()))


def test_magnitude_l1_of_silence_has_a_zero_gradient():
    silence = torch.zeros(2, 200, requires_grad=True)
    MagnitudeL1(window=64, hop=48)(silence, torch.zeros(2, 200)).backward()
    assert not silence.grad.any()
