"""An experiment folder like the recipe's, with random weights, scored on a song in memory."""

from __future__ import annotations

from pathlib import Path

import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.evaluation import evaluate
from asteroid_waveunet.experiment.evaluation.separator import Separator
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.settings import Data, Publishing
from asteroid_waveunet.weights import serialization
from helpers.models import tiny
from helpers.scores import RATE, SONGS, TWO


def experiment(
    folder: Path, sources=TWO, dataset: str = "demo", extra=(), build=tiny, **publishing
) -> tuple[Configuration, ExperimentDir]:
    """Write `folder/exp/demo` with excerpts of half a second."""
    model = build(sources=sources, in_channels=2, sample_rate=RATE).eval()
    places = ExperimentDir(folder / "exp" / "demo", folder / "data")
    sizes = {k: v for k, v in model.get_model_args().items() if k != "filter_growth"}
    configuration = Configuration(
        {"architecture": type(model).__name__, **sizes},
        data=Data(dataset=dataset, extra=[*extra]),
        publishing=Publishing(**publishing),
    )
    configuration.save(places.conf)
    serialization.write(model.serialize(), places.best_model)
    score(configuration, places, model)
    for name in ("mixture", "vocals-truth", "vocals-estimate"):
        piece = places.report / "audio" / "best-a-b-one" / f"{name}.flac"
        audio_io.write(piece, 0.1 * torch.randn(2, 500), RATE, "PCM_16")
    return configuration, places


def score(configuration: Configuration, places: ExperimentDir, model, tracks=SONGS[:1]) -> None:
    """Run stage 3 without the page."""
    fit_levels = configuration.evaluation.fit_levels
    evaluate.evaluate(
        tracks,
        Separator.configured(model, configuration.scored_segments, fit_levels),
        model.sources,
        places.scores,
        title="demo on songs",
        fingerprint=places.fingerprint(configuration),
        fast=True,
        jobs=0,
        progress=False,
    )
