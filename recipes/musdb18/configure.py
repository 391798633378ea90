"""Writes an experiment's configuration: a file under conf/, with the command line's overrides."""

import argparse
from pathlib import Path

from asteroid_waveunet.experiment.configuration import load, parse_overrides
from asteroid_waveunet.experiment.stage import plainly

# What may change between two runs of one experiment without making it another one.
CHANGEABLE = {"patience", "num_workers", "precision", "jobs", "data_name", "license"}


def configure(conf: Path, exp_dir: Path, overrides: dict[str, str]) -> None:
    """Settles the settings of `exp_dir`, or makes sure that they are what they were."""
    dataset = overrides.get("dataset")
    if dataset and Path(dataset).is_dir():
        overrides["dataset"] = str(Path(dataset).resolve())
    configuration = load(conf, overrides)
    saved = exp_dir / "conf.yml"
    if saved.is_file():
        # Longer training is the same training, unless the schedule is laid over all of it.
        constant = configuration.training.schedule == "constant"
        changeable = CHANGEABLE | ({"max_epochs"} if constant else set())
        differences = [
            difference
            for difference in configuration.differences(load(saved))
            if difference.split(":")[0] not in changeable
        ]
        if differences:
            raise ValueError(
                f"{exp_dir} is an experiment with other settings ({'; '.join(differences)}). Give "
                "this one its own name with --tag, or delete that folder."
            )
    configuration.save(saved)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--exp_dir", type=Path, required=True)
    known, rest = parser.parse_known_args()
    plainly(lambda: configure(known.conf, known.exp_dir, parse_overrides(rest)))
