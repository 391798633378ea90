"""`waveunet publish`: an experiment's model on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_options", "publish"]

# Settings of the configuration's section `publishing`, which this command replaces.
SETTINGS = (
    "repo_id", "private", "revision", "license", "data_name", "examples", "examples_license"
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the description and options of the command."""
    parser.description = (
        "Packs the model of an experiment with its scores, model card and licence "
        "notice into EXP/published and uploads that in one commit. Everything is checked before "
        "anything is sent. What is not given is as in EXP/conf.yml. The same command again "
        "makes no commit if nothing has changed, and goes on after a stop."
    )
    add = parser.add_argument
    add("experiment", metavar="EXP", type=Path, help="folder that the recipe left, exp/TAG")
    add("--repo_id", "--repo-id", metavar="USER/NAME", help="the model's name on the Hub")
    add("--private", action="store_true", default=None, help="for its owners only, if it is new")
    add("--revision", metavar="TAG", help="a name for this version, such as v1.0")
    add("--dry-run", action="store_true", help="pack, and say what would be sent")
    add("--license", metavar="ID", help="of the weights, by the Hub's identifier")
    add("--data_name", "--data-name", metavar="NAME", help="of the training data, on the card")
    add("--examples", choices=("true", "false"), help="pieces of test songs go along, or do not")
    add("--examples_license", "--examples-license", metavar="ID", help="of these pieces")
    parser.set_defaults(command=publish)


def publish(options: argparse.Namespace) -> int:
    """`waveunet publish`."""
    from asteroid_waveunet.experiment import config
    from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
    from asteroid_waveunet.experiment.publishing import package

    exp = options.experiment.expanduser()
    if not (exp / "conf.yml").is_file():
        raise FileNotFoundError(
            f"{exp} is no experiment: it has no conf.yml; expected a folder that "
            "recipes/musdb18/run.sh left, such as recipes/musdb18/exp/demo."
        )
    places = ExperimentDir(exp, exp.resolve().parents[1] / "data")
    given = {name: getattr(options, name) for name in SETTINGS}
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = config.load(places.conf, overrides)
    if settings.publishing.repo_id is None and not options.dry_run:
        raise ValueError("Where to? Name it with --repo_id user/name, or try --dry-run.")
    package.publish(settings, places, options.dry_run)
    return 0
