"""Stage 1: decode the training tracks once, at the model's sample rate and channels."""

import interrupted  # noqa: F401  # isort: skip

from asteroid_waveunet.experiment import stages


def main(configuration, experiment):
    """Decode the training tracks."""
    prepared = stages.prepare_data(configuration, experiment)
    minutes = sum(track.length / track.sample_rate for track in prepared) / 60
    print(f"{len(prepared)} training tracks, {minutes:.1f} minutes in total.")


if __name__ == "__main__":
    stages.run(main)
