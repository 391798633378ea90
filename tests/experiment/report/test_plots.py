from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

from asteroid_waveunet.experiment.report import plots, spectrogram_images, training_curves

RATE = 8000
THEME = plots.THEMES["light"]


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def row_of(fraction: float, bands: np.ndarray) -> float:
    """Return the band at a vertical position of the image, whose top is 0."""
    return (1 - fraction) * len(bands) - 0.5


def test_spectrogram_of_a_tone_is_brightest_at_its_label():
    time = np.arange(2 * RATE) / RATE
    for label, hertz in {"100 Hz": 100, "1 kHz": 1000}.items():
        tone = np.sin(2 * np.pi * hertz * time)[None].astype(np.float32)
        bands = spectrogram_images.spectrogram(tone, RATE)
        brightest = bands.mean(axis=1).argmax()
        row = row_of(spectrogram_images.frequency_ticks(RATE)[label], bands)
        # Low bands are narrower than the transform's bins: several share the brightest one.
        assert abs(brightest - row) < 4, label


def test_spectrogram_of_a_click_is_at_its_time():
    click = np.zeros((2, 2 * RATE), np.float32)
    click[:, 3 * RATE // 2] = 1
    loudness = spectrogram_images.spectrogram(click, RATE).mean(axis=0)
    assert abs(loudness.argmax() / len(loudness) - 0.75) < 0.002


def test_image_fills_its_width_and_the_waveform_its_height(tmp_path):
    ramp = np.linspace(0, 0.5, RATE, dtype=np.float32)[None] * np.tile([1, -1], RATE // 2)
    ramp = ramp.astype(np.float32)
    path = tmp_path / "image.png"
    spectrogram_images.draw(
        ramp, spectrogram_images.spectrogram(ramp, RATE), 0.5, 0, "#ff0000", path
    )
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    width, upper, lower = spectrogram_images.IMAGE_SIZE
    assert pixels.shape == (upper + lower, width, 3)
    red = (pixels[:upper, :, 0] > 128).sum(axis=0)
    assert red[0] <= 2
    assert red[-1] >= upper - 2
    assert abs(red[width // 2] - upper / 2) <= 2


def test_image_of_silence_and_of_a_single_sample(tmp_path):
    for samples in (np.zeros((1, RATE), np.float32), np.ones((2, 1), np.float32)):
        bands = spectrogram_images.spectrogram(samples, RATE)
        spectrogram_images.draw(
            samples, bands, 1.0, float(bands.max()), "#ff0000", tmp_path / "image.png"
        )


def test_box_plots_ignore_values_that_are_not_finite():
    model = {"voice": np.array([1.0, 2.0, 9.0, np.nan, np.inf]), "rest": np.array([np.nan])}
    figure = plots.distributions({"model": model, "mixture": model}, THEME, 400)
    assert texts(figure) == ["2.0", "2.0", "none", "none"]


def test_sdr_over_time_has_gaps_and_robust_limits():
    values = np.full(100, 5.0)
    values[40:50], values[3] = np.nan, -80
    timeline = plots.Timeline(np.arange(101.0), {"model": {"voice": values}}, excerpt=(10, 20))
    (axes,) = plots.over_time(timeline, THEME, 400).axes
    assert axes.get_xlim() == (0, 100)
    assert axes.get_ylim()[0] > 0
    (stairs,) = [p for p in axes.patches if hasattr(p, "get_data")]
    np.testing.assert_array_equal(stairs.get_data().values, values)


def test_names_are_not_parsed_as_formulas_and_files_are_reproducible(tmp_path):
    series = {"model": {"$x_1$ & <b>漢": np.array([1.0, 2.0])}}

    def draw(theme, width):
        return plots.distributions(series, theme, width)

    pictures = plots.save(draw, tmp_path, "chart")
    assert {(p.theme, p.layout) for p in pictures} == {
        (theme, layout) for theme in ("light", "dark") for layout in ("wide", "narrow")
    }
    first = (tmp_path / pictures[0].file).read_text()
    assert "$x_1$ & <b>漢" in "".join(ElementTree.fromstring(first).itertext())
    plots.save(draw, tmp_path, "chart")
    assert (tmp_path / pictures[0].file).read_text() == first


def test_last_row_of_a_repeated_step_takes_precedence(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,loss,step\n0,3.0,9\n,,10\n0,2.0,9\n1,1.0,19\n")
    assert training_curves.read_curves(tmp_path / "metrics.csv") == {
        "epoch": {9: 0.0, 19: 1.0},
        "loss": {9: 2.0, 19: 1.0},
    }


def test_time_ticks_are_few_and_within_the_range():
    for length in (0.3, 3, 10, 29.7, 240, 4000, 90000):
        ticks = plots.time_ticks(7.3, 7.3 + length, most=6)
        assert all(7.3 <= t <= 7.3 + length + 1e-9 for t in ticks), length
        assert len(ticks) <= (7 if length < 20000 else 26), length
