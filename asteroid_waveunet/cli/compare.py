"""`waveunet compare`: two sets of scores, track by track."""

from __future__ import annotations

import argparse
from pathlib import Path

from asteroid_waveunet.cli.common import printable

__all__ = ["add_options", "compare"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the description and options of the command."""
    parser.description = (
        "Prints the difference of two systems' scores with bootstrap intervals over "
        "tracks. FIRST and SECOND are folders that `waveunet evaluate` or museval left (a json a "
        "track), such as a submission to SiSEC 2018, or OUT/baselines/mixture."
    )
    add = parser.add_argument
    add("first", metavar="FIRST", type=Path)
    add("second", metavar="SECOND", type=Path)
    add("--metric", choices=("SDR", "SIR", "ISR", "SAR"), default="SDR", help="(default: SDR)")
    parser.set_defaults(command=compare)


def compare(options: argparse.Namespace) -> int:
    """`waveunet compare`."""
    from asteroid_waveunet.experiment.evaluation import paired_comparison

    folders = (options.first.expanduser(), options.second.expanduser())
    first, second = map(paired_comparison.load, folders)
    found = paired_comparison.compare(first, second, options.metric)
    print(printable(paired_comparison.table(found, _names(*folders), options.metric)))
    for what in paired_comparison.unmatched(first, second):
        print(printable(f"Not compared, {what}."))
    return 0


def _names(first: Path, second: Path) -> tuple[str, str]:
    """What tells two folders apart: the shortest ends of their paths that differ."""
    one, other = first.resolve().parts, second.resolve().parts
    for n in range(1, max(len(one), len(other)) + 1):
        if one[-n:] != other[-n:]:
            return "/".join(one[-n:]), "/".join(other[-n:])
    raise ValueError(f"{first} and {second} are the same folder; there is nothing to compare.")
