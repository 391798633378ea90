"""Shared by the tests of the metrics."""

from __future__ import annotations

import functools

import pytest

from asteroid_waveunet.experiment.evaluation.metrics import (
    bss_eval_v4,
    distortion_filters,
    museval_engine,
)


@pytest.fixture(scope="module")
def short_filters():
    """Both engines with filters of 64 taps, not 512: their linear systems are 8 times smaller."""
    metrics = museval_engine.museval().metrics
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "bss_eval", functools.partial(metrics.bss_eval, filters_len=64))
        patch.setattr(bss_eval_v4, "TAPS", 64)
        patch.setattr(distortion_filters, "TAPS", 64)
        yield
