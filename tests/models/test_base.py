"""What holds for every system: shapes, lengths, sizes, files, training."""

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
from helpers.endless import Songs
from helpers.models import SYSTEMS, assert_same_model, drawn, tiny

every_system = pytest.mark.parametrize("name", SYSTEMS)


@every_system
@given(channels=st.integers(1, 3), n_src=st.integers(1, 4), length=st.integers(1, 300))
@settings(deadline=None, max_examples=25)
def test_any_length_comes_back_as_long_in_the_shapes_of_the_table(name, channels, n_src, length):
    model = drawn(SYSTEMS[name](sources=list("abcd"[:n_src]), in_channels=channels)).eval()
    axis = () if channels == 1 else (channels,)
    mixture = torch.randn(2, channels, length)
    with torch.no_grad():
        batch = model(mixture)
        assert batch.shape == (2, n_src, *axis, length)
        torch.testing.assert_close(model(mixture[0]), batch[0], atol=1e-5, rtol=0)
        if channels == 1:
            assert model(mixture[0, 0]).shape == (n_src, length)


@every_system
@given(asked=st.integers(1, 300))
@settings(deadline=None, max_examples=20)
def test_the_context_path_gives_the_stated_lengths(name, asked):
    """What the recipe's segments are cut to, whatever the system."""
    model = SYSTEMS[name]().eval()
    lengths = model.geometry.fit(asked)
    assert asked <= lengths.output < asked + model.geometry.step
    with torch.no_grad():
        estimates = model.forward_context(torch.randn(1, 1, lengths.input))
    assert estimates.shape == (1, model.n_src, lengths.output)
    with pytest.raises(ValueError, match="not valid for this model|empty"):
        model.forward_context(torch.zeros(1, 1, lengths.input - lengths.output))


@every_system
def test_an_estimate_depends_on_the_mixture_within_reach_only(name):
    model = drawn(SYSTEMS[name]()).double().eval()
    at = 3 * model.reach
    track = torch.randn(1, 6 * model.reach, dtype=torch.float64, requires_grad=True)
    model(track)[:, at].sum().backward()
    seen = (track.grad[0].abs() > 1e-12).nonzero()[:, 0]  # through spectra zeros are rounded
    assert at - model.reach <= seen.min() and seen.max() <= at + model.reach
    assert seen.max() - seen.min() > 0.4 * model.reach, "or pieces overlap for nothing"


@every_system
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("length", [1, 90, 251, 500])
def test_segments_of_a_track_are_each_predicted_by_itself(name, channels, length):
    """Amid the context that the system has; the last of them ends with the track."""
    model = drawn(SYSTEMS[name](in_channels=channels)).train()
    lengths, left = model.geometry.fit(100), model.geometry.left_context
    track = torch.randn(2, length)
    estimates = model.predict_track(track, 100).reshape(2, channels, length)
    heard = track if channels == 2 else track.mean(0, keepdim=True)
    heard = F.pad(heard, (0, max(0, lengths.input - length)))
    amid = F.pad(heard, (left, model.geometry.right_context))
    model.eval()
    last = heard.shape[-1] - lengths.output
    expected = torch.zeros(2, channels, heard.shape[-1])
    for start in [*range(0, last, lengths.output), last]:
        segment = model.forward_context(amid[..., start : start + lengths.input]).detach()
        expected[..., start : start + lengths.output] = segment.reshape(2, channels, -1)
    torch.testing.assert_close(estimates, expected[..., :length], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["spectrogram", "tasnet"])
def test_each_channel_is_separated_by_itself(name):
    mono, stereo = (drawn(SYSTEMS[name](in_channels=n)).eval() for n in (1, 2))
    track = torch.randn(2, 200)
    with torch.no_grad():
        both = stereo(track)
        for channel in range(2):
            alone = mono(track[channel])
            torch.testing.assert_close(both[:, channel], alone, atol=1e-5, rtol=0)


@every_system
@pytest.mark.parametrize("file", [serialization.BIN, serialization.SAFETENSORS])
def test_there_and_back_through_real_files(name, file, tmp_path):
    model = drawn(SYSTEMS[name](sources=("x", "y", "z"), sample_rate=16000))
    model.train()(torch.randn(2, 1, 500))  # statistics of a batch normalisation, where there is one
    serialization.save(model.eval().serialize(), tmp_path)
    mixture = torch.randn(1, 300)
    for kind in (type(model), SourceModel):
        loaded = kind.from_pretrained(tmp_path / file)
        assert type(loaded) is type(model)
        assert loaded.get_model_args() == model.get_model_args()
        assert_same_model(loaded, model, mixture)


@every_system
def test_unpatched_asteroid_loads_what_is_stored(name, tmp_path):
    model = drawn(SYSTEMS[name]()).eval()
    serialization.save(model.serialize(), tmp_path)
    loaded = BaseModel.from_pretrained(str(tmp_path / serialization.BIN)).eval()
    assert type(loaded) is type(model)
    assert_same_model(loaded, model, torch.randn(1, 300))


