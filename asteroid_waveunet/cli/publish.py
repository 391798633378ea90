"""`waveunet publish`: upload an experiment's model to the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from asteroid_waveunet.file_utils import expanded

__all__ = ["add_options", "run"]

# Settings of the configuration's section `publishing` that options replace.
SETTINGS = (
    "repo_id", "private", "revision", "license", "data_name", "examples", "examples_license"
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Package the model of an experiment with its scores, model card and licence notice in "
        "EXP/published, and upload the package in one commit. Everything is checked before "
        "anything is sent. Options that are not given default to EXP/conf.yml. The same command "
        "again resumes an interrupted upload, and makes no commit if nothing has changed."
    )
    add = parser.add_argument
    add("experiment", metavar="EXP", type=Path, help="an experiment's folder, exp/TAG")
    add("--repo-id", "--repo_id", metavar="USER/NAME", help="the model's name on the Hub")
    add("--private", action="store_true", default=None, help="make a new repository private")
    add("--revision", metavar="TAG", help="a tag for this version, such as v1.0")
    add("--dry-run", action="store_true", help="package, and list what would be sent")
    add("--license", metavar="ID", help="license of the weights, by the Hub's identifier")
    add("--data-name", "--data_name", metavar="NAME", help="name of the training data on the card")
    add("--examples", choices=("true", "false"), help="include excerpts of test songs")
    add("--examples-license", "--examples_license", metavar="ID", help="license of the excerpts")


def run(options: argparse.Namespace) -> int:
    """Package and upload the model."""
    from asteroid_waveunet.experiment import config
    from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
    from asteroid_waveunet.experiment.publishing import package

    exp = expanded(options.experiment)
    if not (exp / "conf.yml").is_file():
        raise FileNotFoundError(
            f"{exp} has no conf.yml; expected the folder of an experiment, such as "
            "recipes/musdb18/exp/demo, which recipes/musdb18/run.sh writes."
        )
    places = ExperimentDir(exp, exp.resolve().parents[1] / "data")
    given = {name: getattr(options, name) for name in SETTINGS}
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = config.load(places.conf, overrides)
    if settings.publishing.repo_id is None and not options.dry_run:
        raise ValueError("No repository given; add --repo-id user/name, or try --dry-run.")
    package.publish(settings, places, options.dry_run)
    return 0
