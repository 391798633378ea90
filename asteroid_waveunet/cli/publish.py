"""`waveunet publish`: upload a model, or a page that separates songs, to the Hugging Face Hub."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from asteroid_waveunet.cli.common import MODEL_HELP
from asteroid_waveunet.file_utils import expanded

if TYPE_CHECKING:
    from asteroid_waveunet.experiment.publishing.space import Page

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
        "again resumes an interrupted upload, and makes no commit if nothing has changed. With "
        "--space, publish a page that separates songs in the browser, of an experiment or of any "
        "model."
    )
    add = parser.add_argument
    add("experiment", metavar="EXP", help=f"an experiment's folder, exp/TAG; with --space also a "
        f"model ({MODEL_HELP})")  # fmt: skip
    add("--repo-id", "--repo_id", metavar="USER/NAME", help="the model's name on the Hub")
    add("--space", metavar="USER/NAME", help="the name of a static Space on the Hub, for the page")
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
        if options.space:
            return _publish_page_of_model(options)
        raise FileNotFoundError(
            f"{exp} has no conf.yml; expected the folder of an experiment, such as "
            "recipes/musdb18/exp/demo, which recipes/musdb18/run.sh writes."
        )
    places = ExperimentDir(exp, exp.resolve().parents[1] / "data")
    given = {name: getattr(options, name) for name in SETTINGS}
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = config.load(places.conf, overrides)
    if options.repo_id is not None or not options.space:
        if settings.publishing.repo_id is None and not options.dry_run:
            raise ValueError("No repository given; add --repo-id user/name, or try --dry-run.")
        package.publish(settings, places, options.dry_run)
    if options.space:
        from asteroid_waveunet.experiment.publishing import space

        _publish_page(options, space.Page.of_experiment(settings, places))
    return 0


def _publish_page_of_model(options: argparse.Namespace) -> int:
    """Publish the page of a model that is no experiment."""
    from asteroid_waveunet.experiment.publishing import space

    others = [name for name in SETTINGS if name not in ("private", "revision", "license")]
    given = [f"--{name.replace('_', '-')}" for name in others if getattr(options, name) is not None]
    if given:
        raise ValueError(
            f"{', '.join(given)} only apply to an experiment's folder, which {options.experiment} "
            "is not."
        )
    _publish_page(options, space.Page.of_model(options.experiment, options.license))
    return 0


def _publish_page(options: argparse.Namespace, page: Page) -> None:
    from asteroid_waveunet.experiment.publishing import space

    space.publish(page, options.space, options.private, options.revision, options.dry_run)
