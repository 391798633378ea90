"""Stage 3: museval's scores of the best model on the test tracks, and a page of them."""

import interrupted  # noqa: F401  # isort: skip

import torch

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import estimators, evaluate
from asteroid_waveunet.experiment.report import evaluation_page
from asteroid_waveunet.models.base import SourceModel


def main(configuration, places):
    """Separates and scores the test tracks."""
    fingerprint = places.fingerprint(configuration)
    model = SourceModel.from_pretrained(places.best_model)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    root = places.dataset(configuration.data)
    tracks = musdb.tracks(root, "test")
    settings = configuration.evaluation
    separator = estimators.Separator.as_scored(
        model, configuration.scored_segments, settings.fit_levels
    )
    title = f"{places.exp_dir.name} on test of {root.name}"
    found = evaluate.assess(
        tracks,
        separator,
        model.sources,
        places.scores,
        title=", ".join([title, *configuration.unusual_scoring]),
        fingerprint=fingerprint,
        fast=settings.fast,
        jobs=settings.jobs,
        memory=settings.memory,
    )
    evaluation_page.write_page(
        found,
        tracks,
        separator,
        places.report,
        **stages.about(configuration, places),
    )
    if found.failures:
        raise ValueError(found.complaint)


if __name__ == "__main__":
    stages.run(main)