def test_one_system_is_not_taken_for_another():
    conf = SYSTEMS["tasnet"]().serialize()
    with pytest.raises(ValueError, match="weights of a TasNet; expected a WaveUNet"):
        WaveUNet.from_pretrained(conf)
    with pytest.raises(ValueError, match="weights of a DPRNNTasNet; expected a SourceModel"):
        SourceModel.from_pretrained({**conf, "model_name": "DPRNNTasNet"})
    assert isinstance(SourceModel.from_pretrained(tiny().serialize()), WaveUNet)


def test_what_decides_on_the_weights_cannot_be_replaced():
    conf = SYSTEMS["tasnet"]().serialize()
    assert TasNet.from_pretrained(conf, sources=("a", "b"), sample_rate=8000).sources == ("a", "b")
    with pytest.raises(ValueError, match=r"n_blocks=3.*overridden: .*in_channels"):
        TasNet.from_pretrained(conf, n_blocks=3)


@every_system
@pytest.mark.parametrize(
    "loss", [lambda e, t: multisrc_mse(e, t).mean(), MagnitudeL1(window=16, hop=12)]
)
def test_training_brings_the_loss_down(name, loss):
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
        for parameter in model.parameters():  # or distributed training waits in vain
            assert (parameter.grad is not None) == parameter.requires_grad
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@every_system
def test_the_recipe_s_own_training_takes_it_as_it_is(name, tmp_path):
    """Its checkpoints, and the best model, load again: statistics and counts included."""
    model = SYSTEMS[name]()
    lengths, left = model.geometry.fit(200), model.geometry.left_context
    groups = torch.randn(6, 2, lengths.input)
    items = [(g.sum(dim=0, keepdim=True), g[:, left : left + lengths.output]) for g in groups]
    settings = Training(batch_size=3, max_epochs=1, num_workers=0, lr=1e-3)
    best = fit(model, items, items, tmp_path, settings)
    for stored in ("best_model.pth", "checkpoints/last.ckpt"):
        loaded = SourceModel.from_pretrained(tmp_path / stored)
        assert_same_model(loaded, best, torch.randn(1, 100))


@every_system
def test_a_training_that_stopped_goes_on_to_the_bit(name, tmp_path):
    """With what is dropped by chance, with statistics, and with averages of them."""

    def trained(folder, max_epochs):
        torch.manual_seed(3)
        model = SYSTEMS[name]()
        settings = Training(
            batch_size=2, max_epochs=max_epochs, num_workers=0, lr=1e-3, ema=0.9, logger=["csv"]
        )
        fit(model, Songs(model, 4), Songs(model, 2), folder, settings)
        return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)

    whole = trained(tmp_path / "whole", 2)
    trained(tmp_path / "stopped", 1)
    resumed = trained(tmp_path / "stopped", 2)
    for entry in ("state_dict", "current_weights"):
        assert all(torch.equal(whole[entry][key], x) for key, x in resumed[entry].items())


@every_system
def test_it_compiles(name):
    model = drawn(SYSTEMS[name]()).eval()
    mixture = torch.randn(2, 1, model.geometry.fit(50).input)
    compiled = torch.compile(model.forward_context, dynamic=False, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(mixture), model.forward_context(mixture))


@every_system
def test_shapes_alone_go_through_it(name):
    """On the meta device, where what a network costs is counted."""
    assert SYSTEMS[name]().to("meta")(torch.zeros(1, 100, device="meta")).shape == (2, 100)


@every_system
def test_silence_has_a_gradient(name):
    model = SYSTEMS[name]().train()
    model(torch.zeros(2, 1, 100)).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@every_system
def test_copies_and_pickles_are_the_same_model(name):
    model = drawn(SYSTEMS[name]()).eval()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_model(other, model, torch.randn(1, 100))
        assert other.geometry == model.geometry


@every_system
def test_to_separate_is_not_to_train(name):
    """Whatever mode the model is in: its statistics are used and stay, and so does the mode."""
    model = drawn(SYSTEMS[name]()).eval()
    track = torch.randn(1, 300)
    expected, state = model.separate(track), copy.deepcopy(model.state_dict())
    first = next(iter(model.children()))
    for module in model.train().modules():
        module.training = module is not first
    torch.testing.assert_close(model.separate(track), expected)
    assert all(torch.equal(state[key], x) for key, x in model.state_dict().items())
    assert [m for m in model.modules() if not m.training] == [first]


@pytest.mark.parametrize("name", ["spectrogram", "tasnet"])
def test_weights_of_a_network_of_one_channel_serve_any_number(name):
    model = drawn(SYSTEMS[name]()).eval()
    stereo = type(model).from_pretrained(model.serialize(), in_channels=2)
    assert stereo(torch.randn(2, 50)).shape == (2, 2, 50)


@pytest.mark.parametrize("name", ["spectrogram", "tasnet"])
def test_a_precision_that_is_too_low_is_said(name):
    model = SYSTEMS[name]().bfloat16()
    with pytest.raises(ValueError, match=r"torch.bfloat16; .* bf16-mixed"):
        model(torch.randn(1, 50, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("name", "argument", "value", "says"),
    [
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
    ],
)
def test_arguments_out_of_range_are_refused(name, argument, value, says):
    with pytest.raises(ValueError, match=says):
        SYSTEMS[name](**{argument: value})
