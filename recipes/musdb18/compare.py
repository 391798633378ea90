"""Plans the trainings of a comparison, and puts its experiments into one table; see compare.sh."""

import interrupted  # noqa: F401  # isort: skip

import argparse
import dataclasses
import os
import shlex
import signal
import sys
from pathlib import Path

from configure import folder_of

from asteroid_waveunet.experiment import costs, musdb, overview
from asteroid_waveunet.experiment.configuration import load, parse_overrides
from asteroid_waveunet.experiment.interruption import Interrupted
from asteroid_waveunet.experiment.stage import Places, check_data, plainly
from asteroid_waveunet.files import replacing

CONFIGURATIONS = Path(__file__).with_name("conf")


def plan(minutes, data, storage, overrides):
    """Prints rows "name configuration options", each with --epoch_length for so much music.

    What is wrong with settings or data is said here once, before any system begins.
    """
    if not minutes > 0:
        raise ValueError(f"minutes is {minutes:g}; expected a number above 0.")
    overrides = {**overrides, "dataset": folder_of(data)}
    rows = [row.strip() for row in sys.stdin]
    for row in rows:
        name, conf, *options = shlex.split(row)
        try:
            configuration = load(
                CONFIGURATIONS / f"{conf}.yml", {**parse_overrides(options), **overrides}
            )
        except ValueError as reason:
            raise ValueError(f"{name}: {reason}") from reason
        if row == rows[0]:
            places = Places.of(storage / "exp" / f"compare_{name}", storage / "data")
            check_data(configuration, places, os.environ.get("ACCEPT_LICENSE") == "true")
        print(row, "--epoch_length", overview.epoch_length(configuration, minutes))


def tabulate(storage, names):
    """Measures what the systems cost, prints the table and writes it."""
    signal.signal(signal.SIGTERM, end)
    entries, problems = [], []
    for name in names:
        places = Places.of(storage / "exp" / f"compare_{name}", storage / "data")
        print(f"measuring {name}", file=sys.stderr)
        try:
            configuration = load(places.conf)
            entries.append(overview.read(name, configuration, places))
            measured = measure(configuration, places)
            entries[-1] = dataclasses.replace(entries[-1], costs=measured)
        except (ValueError, OSError) as reason:
            problems.append(f"\n  {name}: {reason}")
    if entries:
        write(overview.table(entries), storage / "exp" / "compare" / "table.md")
    if problems:
        raise ValueError(f"The table lacks figures:{''.join(problems)}")
    if not entries:
        raise ValueError("There is no table: no system has scores yet.")


def end(number, frame):
    """Ends the process that measures as well."""
    raise Interrupted(number, "there is no new table")


def measure(configuration, places):
    """What a system costs as it separates noise that is like one of the test tracks."""
    like = musdb.tracks(places.dataset(configuration.data), "test")[0].extent()
    return costs.measure(
        places.best_model,
        segment_length=configuration.scored_segments,
        fit_levels=configuration.evaluation.fit_levels,
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
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parts = parser.add_subparsers(dest="part", required=True)
    planning = parts.add_parser("plan", help=plan.__doc__, allow_abbrev=False)
    planning.add_argument("--minutes", type=float, required=True)
    planning.add_argument("--data", required=True)
    planning.add_argument("--storage", type=Path, required=True)
    tabulating = parts.add_parser("table", help=tabulate.__doc__, allow_abbrev=False)
    tabulating.add_argument("--storage", type=Path, required=True)
    tabulating.add_argument("names", nargs="*")
    known, rest = parser.parse_known_args()
    if known.part == "plan":
        plan(known.minutes, known.data, known.storage, parse_overrides(rest))
    else:
        tabulate(known.storage.resolve(), known.names)


if __name__ == "__main__":
    plainly(main)
