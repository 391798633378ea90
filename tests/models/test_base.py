"""Tests of all models but `WaveUNet`: shapes, lengths, files, training."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from asteroid.losses import multisrc_mse
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from asteroid_waveunet import TasNet, WaveUNet
from asteroid_waveunet._asteroid import BaseModel
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training.fit import fit
from asteroid_waveunet.losses import MagnitudeL1
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights import serialization
from helpers.models import SYSTEMS, assert_same_model, randomize, tiny
from helpers.training import Songs

every_model = pytest.mark.parametrize("name", SYSTEMS)


@every_model
@given(channels=st.integers(1, 3), n_src=st.integers(1, 4), length=st.integers(1, 300))
@settings(deadline=None, max_examples=12)
def test_estimates_have_the_mixture_length_and_documented_shape(name, channels, n_src, length):
    model = randomize(SYSTEMS[name](sources=list("abcd"[:n_src]), in_channels=channels)).eval()
    axis = () if channels == 1 else (channels,)
    mixture = torch.randn(2, channels, length)
    with torch.no_grad():
        batch = model(mixture)
        assert batch.shape == (2, n_src, *axis, length)
        torch.testing.assert_close(model(mixture[0]), batch[0], atol=1e-5, rtol=0)
        if channels == 1:
            assert model(mixture[0, 0]).shape == (n_src, length)


@every_model
@given(min_output=st.integers(1, 300))
@settings(deadline=None, max_examples=10)
def test_forward_context_returns_the_computed_length(name, min_output):
    model = SYSTEMS[name]().eval()
    lengths = model.geometry.fit(min_output)
    assert min_output <= lengths.output < min_output + model.geometry.step
    with torch.no_grad():
        estimates = model.forward_context(torch.randn(1, 1, lengths.input))
    assert estimates.shape == (1, model.n_src, lengths.output)
    with pytest.raises(ValueError, match="not valid for this model|empty"):
        model.forward_context(torch.zeros(1, 1, lengths.input - lengths.output))


@every_model
def test_estimates_depend_on_the_mixture_within_reach_only(name):
    model = randomize(SYSTEMS[name]()).double().eval()
    at = 3 * model.reach
    track = torch.randn(1, 6 * model.reach, dtype=torch.float64, requires_grad=True)
    model(track)[:, at].sum().backward()
    dependent = (track.grad[0].abs() > 1e-12).nonzero()[
        :, 0
    ]  # FFT convolution leaves rounding errors
    assert at - model.reach <= dependent.min() and dependent.max() <= at + model.reach
    assert dependent.max() - dependent.min() > 0.4 * model.reach, "reach is too large"


def even_kernels(**arguments):
    """Return a Wave-U-Net with more context on the right than on the left."""
    return tiny(output_kernel_size=2, **arguments)


@pytest.mark.parametrize("build", [*SYSTEMS.values(), even_kernels])
def test_predict_track_predicts_each_segment_independently(build):
    """Each segment has the model's context; the last ends with the track."""
    for channels, length in ((1, 1), (2, 90), (1, 251), (2, 500)):
        model = randomize(build(in_channels=channels)).train()
        lengths, left = model.geometry.fit(100), model.geometry.left_context
        track = torch.randn(2, length)
        estimates = model.predict_track(track, 100).reshape(2, channels, length)
        mixture = track if channels == 2 else track.mean(0, keepdim=True)
        mixture = F.pad(mixture, (0, max(0, lengths.input - length)))
        padded = F.pad(mixture, (left, model.geometry.right_context))
        model.eval()
        last = mixture.shape[-1] - lengths.output
        expected = torch.zeros(2, channels, mixture.shape[-1])
        for start in [*range(0, last, lengths.output), last]:
            segment = model.forward_context(padded[..., start : start + lengths.input]).detach()
            expected[..., start : start + lengths.output] = segment.reshape(2, channels, -1)
        torch.testing.assert_close(estimates, expected[..., :length], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["spectrogram", "tasnet"])
