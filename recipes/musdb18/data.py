"""Stage 0: generate, or download and unpack, the data sets."""

import interrupted  # noqa: F401  # isort: skip

import os

from asteroid_waveunet.experiment import stages


def main(configuration, experiment):
    """Obtain the data sets."""
    accepted = os.environ.get("ACCEPT_LICENSE") == "true"
    scores = stages.scores_follow()
    for root in stages.obtain_data(configuration, experiment, accepted, scores):
        print(f"The data set is in {root}.")
    for note in stages.data_notes(configuration, experiment):
        print(f"note: {note}")


if __name__ == "__main__":
    stages.run(main)
