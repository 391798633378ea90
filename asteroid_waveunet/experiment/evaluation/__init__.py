"""Scores of separated tracks and data sets.

evaluate           a model or a folder of estimates on a data set, with baselines and a table
scoring            scores of many tracks in worker processes
track_scoring      scores of one track, in a worker process
bss_eval           museval's metrics of one track; the SDR alone, much faster
aggregation        figures of a data set from the scores of its tracks
formatting         numbers, decibels and tables as text
estimators         mixture, ideal ratio mask, folder of estimates
separator          a model as an estimator
score_store        one estimator's scores on disk
worker_pool        worker processes within limits of cores and memory
paired_comparison  two sets of scores, compared track by track
model_cost         weights, multiply-adds, seconds and memory of a model
"""

from asteroid_waveunet.experiment.evaluation.bss_eval import window_sdr

__all__ = ["window_sdr"]
