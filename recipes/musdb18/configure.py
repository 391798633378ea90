"""Writes an experiment's configuration: a file under conf/, with the command line's overrides."""

import interrupted  # noqa: F401  # isort: skip

import os
from pathlib import Path

from asteroid_waveunet.experiment.config import load, parse_overrides
from asteroid_waveunet.experiment.data import obtain
from asteroid_waveunet.experiment.stages import Places, check_data, plainly
from asteroid_waveunet.experiment.training import loggers

# What may change between two runs of one experiment without making it another one.
CHANGEABLE = {
    "patience", "fine_tuning", "fine_tuning_lr", "clip", "num_workers", "store", "precision",
    "tf32", "compile", "strategy", "checkpoint_minutes", "logger", "listen_every", "jobs", "memory",
    "fast", "prediction", "fit_levels", "data_name", "license", "examples", "examples_license",
    "repo_id", "private", "revision", "keep_archive", "verify",
}  # fmt: skip


def configure(conf, places, overrides):
    """Settles an experiment's settings, or makes sure that they are what it was begun with."""
    configuration = settle(conf, overrides)
    loggers.check(configuration.training.logger)
    check_data(configuration, places, os.environ.get("ACCEPT_LICENSE") == "true")
    if os.environ.get("RESUME") == "true" and not places.checkpoints.is_dir():
        raise FileNotFoundError(f"There is nothing to resume in {places.exp_dir}.")
    refuse_changes(configuration, places)
    configuration.save(places.conf)


def settle(conf, overrides):
    """What a file and a command line say, with folders by their whole paths."""
    data = load(conf, overrides).data
    folders = {"dataset": folder_of(data.dataset), "extra": [folder_of(e) for e in data.extra]}
    return load(conf, {**overrides, **folders})


def folder_of(name):
    """A folder by its whole path, since stages may be run from anywhere; known names stay."""
    is_known = name == "demo" or name in obtain.CORPORA
    return str(Path(name).resolve()) if not is_known and Path(name).is_dir() else name


def refuse_changes(configuration, places):
    """Raises ValueError where a training that has begun would go on as another one."""
    if not (places.checkpoints.is_dir() or places.best_model.is_file()):
        return
    # Longer training is the same training, unless the schedule is laid over all of it.
    constant = configuration.training.schedule == "constant"
    changeable = CHANGEABLE | ({"max_epochs"} if constant else set())
    differences = configuration.differences(load(places.conf), ignore=changeable)
    if differences:
        raise ValueError(
            f"{places.exp_dir} was begun with other settings ({'; '.join(differences)}). Give this "
            "experiment its own name with --tag, or delete that folder."
        )


if __name__ == "__main__":
    parser = Places.parser(__doc__)
    parser.add_argument("--conf", type=Path, required=True)
    known, rest = parser.parse_known_args()
    places = Places.of(known.exp_dir, known.data_dir)
    plainly(lambda: configure(known.conf, places, parse_overrides(rest)))
