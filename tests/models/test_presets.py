"""Tests of the presets: the sizes and configurations of the paper."""

from __future__ import annotations

import pytest
import torch

from asteroid_waveunet import presets

PARAMETERS = {
    "M1": 10263028,
    "M2": 10263002,
    "M3": 10263002,
    "M4": 10263390,
    "M5": 10265550,
    "M5-HighSR": 10265550,
    "M6": 10263498,
    "M7": 20594652,
}


def test_sizes_equal_the_paper():
    for name in presets.names():
        with torch.device("meta"):
            model = presets.make(name)
        assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name], name
        lengths = model.geometry.fit(16384)
        expected = (16384, 16384) if name in ("M1", "M2") else (147443, 16389)
        assert (lengths.input, lengths.output) == expected, name
        if name == "M7":  # trained on segments as long as those of U7
            lengths = model.geometry.fit(98560)
            assert (lengths.input, lengths.output) == (233459, 102405)


def test_configurations_equal_the_paper():
    for name, output, channels, rate, n_src in (
        ("M1", "direct", 1, 22050, 2),
        ("M2", "difference", 1, 22050, 2),
        ("M4", "difference", 2, 22050, 2),
        ("M5-HighSR", "difference", 2, 44100, 2),
        ("M6", "difference", 2, 22050, 4),
        ("M7", "difference", 1, 8192, 2),
    ):
        with torch.device("meta"):
            arguments = presets.make(name).get_model_args()
        assert (arguments["output"], arguments["in_channels"]) == (output, channels), name
        assert (arguments["sample_rate"], len(arguments["sources"])) == (rate, n_src), name


def test_every_preset_separates():
    for name in presets.names():
        model = presets.make(name, levels=4, initial_filters=4).eval()
        channels = model.in_channels
        axis = () if channels == 1 else (channels,)
        with torch.no_grad():
            estimates = model(torch.randn(1, channels, 1000))
        assert estimates.shape == (1, model.n_src, *axis, 1000), name


def test_overrides_replace_any_argument():
    model = presets.make("m5_highsr", sources=("piano", "rest", "voice"), levels=3)
    assert model.sources == ("piano", "rest", "voice")
    assert len(model.down) == 3 and model.sample_rate == 44100


def test_unknown_preset_names_the_known_ones_and_the_nearest():
    with pytest.raises(ValueError, match="preset 'M5-HighRS'.*M1, M2.*mean M5-HighSR"):
        presets.make("M5-HighRS")
