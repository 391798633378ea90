"""Images of upsampled features against the analytic values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.paper_figures import aliasing
from asteroid_waveunet.experiment.paper_figures.aliasing import FREQUENCIES, N_FREQUENCIES
from asteroid_waveunet.nn.wave_unet_blocks import UPSAMPLING
from helpers.models import tiny


def response_of(**arguments):
    return aliasing.model_response(tiny(levels=3, **arguments))


def test_images_of_linear_interpolation_are_analytic():
    found = response_of(upsampling="linear")
    tones = FREQUENCIES[:N_FREQUENCIES]
    expected = 40 * np.log10(np.tan(np.pi * tones))
    np.testing.assert_allclose(aliasing.images(found.alone)[0], expected, atol=1e-6)
    theta = 2 * np.pi * FREQUENCIES
    np.testing.assert_allclose(found.alone, np.tile((1 + np.cos(theta)) ** 2, (36, 1)), atol=1e-12)


def test_images_of_a_band_match_the_integral():
    """The integral of (1 +- cos t)^2 is 3/2 t +- 2 sin t + sin(2 t) / 4."""
    for band in (0.5, 1.0):
        t = band * np.pi / 2
        image, tone = (1.5 * t + sign * 2 * np.sin(t) + np.sin(2 * t) / 4 for sign in (-1, 1))
        found = aliasing.images_of_band(response_of(upsampling="linear").alone, band)
        np.testing.assert_allclose(found, 10 * np.log10(image / tone), atol=0.01, err_msg=band)


@pytest.mark.parametrize("kind", UPSAMPLING)
def test_energies_match_upsampled_tones(kind):
    """Feed one channel at a time at one frequency; energies of independent channels add up."""
    model = tiny(levels=2, upsampling=kind)
    if kind != "linear":
        for block in model.up:
            torch.nn.init.normal_(block.upsampling.weight)
    upsampling = model.double().up[0].upsampling
    channels, length, cycle = 12, 4 * N_FREQUENCIES, 2 * 9 + 1  # the tenth frequency
    angle = 2 * np.pi * cycle / length * torch.arange(length + 2, dtype=torch.float64)
    tones_energy, images = np.zeros(channels), np.zeros(channels)
    for channel in range(channels):
        tones = torch.zeros(2, channels, length + 2, dtype=torch.float64)
        tones[:, channel] = torch.stack([angle.cos(), angle.sin()])
        with torch.no_grad():
            real, imaginary = upsampling(tones)
        spectrum = np.fft.fft((real + 1j * imaginary)[:, 2 : 2 * length + 2].numpy()) / length
        tones_energy += abs(spectrum[:, cycle]) ** 2
        images += abs(spectrum[:, cycle + length]) ** 2
    found = aliasing.model_response(model).alone[:channels]
    np.testing.assert_allclose(found[:, 9], tones_energy, rtol=1e-5)
    np.testing.assert_allclose(found[:, -10], images, rtol=1e-5)


def test_identity_convolution_keeps_the_response():
    model = tiny(levels=2)
    for block in model.up:
        channels = len(block.upsampling.taps[0])
        torch.nn.init.zeros_(block.conv.weight)
        block.conv.weight.data[:, -channels:, 1] = torch.eye(len(block.conv.weight), channels)
    found = aliasing.model_response(model)
    np.testing.assert_allclose(found.convolved, found.alone[: len(found.convolved)], rtol=1e-6)


def test_learned_interpolation_is_bounded_by_linear_and_repetition():
    model = tiny(levels=3, upsampling="learned")
    for block in model.up:
        torch.nn.init.normal_(block.upsampling.weight, std=3)
    found = aliasing.images(aliasing.model_response(model).alone)
    linear = aliasing.images(response_of().alone)[0]
    worst = aliasing.images(aliasing.energies(aliasing.REPEATED))[0]
    assert (found >= linear - 1e-4).all() and (found <= worst + 1e-4).all()
    # An energy of cos^2 against one of sin^2, at half the angle.
    np.testing.assert_allclose(
        worst, 20 * np.log10(np.tan(np.pi * FREQUENCIES[:N_FREQUENCIES])), atol=1e-9
    )


def test_initial_transposed_convolutions_have_images_as_loud_as_the_features():
    found = aliasing.initial_response("transposed", levels=3)
    assert len(found.alone) == 48 + 72 + 96
    assert abs(np.median(aliasing.images(found.alone))) < 0.2
    assert np.median(aliasing.images(aliasing.initial_response("linear", levels=3).alone)) < -15


def test_initial_response_is_reproducible_and_keeps_the_global_rng():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = aliasing.initial_response("learned", levels=2)
    assert torch.equal(torch.rand(1), expected)
    again = aliasing.initial_response("learned", levels=2)
    assert (first.alone == again.alone).all() and (first.convolved == again.convolved).all()
    assert not (aliasing.initial_response("learned", seed=1, levels=2).alone == first.alone).all()


def test_models_of_one_kind_have_distinct_line_styles():
    both = [response_of(upsampling="learned"), response_of(upsampling="learned")]
    for axes in aliasing.draw(both).axes[1:]:
        assert len({line.get_linestyle() for line in axes.lines[:2]}) == 2


def test_table_has_the_analytic_values():
    found = aliasing.table([response_of(upsampling="linear")])
    assert "| zeros between samples | 0.0 | 0.0 |  |  |" in found
    assert "| linear | -23.1 | -10.9 |" in found
