"""`waveunet export`: one hop of a model for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..export import FORMATS as EXPORT_FORMATS
from ..export import export_step
from .shared import check_writable, load

__all__ = ["add", "export"]


def add(commands: Any) -> None:
    """Adds the command to those of `waveunet`."""
    parser = commands.add_parser(
        "export",
        help="write one hop of a model for other programs",
        description="Writes a model as a function of one hop of the mixture and a state, zeros "
        "before a track, whose results are estimates and the next state. Estimates are not "
        "limited to full scale.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder, file, Hub name (user/model) or preset")
    add("-o", "--output", required=True, metavar="FILE")
    suffixes = " or ".join(f"{form} for {kind.suffix}" for form, kind in EXPORT_FORMATS.items())
    add("--format", choices=EXPORT_FORMATS, help=f"(default: {suffixes})")
    add("--hop", type=int, metavar="N", help="samples per call, a multiple of the model's step")
    add("--batch-size", type=int, default=1, metavar="N", help="(default: %(default)s)")
    parser.set_defaults(command=export)


def export(options: argparse.Namespace) -> int:
    """`waveunet export`."""
    path = Path(options.output).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file.")
    suffixes = {kind.suffix: form for form, kind in EXPORT_FORMATS.items()}
    form = options.format or suffixes.get(path.suffix)
    if form is None:
        known = " or ".join(suffixes)
        raise ValueError(f"{path} does not end in {known}; say which with --format.")
    check_writable(path.parent)
    exported = export_step(load(options.model), path, form, options.hop, options.batch_size)
    print(path)
    for name, value in exported.metadata.items():
        print(f"  {name}: {' '.join(value.splitlines())}")
    return 0
