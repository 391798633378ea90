"""Stage 0: the data set is there, or is generated."""

from asteroid_waveunet.experiment import stage


def main(configuration, places):
    """Obtains the data set."""
    root = stage.obtain(configuration, places)
    print(f"The data set is in {root}.")


if __name__ == "__main__":
    stage.run(main)
