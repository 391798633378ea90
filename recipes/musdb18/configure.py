"""Write an experiment's configuration: a file of conf/ with the command line's overrides."""

import interrupted  # noqa: F401  # isort: skip

import dataclasses
import os
from pathlib import Path

from asteroid_waveunet.experiment.config import load, parse_overrides
from asteroid_waveunet.experiment.data.corpora import CORPORA
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.settings import AUTO, GENERATED
from asteroid_waveunet.experiment.stages import (
    argument_parser,
    check_data,
    exit_on_error,
    scores_follow,
)
from asteroid_waveunet.experiment.training import loggers

# Settings that may change when an experiment is resumed.
CHANGEABLE = {
    "patience", "fine_tuning", "fine_tuning_lr", "gradient_clip", "num_workers", "store",
    "precision", "tf32", "compile", "strategy", "checkpoint_minutes", "logger", "listen_every",
    "jobs", "memory", "cluster", "fast", "engine", "prediction", "fit_levels", "data_name",
    "license", "examples", "examples_license", "repo_id", "private", "revision", "keep_archive",
    "verify",
}  # fmt: skip


def configure(conf, experiment, overrides):
    """Check settings and data, and save the configuration of a new or resumed experiment."""
    configuration = load_checked(conf, overrides)
    loggers.check(configuration.training.logger)
    accepted, scores = os.environ.get("ACCEPT_LICENSE") == "true", scores_follow()
    check_data(configuration, experiment, accepted, scores)
    if os.environ.get("RESUME") == "true" and not experiment.checkpoints.is_dir():
        raise FileNotFoundError(f"There is no checkpoint to resume from in {experiment.exp_dir}.")
    with experiment.locked():
        refuse_changes(configuration, experiment)
        configuration = with_begun_precision(configuration, experiment)
        configuration.save(experiment.conf)


def load_checked(conf, overrides):
    """Load a configuration, make its folders absolute and check its model."""
    given = load(conf, overrides)
    data, training = given.data, given.training
    paths = {"dataset": folder_of(data.dataset), "extra": [folder_of(e) for e in data.extra]}
    paths["voices"] = [str(Path(voices).resolve()) for voices in data.voices]
    if data.valid_data:
        paths["valid_data"] = folder_of(data.valid_data)
    for name in ("init", "teacher"):
        weights = getattr(training, name)
        if weights and Path(weights).exists():
            paths[name] = str(Path(weights).resolve())
    if data.soundfont:
        paths["soundfont"] = str(Path(data.soundfont).resolve())
    configuration = load(conf, {**overrides, **paths})
    configuration.check_model()
    return configuration


def folder_of(name):
    """Return a folder's absolute path, or the name of a known data set."""
    is_known = name in GENERATED or name in CORPORA
    return str(Path(name).resolve()) if not is_known and Path(name).is_dir() else name


def with_begun_precision(configuration, experiment):
    """Replace the precision `auto` by the one that a training has begun with."""
    if configuration.training.precision != AUTO or not has_begun(experiment):
        return configuration
    begun = load(experiment.conf).training.precision
    training = dataclasses.replace(configuration.training, precision=begun)
    return dataclasses.replace(configuration, training=training)


def has_begun(experiment):
    """Return True if the experiment's training has begun."""
    return experiment.checkpoints.is_dir() or experiment.best_model.is_file()


def refuse_changes(configuration, experiment):
    """Raise ValueError if an experiment that has begun would continue with other settings."""
    if not has_begun(experiment):
        return
    # A constant schedule may be extended; the others depend on max_epochs from the first step.
    constant = configuration.training.schedule == "constant"
    changeable = CHANGEABLE | ({"max_epochs"} if constant else set())
    differences = configuration.differences(load(experiment.conf), ignore=changeable)
    if differences:
        raise ValueError(
            f"{experiment.exp_dir} was begun with other settings ({'; '.join(differences)}). Name "
            "a new experiment with --tag, or delete that folder."
        )


if __name__ == "__main__":
    parser = argument_parser(__doc__)
    parser.add_argument("--conf", type=Path, required=True, help="configuration file to start from")
    known, rest = parser.parse_known_args()
    experiment = ExperimentDir(known.exp_dir, known.data_dir)
    exit_on_error(lambda: configure(known.conf, experiment, parse_overrides(rest)))
