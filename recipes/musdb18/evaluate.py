"""Stage 3: museval's scores of the best model on the test tracks."""

import json

import torch

from asteroid_waveunet import WaveUNet, audio, separation
from asteroid_waveunet.experiment import aggregation, evaluation, musdb, stage
from asteroid_waveunet.files import replacing


def main(configuration, places):
    """Separates and scores the test tracks."""
    model_hash = places.model_hash()
    model = WaveUNet.from_pretrained(places.best_model)
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    def separate(mixture, sample_rate):
        # As the paper scores its mono models: the channels' mean, its estimates in both.
        if model.in_channels == 1:
            mixture = audio.to_channels(mixture, 1)
        estimates = separation.separate_at(model, mixture, sample_rate)
        return dict(zip(model.sources, estimates, strict=True))

    root = places.dataset(configuration.data)
    tracks = musdb.tracks(root, "test")
    scores = evaluation.evaluate(
        tracks,
        separate,
        model.sources,
        places.scores,
        fingerprint=f"{model_hash} on {root.name}",
        jobs=configuration.evaluation.jobs,
    )
    summary = aggregation.summarise(scores)
    table = aggregation.table(summary, evaluation.baselines(tracks, model.sources))
    result = {"model": model_hash, "summary": summary, "table": table, "tracks": len(tracks)}
    with replacing(places.scores / "summary.json") as partial:
        partial.write_text(json.dumps(result, indent=1))
    with replacing(places.scores / "scores.md") as partial:
        partial.write_text(table)


if __name__ == "__main__":
    stage.run(main)