def test_mono_networks_separate_each_channel_independently(name):
    mono, stereo = (randomize(SYSTEMS[name](in_channels=n)).eval() for n in (1, 2))
    track = torch.randn(2, 200)
    with torch.no_grad():
        both = stereo(track)
        for channel in range(2):
            alone = mono(track[channel])
            torch.testing.assert_close(both[:, channel], alone, atol=1e-5, rtol=0)


@every_model
def test_saved_models_load_unchanged(name, tmp_path):
    """By the model's class, by `SourceModel` and by unpatched Asteroid."""
    model = randomize(SYSTEMS[name](sources=("x", "y", "z"), sample_rate=16000))
    model.train()(torch.randn(2, 1, 500))  # updates the statistics of batch normalisation
    serialization.save(model.eval().serialize(), tmp_path)
    mixture = torch.randn(1, 300)
    loaded = [
        type(model).from_pretrained(tmp_path / serialization.BIN),
        SourceModel.from_pretrained(tmp_path / serialization.SAFETENSORS),
        BaseModel.from_pretrained(str(tmp_path / serialization.BIN)).eval(),
    ]
    for other in loaded:
        assert type(other) is type(model)
        assert other.get_model_args() == model.get_model_args()
        assert_same_model(other, model, mixture)


def test_loading_another_kind_of_model_is_rejected():
    conf = SYSTEMS["tasnet"]().serialize()
    with pytest.raises(ValueError, match="weights of a TasNet; expected a WaveUNet"):
        WaveUNet.from_pretrained(conf)
    with pytest.raises(ValueError, match="weights of a DPRNNTasNet; expected a SourceModel"):
        SourceModel.from_pretrained({**conf, "model_name": "DPRNNTasNet"})
    assert isinstance(SourceModel.from_pretrained(tiny().serialize()), WaveUNet)


def test_arguments_that_fix_weight_shapes_cannot_be_overridden():
    conf = SYSTEMS["tasnet"]().serialize()
    assert TasNet.from_pretrained(conf, sources=("a", "b"), sample_rate=8000).sources == ("a", "b")
    with pytest.raises(ValueError, match=r"n_blocks=3.*overridden: .*in_channels"):
        TasNet.from_pretrained(conf, n_blocks=3)


@every_model
def test_training_lowers_the_loss(name):
    for loss in (lambda e, t: multisrc_mse(e, t).mean(), MagnitudeL1(window=16, hop=12)):
        model = SYSTEMS[name]().train()
        lengths, left = model.geometry.fit(400), model.geometry.left_context
        targets = torch.randn(4, 2, lengths.input) * torch.tensor([1.0, 0.1])[:, None]
        mixture = targets.sum(dim=1, keepdim=True)
        targets = targets[..., left : left + lengths.output]
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(12):
            optimizer.zero_grad()
            losses.append(loss(model.forward_context(mixture), targets))
            losses[-1].backward()
            for parameter in model.parameters():  # distributed training requires all gradients
                assert (parameter.grad is not None) == parameter.requires_grad
            optimizer.step()
        assert losses[-1] < 0.9 * losses[0], loss


@every_model
def test_interrupted_training_resumes_bit_exactly(name, tmp_path):
    """Including dropout, batch statistics and averaged weights; saved models load again."""

    def train(folder, max_epochs):
        torch.manual_seed(3)
        model = SYSTEMS[name]()
        settings = Training(
            batch_size=2, max_epochs=max_epochs, num_workers=0, lr=1e-3, ema=0.9, logger=["csv"]
        )
        best = fit(model, Songs(model, 4), Songs(model, 2), folder, settings)
        return best, torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)

    best, whole = train(tmp_path / "whole", 2)
    train(tmp_path / "stopped", 1)
    _, resumed = train(tmp_path / "stopped", 2)
    for entry in ("state_dict", "current_weights"):
        assert all(torch.equal(whole[entry][key], x) for key, x in resumed[entry].items())
    loaded = SourceModel.from_pretrained(tmp_path / "whole" / "best_model.pth")
    assert_same_model(loaded, best, torch.randn(1, 100))
    assert type(SourceModel.from_pretrained(tmp_path / "whole/checkpoints/last.ckpt")) is type(best)


