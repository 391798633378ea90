"""Stage 0: the data sets are there, or are generated, or downloaded and unpacked."""

import interrupted  # noqa: F401  # isort: skip

import os

from asteroid_waveunet.experiment import stages


def main(configuration, places):
    """Obtains the data sets."""
    accepted = os.environ.get("ACCEPT_LICENSE") == "true"
    for root in stages.obtain(configuration, places, accepted):
        print(f"The data set is in {root}.")
    for note in stages.notes(configuration, places):
        print(f"note: {note}")


if __name__ == "__main__":
    stages.run(main)
