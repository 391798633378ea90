"""Stage 3: score the best model on the test tracks with museval, and write a report page."""

import interrupted  # noqa: F401  # isort: skip

import torch

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import evaluate, separator
from asteroid_waveunet.experiment.report import evaluation_page
from asteroid_waveunet.models.base import SourceModel


def main(configuration, experiment):
    """Separate and score the test tracks."""
    fingerprint = experiment.fingerprint(configuration)
    model = SourceModel.from_pretrained(experiment.best_model)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    root = experiment.dataset(configuration.data)
    tracks = musdb.tracks(root, "test")
    settings = configuration.evaluation
    estimator = separator.Separator.configured(
        model, configuration.scored_segments, settings.fit_levels
    )
    title = f"{experiment.exp_dir.name} on test of {root.name}"
    found = evaluate.evaluate(
        tracks,
        estimator,
        model.sources,
        experiment.scores,
        title=", ".join([title, *configuration.scoring_notes]),
        fingerprint=fingerprint,
        fast=settings.fast,
        jobs=settings.jobs,
        memory=settings.memory,
    )
    evaluation_page.write_page(
        found,
        tracks,
        estimator,
        experiment.report,
        **stages.report_details(configuration, experiment),
    )
    if found.failures:
        raise ValueError(found.failure_message)


if __name__ == "__main__":
    stages.run(main)
