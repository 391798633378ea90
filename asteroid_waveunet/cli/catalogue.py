"""The part of `waveunet separate` for catalogues: URLs, manifests and clusters."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from asteroid_waveunet.cli import common
from asteroid_waveunet.cli.streams.pipes import PIPE
from asteroid_waveunet.cloud.storage import is_url

if TYPE_CHECKING:
    from asteroid_waveunet.separation.stem_options import StemOptions

__all__ = ["add_options", "is_one", "run", "stem_options"]

# Options that are arguments of the same names of `separate_catalogue`.
SAME = (
    *("manifest", "cluster", "workers", "cpus_per_worker", "gpus_per_worker", "jobs", "device"),
    *("scratch", "name", "overwrite", "skip_existing", "verify"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of catalogues."""
    add = parser.add_argument_group(
        "catalogues", "SONG and OUT may be URLs (s3://, gs://, hf://, https:// ...)."
    ).add_argument
    add("--manifest", metavar="FILE", help="jsonl, csv or parquet file or URL with a path a row")
    common.add_cluster_options(add)
    add("--workers", type=int, metavar="N", help="(default: as many as the cluster has room for)")
    add("--scratch", metavar="DIR", help="for temporary files (default: the system's folder)")
    add(
        "--verify",
        action="store_true",
        help="look up each song's record and stems; else the log of earlier runs is believed where "
        "it has more than 5000 songs",
    )


def is_one(options: argparse.Namespace) -> bool:
    """Return True if the command line is about a catalogue."""
    places = [*options.songs, options.output]
    settings = ("cluster", "workers", "cpus_per_worker", "gpus_per_worker", "scratch")
    is_set = any(getattr(options, name) is not None for name in settings)
    return bool(options.manifest or options.verify or is_set or any(map(is_url, places)))


def stem_options(options: argparse.Namespace) -> StemOptions:
    """Return the options that decide what the stems hold."""
    from asteroid_waveunet.separation.stem_options import StemOptions

    fields = dataclasses.fields(StemOptions)
    return StemOptions(**{field.name: getattr(options, field.name) for field in fields})


def run(options: argparse.Namespace, default_model: Callable[[], str]) -> int:
    """Separate a catalogue.

    Args:
        default_model: returns the model to use if none is named.
    """
    from asteroid_waveunet.catalogue.separate_catalogue import separate_catalogue

    if PIPE in (options.output, *options.songs):
        raise ValueError(
            "- does not go together with URLs and options of catalogues, such as --manifest and "
            "--cluster; see --help."
        )
    found = separate_catalogue(
        options.songs,
        options.output,
        options.model or default_model(),
        **{name: getattr(options, name) for name in SAME},
        **dataclasses.asdict(stem_options(options)),
    )
    print(found.as_text())
    n_failed = found.failed + found.quarantined
    if n_failed:
        print(f"{n_failed} of {found.songs} songs failed:", file=sys.stderr)
        for song, reason in found.reasons.items():
            print(f"  {reason if song in reason else f'{song}: {reason}'}", file=sys.stderr)
        if n_failed > len(found.reasons):
            print(f"  ... all reasons are in {found.catalogue}", file=sys.stderr)
    return 1 if n_failed else 0
