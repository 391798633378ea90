"""Scores of separated tracks and data sets.

evaluate           a model or a folder of estimates on a data set, with baselines and a table
scoring            scores of many tracks in worker processes
track_scoring      scores of one track, in a worker process
metrics            BSS Eval v4 of one track, as museval computes it; the SDR alone
aggregation        figures of a data set from the scores of its tracks
formatting         numbers, decibels and tables as text
estimators         mixture, ideal ratio mask, folder of estimates
separator          a model as an estimator
score_store        one estimator's scores on disk
worker_pool        worker processes within limits of cores and memory
cluster_pool       tracks as tasks on a Ray cluster
paired_comparison  two sets of scores, compared track by track
model_cost         weights, multiply-adds, seconds and memory of a model

The metrics load on first use, so that importing a module of this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asteroid_waveunet.experiment.evaluation.metrics.bss_eval_v4 import bss_eval
    from asteroid_waveunet.experiment.evaluation.metrics.windows import window_sdr

__all__ = ["bss_eval", "window_sdr"]

_PUBLIC = {"bss_eval": "bss_eval_v4", "window_sdr": "windows"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.metrics.{_PUBLIC[name]}")
    value = globals()[name] = getattr(module, name)
    return value
