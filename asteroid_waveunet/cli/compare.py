"""`waveunet compare`: compare two sets of scores, track by track."""

from __future__ import annotations

import argparse
from pathlib import Path

from asteroid_waveunet.cli.choices import METRICS
from asteroid_waveunet.file_utils import expanded

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Print the difference of two systems' scores with bootstrap intervals over tracks. FIRST "
        "and SECOND are folders with one json per track, written by `waveunet evaluate` or museval "
        "(such as a submission to SiSEC 2018), or OUT/baselines/mixture."
    )
    add = parser.add_argument
    add("first", metavar="FIRST", type=Path)
    add("second", metavar="SECOND", type=Path)
    add("--metric", choices=METRICS, default="SDR", help="(default: SDR)")


def run(options: argparse.Namespace) -> int:
    """Print the comparison."""
    from asteroid_waveunet.experiment.evaluation import paired_comparison

    folders = (expanded(options.first), expanded(options.second))
    first, second = map(paired_comparison.load, folders)
    found = paired_comparison.compare(first, second, options.metric)
    print(paired_comparison.table(found, _labels(*folders), options.metric))
    for omission in paired_comparison.unmatched(first, second):
        print(f"Not compared: {omission}.")
    return 0


def _labels(first: Path, second: Path) -> tuple[str, str]:
    """Return the shortest endings of two paths that differ."""
    one, other = first.resolve().parts, second.resolve().parts
    for n in range(1, max(len(one), len(other)) + 1):
        if one[-n:] != other[-n:]:
            return "/".join(one[-n:]), "/".join(other[-n:])
    raise ValueError(f"{first} and {second} are the same folder; expected two.")
