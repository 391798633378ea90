"""Stage 1: every training track is decoded once, at the model's rate and channels."""

import interrupted  # noqa: F401  # isort: skip

from asteroid_waveunet.experiment import stages


def main(configuration, places):
    """Decodes the training tracks."""
    prepared = stages.prepare(configuration, places)
    minutes = sum(track.length / track.sample_rate for track in prepared) / 60
    print(f"{len(prepared)} training tracks, {minutes:.1f} minutes in all.")


if __name__ == "__main__":
    stages.run(main)
