"""Scores of separated tracks and data sets."""

from asteroid_waveunet.experiment.evaluation.bss_eval import window_sdr

__all__ = ["window_sdr"]
