"""Tests of `WaveUNet`: equal to a plain implementation, shapes, sum of the sources."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from asteroid_waveunet import WaveUNet, presets
from helpers import plain_network
from helpers.models import configurations, tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
    pytest.mark.filterwarnings("ignore:The only source"),
]


@given(configurations, st.booleans(), st.integers(1, 60))
@settings(deadline=None, max_examples=50)
def test_every_configuration_equals_the_numpy_network(configuration, training, min_output):
    model = WaveUNet(**configuration).double().train(training)
    mixture = torch.randn(
        model.in_channels, model.geometry.fit(min_output).input, dtype=torch.float64
    )
    expected = plain_network.separate(mixture.T.numpy(), model, training)
    with torch.no_grad():
        estimates = model.forward_context(mixture)
    for estimate, plain in zip(estimates, expected, strict=True):
        np.testing.assert_allclose(torch.atleast_2d(estimate).T, plain, atol=1e-12)


@given(configurations, st.integers(1, 200))
@settings(deadline=None, max_examples=50)
def test_estimates_have_the_mixture_length(configuration, length):
    model = WaveUNet(**configuration)
    channels = model.in_channels
    axis = () if channels == 1 else (channels,)
    mixture = torch.randn(2, channels, length)
    with torch.no_grad():
        batch = model(mixture)
        assert batch.shape == (2, model.n_src, *axis, length)
        assert model(mixture[0]).shape == (model.n_src, *axis, length)
        torch.testing.assert_close(model(mixture[0]), batch[0], atol=1e-5, rtol=0)
        if channels == 1:
            assert model(mixture[0, 0]).shape == (model.n_src, length)


def test_forward_equals_forward_context_with_zero_padding():
    for context in (True, False):
        model = tiny(context=context)
        mixture = torch.randn(1, 50)
        lengths, left = model.geometry.fit(50), model.geometry.left_context
        padded = torch.zeros(1, lengths.input)
        padded[..., left : left + 50] = mixture
        with torch.no_grad():
            expected = model.forward_context(padded)[..., :50]
            torch.testing.assert_close(model(mixture), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("activation", "context"), [("tanh", True), ("linear", False)])
def test_sources_of_difference_output_sum_to_the_mixture(activation, context):
    model = tiny(
        in_channels=2, sources=tuple("abcd"), output_activation=activation, context=context
    )
    mixture = 3 * torch.randn(2, 2, 77)
    with torch.no_grad():
        estimates = model.train()(mixture)
    torch.testing.assert_close(estimates.sum(dim=1), mixture, atol=1e-5, rtol=0)


def test_estimates_are_clipped_in_evaluation_only():
    model = tiny()
    mixture = 5 * torch.ones(1, 50)
    with torch.no_grad():
        assert model.train()(mixture)[-1].max() > 1
        assert model.eval()(mixture)[-1].max() == 1


def test_filter_growth_sets_the_filters_of_each_level():
    model = tiny(levels=3, initial_filters=6, filter_growth=4)
    assert [d.conv.out_channels for d in model.down] == [6, 10, 14]
    assert model.bottleneck.out_channels == 18
    assert [u.conv.out_channels for u in model.up] == [14, 10, 6]


def test_wrong_shapes_are_rejected():
    for channels, shape, message in (
        (2, (1, 1, 100), r"shape \(1, 1, 100\); this model with 2 channel"),
        (1, (2, 100), "mixture.unsqueeze"),
        (2, (100,), "this model with 2 channel"),
        (1, (1, 1, 1, 100), "this model with 1 channel"),
        (2, (2, 0), "empty"),
        (1, (0, 1, 100), "empty"),
    ):
        model = tiny(in_channels=channels)
        for method in (model, model.forward_context, model.separate):
            with pytest.raises(ValueError, match=message):
                method(torch.zeros(shape))


def test_dtypes_other_than_floating_point_are_rejected():
    """PCM integers would be far beyond full scale."""
    model = tiny()
    for dtype in (torch.int16, torch.uint8, torch.bool, torch.complex64):
        mixture = torch.zeros(1, 100, dtype=dtype)
        for method in (model, model.separate, model.predict_track):
            with pytest.raises(ValueError, match="pcm / 32768"):
                method(mixture)
        with pytest.raises(ValueError, match="pcm / 32768"):
            model.numpy_separate(mixture.numpy())


def test_invalid_training_length_names_the_valid_ones():
    with pytest.raises(ValueError, match="not valid for this model.*nearest"):
        tiny().forward_context(torch.zeros(1, 1, 68))


def test_arguments_out_of_range_are_rejected():
    for argument, value, message in (
        ("levels", 0, "levels is 0"),
        ("initial_filters", 2.5, "initial_filters is 2.5"),
        ("up_kernel_size", True, "up_kernel_size is True"),
        ("filter_growth", -1, "filter_growth is -1"),
        ("upsampling", "cubic", "'cubic'; expected 'linear' or 'learned' or 'transposed'"),
        ("output", "mask", "'mask'; expected 'direct' or 'difference'"),
        ("output_activation", "relu", "expected 'tanh' or 'linear'"),
        ("context", "valid", "expected True or False"),
        ("sample_rate", 0, "sample_rate is 0"),
        ("sample_rate", 22050.5, "sample_rate is 22050.5"),
        ("sample_rate", float("inf"), "sample_rate is inf"),
        ("sample_rate", "fast", "sample_rate is 'fast'"),
        ("sources", 5, "distinct names"),
        ("sources", ("a", ["b"]), "cannot name a file"),
        ("sources", ("..",), "cannot name a file"),
        ("sources", ("a\n",), "cannot name a file"),
        ("sources", (), "distinct names"),
        ("sources", "vocals", "distinct names"),
        ("sources", ("vocals", "vocals"), "distinct names"),
        ("sources", ("a/b",), "cannot name a file"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny(**{argument: value})
            pytest.fail(f"accepted {argument}={value}")


def test_single_source_of_difference_output_warns():
    with pytest.warns(UserWarning, match="'vocals' .* equals the mixture"):
        model = tiny(sources=("vocals",))
    mixture = 0.1 * torch.randn(1, 50)
    assert torch.equal(model(mixture), mixture)


def test_changed_sample_rate_is_serialised():
    model = tiny()
    with pytest.warns(UserWarning, match="sample_rate"):
        model.sample_rate = 16000
    assert model.serialize()["model_args"]["sample_rate"] == 16000


def test_numpy_integers_are_accepted():
    assert tiny(levels=np.int64(2)).serialize()["model_args"]["levels"] == 2


@pytest.mark.parametrize("upsampling", ["learned", "transposed"])
def test_torch_export_with_context_supports_any_length(upsampling):
    model = tiny(in_channels=2, upsampling=upsampling)
    any_length = {"mixture": {2: torch.export.Dim.AUTO}}
    exported = torch.export.export(model, (torch.randn(1, 2, 101),), dynamic_shapes=any_length)
    for length in (101, 64, 1001):
        mixture = torch.randn(1, 2, length)
        torch.testing.assert_close(exported.module()(mixture), model(mixture), atol=1e-6, rtol=0)


def test_torch_export_with_same_padding_gives_the_same_estimates():
    model = tiny(in_channels=2, context=False, upsampling="linear")
    mixture = torch.randn(1, 2, 101)
    exported = torch.export.export(model, (mixture,))
    torch.testing.assert_close(exported.module()(mixture), model(mixture), atol=1e-6, rtol=0)


@pytest.mark.parametrize("context", [True, False])
def test_torch_compile_needs_no_graph_break(context):
    model = tiny(in_channels=2, context=context)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    mixture = torch.randn(1, 2, 101)
    torch.testing.assert_close(compiled(mixture), model(mixture), atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_tracing_gives_the_same_estimates():
    model = tiny(in_channels=2)
    traced = torch.jit.trace(model, torch.randn(1, 2, 100))
    mixture = torch.randn(1, 2, 100)
    torch.testing.assert_close(traced(mixture), model(mixture))


def test_every_weight_has_a_gradient():
    model = tiny(in_channels=2, upsampling="learned").train()
    model.forward_context(torch.randn(1, 2, model.geometry.fit(1).input)).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_predict_track_rejects_invalid_tracks():
    with pytest.raises(ValueError, match="NaN"):
        tiny().predict_track(torch.full((1, 100), float("nan")))
    with pytest.raises(ValueError, match="empty"):
        tiny().predict_track(torch.zeros(1, 0))
    with pytest.raises(ValueError, match=r"shape \(3, 100\); expected .* 1 or 2 channel"):
        tiny(in_channels=2).predict_track(torch.zeros(3, 100))
    with pytest.raises(ValueError, match=r"shape \(1, 1, 100\); expected"):
        tiny().predict_track(torch.zeros(1, 1, 100))
    with pytest.raises(ValueError, match="min_output is 0"):
        tiny().predict_track(torch.zeros(1, 100), output_length=0)


def test_skipping_cropped_samples_saves_a_third_of_the_multiplications():
    """Counted by PyTorch, against full convolutions, for M4."""
    with torch.device("meta"):
        model = presets.make("M4")
        lengths = model.geometry.fit(16384)
        mixture = torch.empty(1, 2, lengths.input)
    with FlopCounterMode(display=False) as counter:
        model.forward_context(mixture)
    full, n = 0, lengths.input
    for down in model.down:
        full += n_multiplications(down.conv, n - 14)
        n = (n - 14 + 1) // 2
    full += n_multiplications(model.bottleneck, n - 14)
    n -= 14
    for up in model.up:
        n = 2 * n - 1 - 4
        full += n_multiplications(up.conv, n)
    full += n_multiplications(model.head.conv, n)
    assert n == lengths.output
    assert 0.62 < counter.get_total_flops() / 2 / full < 0.66


def n_multiplications(conv, n_outputs):
    """Return the multiplications of a convolution."""
    return conv.weight.numel() * n_outputs
