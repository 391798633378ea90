"""Plans the trainings of a comparison, and puts its experiments into one table; see compare.sh."""

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

from configure import refuse_changes, settle

from asteroid_waveunet.experiment.config import load, parse_overrides
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import model_cost
from asteroid_waveunet.experiment.report import benchmark_table
from asteroid_waveunet.experiment.stages import Places, check_data, plainly
from asteroid_waveunet.experiment.training.signals import Interrupted
from asteroid_waveunet.file_utils import replacing

CONFIGURATIONS = Path(__file__).with_name("conf")


def plan(minutes, experiment, overrides):
    """Prints rows "name configuration options", each with --epoch_length for so much music.

    What is wrong with settings or data is said here once, before any system begins.
    """
    if not 0 < minutes < math.inf:
        raise ValueError(f"minutes is {minutes:g}; expected a number above 0.")
    if "epoch_length" in overrides:
        raise ValueError("epoch_length follows from --minutes here; expected that one alone.")
    rows = [row.strip() for row in sys.stdin]
    for row in rows:
        name, conf, *options = shlex.split(row)
        places = experiment(name)
        given = {**parse_overrides(options), **overrides}
        try:
            configuration = settle(CONFIGURATIONS / f"{conf}.yml", given)
            if row == rows[0]:
                check_data(configuration, places, os.environ.get("ACCEPT_LICENSE") == "true")
            length = benchmark_table.epoch_length(configuration, minutes)
            training = dataclasses.replace(configuration.training, epoch_length=length)
            if places.conf.is_file():
                refuse_changes(dataclasses.replace(configuration, training=training), places)
        except ValueError as reason:
            raise ValueError(f"{name}: {reason}") from reason
        print(row, "--epoch_length", length)


def tabulate(experiment, path, names):
    """Measures what the systems cost, prints the table and writes it."""
    signal.signal(signal.SIGTERM, end)
    entries, problems = {}, []
    for name in names:
        places = experiment(name)
        try:
            entries[name] = benchmark_table.read(name, load(places.conf), places)
        except (ValueError, OSError) as reason:
            problems.append(f"\n  {name}: {reason}")
    if entries:
        benchmark_table.check(list(entries.values()))  # before the minutes that it takes to measure
    for name, entry in entries.items():
        print(f"measuring {name}", file=sys.stderr)
        try:
            entries[name] = dataclasses.replace(entry, costs=measure(experiment(name)))
        except (ValueError, OSError) as reason:
            problems.append(f"\n  {name}: {reason}")
    if entries:
        write(benchmark_table.table(list(entries.values())), path)
    if problems:
        raise ValueError(f"The table lacks figures:{''.join(problems)}")
    if not entries:
        raise ValueError("There is no table: no system has scores yet.")


def end(number, frame):
    """Ends the process that measures as well."""
    raise Interrupted(number, "there is no new table")


def measure(places):
    """What a system costs as it separates noise that is like one of the test tracks."""
    configuration = load(places.conf)
    like = musdb.tracks(places.dataset(configuration.data), "test")[0].extent()
    return model_cost.measure(
        places.best_model,
        segment_length=configuration.scored_segments,
        fit_levels=configuration.evaluation.fit_levels,
        seconds=min(30.0, like.frames / like.sample_rate),
        sample_rate=like.sample_rate,
        channels=like.channels,
    )


def write(text, path):
    """Prints a table, and leaves it in a file."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    print(f"\n{text}\nTable             {path}")


def main():
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--storage", type=Path, required=True)
    common.add_argument("--tag", required=True)
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parts = parser.add_subparsers(dest="part", required=True)
    add = functools.partial(parts.add_parser, parents=[common], allow_abbrev=False)
    planning = add("plan", help=plan.__doc__)
    planning.add_argument("--minutes", type=float, required=True)
    planning.add_argument("--data", required=True)
    add("table", help=tabulate.__doc__).add_argument("names", nargs="*")
    known, rest = parser.parse_known_args()
    storage = known.storage.resolve()

    def experiment(name):
        return Places.of(storage / "exp" / f"{known.tag}_{name}", storage / "data")

    if known.part == "plan":
        plan(known.minutes, experiment, {**parse_overrides(rest), "dataset": known.data})
    else:
        tabulate(experiment, storage / "exp" / known.tag / "table.md", known.names)


if __name__ == "__main__":
    plainly(main)
