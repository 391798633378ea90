"""BSS Eval v4: equal to museval on drawn cases, defined where museval's rounding decides."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.evaluation import bss_eval, window_sdr
from asteroid_waveunet.experiment.evaluation.metrics import (
    bss_eval_v4,
    distortion_filters,
    museval_engine,
)
from asteroid_waveunet.experiment.evaluation.metrics.windows import Windows
from helpers.scores import RATE, degraded, music

pytestmark = pytest.mark.usefixtures("short_filters")

EXACT = 120  # dB; museval's rounding is in metrics above


def musevals(references, estimates, window=1.0, hop=1.0) -> np.ndarray:
    turned = [x.transpose(0, 2, 1) for x in (references, estimates)]
    return np.stack(museval_engine.museval().evaluate(*turned, win=window * RATE, hop=hop * RATE))


def assert_equal(references, estimates, case="", atol=1e-6, **windows):
    """Compare with museval, NaN for NaN; what is above `EXACT` in one is so in the other."""
    expected = musevals(references, estimates, **windows)
    found = np.stack(bss_eval(references, estimates, RATE, **windows))
    assert found.shape == expected.shape, case
    limited = [np.minimum(x, EXACT) for x in (found, expected)]
    np.testing.assert_allclose(*limited, rtol=0, atol=atol, err_msg=case)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("n_src", [1, 2, 3, 4, 5])
def test_metrics_equal_musevals(n_src, channels):
    for seed, seconds in enumerate((0.05, 0.6, 1.0, 3.4)):  # shorter than the filters, a window
        references = music(n_src, channels, seconds, seed)
        assert_equal(references, degraded(references, seed + 9), f"{seconds} s")


def test_windows_without_a_score_are_musevals():
    references = music(3, seconds=6.0)
    estimates = degraded(references)
    references[0, :, :RATE] = 0
    estimates[2, :, RATE : 2 * RATE] = 0
    references[1, 0, 2 * RATE : 3 * RATE] = 0
    references[1, 1, 3 * RATE : 4 * RATE] = -references[1, 0, 3 * RATE : 4 * RATE]
    assert_equal(references, estimates)
    scores = np.stack(bss_eval(references, estimates, RATE))
    assert np.isnan(scores).all((0, 1)).tolist() == [True, True, False, True, False, False]


def test_windows_may_overlap_leave_gaps_or_be_the_whole_track():
    references = music(seconds=3.7)
    estimates = degraded(references)
    for window, hop in ((1.0, 0.3), (0.5, 1.1), (0.05, 0.05), (3.7, 1.0), (math.inf, math.inf),
        (0.7333, 0.2501), (2.3, 0.7), (9.0, 1.0)):  # fmt: skip
        assert_equal(references, estimates, f"{window} {hop}", window=window, hop=hop)


def test_windows_longer_than_a_piece_are_filtered_in_pieces(monkeypatch):
    references = music(seconds=3.0)
    estimates = degraded(references)
    monkeypatch.setattr(bss_eval_v4, "PIECE", 190)
    monkeypatch.setattr(bss_eval_v4, "PIECES_AT_ONCE", 4)
    monkeypatch.setattr(distortion_filters, "N_FFT", 256)
    monkeypatch.setattr(distortion_filters, "BLOCKS_AT_ONCE", 3)
    assert_equal(references, estimates)
    assert_equal(references, estimates, window=math.inf, hop=math.inf)


def test_near_perfect_estimates_have_musevals_metrics():
    references = music(seconds=2.0)
    for error in (1e-2, 1e-4, 1e-5):
        estimates = references + error * (degraded(references) - references)
        assert_equal(references, estimates, f"{error}")


def test_perfect_estimate_has_infinite_metrics_and_does_not_change_others():
    references = music(seconds=3.0)
    estimates = degraded(references)
    estimates[0] = references[0]
    assert_equal(references, estimates)
    for name, values in bss_eval(references, estimates, RATE)._asdict().items():
        assert np.isposinf(values[0]).all() and np.isfinite(values[1]).all(), name


def test_perfect_window_of_an_imperfect_track_has_the_metrics_of_its_filters():
    references = music(seconds=3.0)
    estimates = degraded(references)
    estimates[0, :, RATE : 2 * RATE] = references[0, :, RATE : 2 * RATE]
    assert_equal(references, estimates)
    sdr, *others = bss_eval(references, estimates, RATE)
    assert np.isposinf(sdr[0]).tolist() == [False, True, False]
    assert np.isfinite(others).all()


def test_references_that_depend_on_each_other_have_musevals_metrics():
    mono = music(2, 1, seconds=3.0)
    doubled = mono.repeat(2, axis=1)
    panned = doubled * [[[1.0], [0.5]]]
    partly = np.concatenate([doubled[:1], music(1, seconds=3.0, seed=5)])
    time = np.arange(3 * RATE) / RATE
    sine = np.sin(2 * np.pi * np.array([[[40.0], [111.0]], [[70.0], [230.0]]]) * time)
    for name, references in {
        "doubled": doubled, "panned": panned, "partly": partly, "sines": sine,
        "16 bits": np.round(doubled * 2**15) / 2**15,
    }.items():  # fmt: skip
        assert_equal(references, degraded(references), name)
        assert_equal(references, degraded(references)[:, :1].repeat(2, 1), f"{name}, mono")


def test_very_quiet_tracks_have_musevals_metrics():
    """museval adds an absolute 2e-16 to its matrix."""
    for level in (1e-4, 1e-7, 1e-8):
        references = level * music(seconds=2.0)
        assert_equal(references, level * degraded(references / level), f"{level}")


def test_single_source_has_no_interference():
    references = music(1, seconds=2.0)
    assert np.isposinf(bss_eval(references, degraded(references), RATE).sir).all()


def test_source_that_is_silent_throughout_leaves_no_window():
    references = music(seconds=2.0)
    estimates = degraded(references)
    estimates[1] = 0
    assert np.isnan(np.stack(bss_eval(references, estimates, RATE))).all()


def test_sdr_is_window_sdrs():
    references = music(seconds=3.0)
    estimates = degraded(references)
    found = bss_eval(references, estimates, RATE).sdr
    np.testing.assert_allclose(found, window_sdr(references, estimates, RATE), rtol=0, atol=1e-10)


def test_tensors_and_float32_have_the_same_metrics():
    references, estimates = (x.astype(np.float32) for x in (music(), degraded(music())))
    expected = np.stack(bss_eval(references.astype(float), estimates.astype(float), RATE))
    tensors = bss_eval(torch.from_numpy(references), torch.from_numpy(estimates), RATE)
    assert (np.stack(tensors) == expected).all()
    assert tensors.sdr.dtype == np.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_has_the_same_metrics():
    references = music()
    estimates = degraded(references)
    on_gpu = bss_eval(references, estimates, RATE, device="cuda")
    np.testing.assert_allclose(on_gpu, bss_eval(references, estimates, RATE), rtol=0, atol=1e-6)


def test_arrays_of_any_real_type_and_layout_have_musevals_metrics():
    references, estimates = music(), degraded(music())
    for name, convert in {
        "int16": lambda x: np.round(3000 * x).astype(np.int16),
        "uint8": lambda x: np.clip(np.round(9 * x) + 128, 0, 255).astype(np.uint8),
        "bool": lambda x: x > 0.1,
        "float16": lambda x: x.astype(np.float16),
        "big-endian": lambda x: x.astype(">f8"),
        "reversed": lambda x: x[:, ::-1, ::-1],
        "read-only": lambda x: np.broadcast_to(x, x.shape),
    }.items():
        assert_equal(convert(references), convert(estimates), name)


REFUSED = [
    (lambda x: x[:, :1], {}, r"\(2, 2, 4300\).*\(2, 1, 4300\)"),
    (lambda x: x[..., :-1], {}, "4300.*4299"),
    (lambda x: x * np.where(np.arange(4300) == 7, np.nan, 1.0), {}, "NaN or infinite"),
    (lambda x: x + 0j, {}, "estimates are of type complex128"),
    (lambda x: x.astype(object), {}, "estimates are of type object"),
    (np.copy, {"window": 0.0}, "window=0.0 s at 1000 Hz"),
    (np.copy, {"window": math.nan}, "window=nan"),
    (np.copy, {"window": "1"}, "window='1'"),
    (np.copy, {"hop": 0.0}, "hop=0.0"),
    (np.copy, {"hop": -1.0}, "hop=-1.0"),
    (np.copy, {"hop": 0.0004}, "at least one sample"),
    (np.copy, {"sample_rate": 0}, "sample_rate=0"),
    (np.copy, {"sample_rate": None}, "sample_rate=None"),
    (np.copy, {"device": "wrong"}, "device='wrong'"),
    (np.copy, {"device": "meta"}, "device='meta'"),
]


@pytest.mark.parametrize(("change", "options", "message"), REFUSED)
def test_invalid_input_is_refused_in_one_line(change, options, message):
    references = music()
    with pytest.raises(ValueError, match=message) as refused:
        bss_eval(references, change(references), **{"sample_rate": RATE, **options})
    assert "\n" not in str(refused.value)


def test_tracks_too_loud_or_without_samples_or_sources_are_refused():
    references = music()
    with pytest.raises(ValueError, match="energy is infinite"):
        bss_eval(1e160 * references, 1e160 * degraded(references), RATE)
    with pytest.raises(ValueError, match="n_src, channels, time"):
        bss_eval(references[0], references[0], RATE)
    for empty in (references[:0], references[:, :0], references[..., :0]):
        with pytest.raises(ValueError, match=r"0.*no samples"):
            bss_eval(empty, empty, RATE)


def test_windows_are_musevals():
    framing = museval_engine.museval().metrics.Framing
    for length in (1, 7, 10, 11, 25):
        for window, hop in ((4, 3), (10, 10), (3, 5), (1, 1), (30, 2), (3.7, 1.3), (2.5, 2.5)):
            ours = list(Windows.from_seconds(length, 1, window, hop))
            assert ours == list(framing(window, hop, length)), (length, window, hop)


def test_import_needs_neither_asteroid_nor_lightning_nor_museval():
    heavy = ("asteroid", "pytorch_lightning", "lightning", "museval", "musdb", "stempeg", "ffmpeg")
    code = (
        "import sys; from asteroid_waveunet.experiment.evaluation import bss_eval\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
