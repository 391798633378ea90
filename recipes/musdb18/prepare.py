"""Stage 1: every training track is decoded once, at the model's rate and channels."""

from asteroid_waveunet.experiment import preparation, stage


def main(configuration, places):
    """Decodes the training tracks."""
    model = configuration.make_model()
    prepared = preparation.prepare(
        places.dataset(configuration.data),
        places.prepared(configuration),
        model.sources,
        int(model.sample_rate),
        model.in_channels,
    )
    minutes = sum(track.length for track in prepared) / model.sample_rate / 60
    print(f"{len(prepared)} training tracks, {minutes:.1f} minutes in all.")


if __name__ == "__main__":
    stage.run(main)
