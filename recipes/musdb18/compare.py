"""Plan the trainings of a comparison and write its table; called by compare.sh."""

import interrupted  # noqa: F401  # isort: skip

import argparse
import dataclasses
import functools
import math
import os
import shlex
import signal
import sys
from pathlib import Path

from configure import load_checked, refuse_changes

from asteroid_waveunet.experiment.config import load, parse_overrides
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import model_cost
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.report import benchmark_table
from asteroid_waveunet.experiment.stages import check_data, exit_on_error
from asteroid_waveunet.experiment.training.signals import InterruptedBySignal
from asteroid_waveunet.file_utils import replacing

CONFIGURATIONS = Path(__file__).with_name("conf")


def plan(minutes, experiment_of, overrides):
    """Read rows "name conf options" from stdin; print each with the --epoch_length it needs.

    Settings and data are checked here, before any system is trained.
    """
    if not 0 < minutes < math.inf:
        raise ValueError(f"minutes is {minutes:g}; expected a number above 0.")
    if "epoch_length" in overrides:
        raise ValueError("--minutes determines epoch_length; remove --epoch_length.")
    rows = [row.strip() for row in sys.stdin]
    for row in rows:
        name, conf, *options = shlex.split(row)
        experiment = experiment_of(name)
        given = {**parse_overrides(options), **overrides}
        try:
            configuration = load_checked(CONFIGURATIONS / f"{conf}.yml", given)
            if row == rows[0]:
                check_data(configuration, experiment, os.environ.get("ACCEPT_LICENSE") == "true")
            length = benchmark_table.epoch_length(configuration, minutes)
            training = dataclasses.replace(configuration.training, epoch_length=length)
            if experiment.conf.is_file():
                refuse_changes(dataclasses.replace(configuration, training=training), experiment)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        print(row, "--epoch_length", length)


def tabulate(experiment_of, path, names):
    """Measure the cost of each system, print the table and write it."""
    signal.signal(signal.SIGTERM, interrupt)
    entries, problems = {}, []
    for name in names:
        experiment = experiment_of(name)
        try:
            entries[name] = benchmark_table.read(name, load(experiment.conf), experiment)
        except (ValueError, OSError) as error:
            problems.append(f"\n  {name}: {error}")
    if entries:
        benchmark_table.check(list(entries.values()))  # before measuring, which takes minutes
    for name, entry in entries.items():
        print(f"measuring {name}", file=sys.stderr)
        try:
            entries[name] = dataclasses.replace(entry, costs=measure(experiment_of(name)))
        except (ValueError, OSError) as error:
            problems.append(f"\n  {name}: {error}")
    if entries:
        write(benchmark_table.table(list(entries.values())), path)
    if problems:
        raise ValueError(f"The table is incomplete:{''.join(problems)}")
    if not entries:
        raise ValueError("No table was written: no system has scores yet.")


def interrupt(number, frame):
    """Raise in the main thread, which also ends the measuring process."""
    raise InterruptedBySignal(number, "no table was written")


def measure(experiment):
    """Measure the cost of separating noise in the format of a test track."""
    configuration = load(experiment.conf)
    data = configuration.data
    extent = musdb.tracks(experiment.dataset(data), "test", **data.tolerance)[0].extent()
    return model_cost.measure(
        experiment.best_model,
        segment_length=configuration.scored_segments,
        fit_levels=configuration.evaluation.fit_levels,
        seconds=min(30.0, extent.frames / extent.sample_rate),
        sample_rate=extent.sample_rate,
        channels=extent.channels,
    )


def write(text, path):
    """Print the table and save it."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    print(f"\n{text}\nTable             {path}")


def main():
    """Run the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--storage", type=Path, required=True, help="folder of exp/ and data/")
    common.add_argument("--tag", required=True, help="prefix of the experiments' names")
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parts = parser.add_subparsers(dest="part", required=True)
    add = functools.partial(parts.add_parser, parents=[common], allow_abbrev=False)
    planning = add("plan", help=plan.__doc__)
    planning.add_argument("--minutes", type=float, required=True, help="music per training")
    planning.add_argument("--data", required=True, help="folder or name of the data set")
    add("table", help=tabulate.__doc__).add_argument("names", nargs="*")
    known, rest = parser.parse_known_args()
    storage = known.storage.resolve()

    def experiment_of(name):
        return ExperimentDir(storage / "exp" / f"{known.tag}_{name}", storage / "data")

    if known.part == "plan":
        plan(known.minutes, experiment_of, {**parse_overrides(rest), "dataset": known.data})
    else:
        tabulate(experiment_of, storage / "exp" / known.tag / "table.md", known.names)


if __name__ == "__main__":
    exit_on_error(main)
