"""Stage 3: score the best model on test or validation tracks; write a report page."""

import interrupted  # noqa: F401  # isort: skip

import torch

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.evaluation import evaluate, separator
from asteroid_waveunet.experiment.evaluation.cluster_pool import Cluster
from asteroid_waveunet.experiment.report import evaluation_page
from asteroid_waveunet.models.base import SourceModel


def main(configuration, experiment):
    """Separate and score the tracks."""
    fingerprint = experiment.fingerprint(configuration)
    model = SourceModel.from_pretrained(experiment.best_model)
    settings = configuration.evaluation
    cluster = None if settings.cluster is None else Cluster(settings.cluster)
    model.to("cuda" if torch.cuda.is_available() and cluster is None else "cpu")
    tracks = stages.scored_tracks(configuration, experiment)
    estimator = separator.Separator.configured(
        model, configuration.scored_segments, settings.fit_levels
    )
    data = experiment.dataset(configuration.data)
    title = f"{experiment.exp_dir.name} on {tracks[0].subset} of {data.name}"
    found = evaluate.evaluate(
        tracks,
        estimator,
        model.sources,
        experiment.scores,
        title=", ".join([title, *configuration.scoring_notes]),
        fingerprint=fingerprint,
        fast=settings.fast,
        engine=settings.engine,
        jobs=settings.jobs,
        memory=settings.memory,
        cluster=cluster,
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