@every_model
def test_torch_compile_gives_the_same_estimates(name):
    model = randomize(SYSTEMS[name]()).eval()
    mixture = torch.randn(2, 1, model.geometry.fit(50).input)
    compiled = torch.compile(model.forward_context, dynamic=False, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(mixture), model.forward_context(mixture))


@every_model
def test_meta_device_computes_shapes(name):
    assert SYSTEMS[name]().to("meta")(torch.zeros(1, 100, device="meta")).shape == (2, 100)


@every_model
def test_gradients_of_silence_are_finite(name):
    model = SYSTEMS[name]().train()
    model(torch.zeros(2, 1, 100)).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@every_model
def test_copies_and_pickles_equal_the_model(name):
    model = randomize(SYSTEMS[name]()).eval()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_model(other, model, torch.randn(1, 100))
        assert other.geometry == model.geometry


@every_model
def test_separation_does_not_change_the_model(name):
    """In training mode too: it uses but does not update batch statistics, and restores modes."""
    model = randomize(SYSTEMS[name]()).eval()
    track = torch.randn(1, 300)
    expected, state = model.separate(track), copy.deepcopy(model.state_dict())
    first = next(iter(model.children()))
    for module in model.train().modules():
        module.training = module is not first
    torch.testing.assert_close(model.separate(track), expected)
    assert all(torch.equal(state[key], x) for key, x in model.state_dict().items())
    assert [m for m in model.modules() if not m.training] == [first]


@pytest.mark.parametrize("name", ["spectrogram", "tasnet"])
def test_weights_of_mono_networks_load_for_any_number_of_channels(name):
    model = randomize(SYSTEMS[name]()).eval()
    stereo = type(model).from_pretrained(model.serialize(), in_channels=2)
    assert stereo(torch.randn(2, 50)).shape == (2, 2, 50)


@pytest.mark.parametrize("name", ["spectrogram", "tasnet"])
def test_half_precision_weights_are_rejected(name):
    model = SYSTEMS[name]().bfloat16()
    with pytest.raises(ValueError, match=r"torch.bfloat16; .* bf16-mixed"):
        model(torch.randn(1, 50, dtype=torch.bfloat16))


def test_arguments_out_of_range_are_rejected():
    for name, argument, value, message in (
        ("spectrogram", "levels", 0, "levels is 0; expected a whole number, 1 to 11"),
        ("spectrogram", "hop", 13, "hop is 13; expected 1 to 12"),
        ("spectrogram", "window", 12, "window is 12; expected a multiple of 8"),
        ("spectrogram", "window", 2**16, "window is 65536; expected a whole number, 4 to 4096"),
        ("spectrogram", "initial_filters", 2**16, "make a model of"),
        ("spectrogram", "sources", (), "distinct names"),
        ("tasnet", "kernel_size", 7, "kernel_size is 7; expected an even number"),
        ("tasnet", "norm_type", "bN", "'bN'; expected 'gLN' or 'cLN'"),
        ("tasnet", "hid_chan", 2**16 + 1, "hid_chan is 65537"),
        ("mrcae", "kernel_sizes", [], "kernel_sizes is"),
        ("mrcae", "kernel_sizes", [5, 0], "kernel_sizes is 0; expected a whole number"),
        ("mrcae", "filters", 2**16, "make a model of"),
        ("mrcae", "sample_rate", 0.5, "sample_rate is 0.5"),
    ):
        with pytest.raises(ValueError, match=message):
            SYSTEMS[name](**{argument: value})
            pytest.fail(f"{name} accepted {argument}={value}")
