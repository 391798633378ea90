"""The folder of a report page: its templates, file names and allowed contents."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import jinja2

from asteroid_waveunet.experiment.evaluation.formatting import gain_in_decibels

__all__ = [
    "ASSETS",
    "PAGE",
    "TEMPLATES",
    "check_place",
    "file_names",
    "is_of",
    "template",
]

TEMPLATES = Path(__file__).with_name("templates")
ASSETS = ("player.css", "player.js", "report.css", "report.js")
PAGE = "index.html"
CONTENTS = {PAGE, *ASSETS, "charts", "audio"}
LEFT_BY_VIEWERS = {".DS_Store", "Thumbs.db"}


def check_place(folder: Path) -> None:
    """Raise an error if writing a report to `folder` would delete other files.

    Raises:
        ValueError: if the folder holds files that do not belong to a report.
    """
    others = sorted(set(os.listdir(folder)) - CONTENTS - LEFT_BY_VIEWERS) if folder.exists() else []
    if others:
        raise ValueError(
            f"{folder} holds files that do not belong to a report ({', '.join(others[:5])}) and"
            " would be deleted; name a new or empty folder, or an earlier report"
        )


def is_of(page: Path, made_from: str) -> bool:
    """Return True if `page` exists and was made from these contents; see `Report.made_from`."""
    return page.is_file() and f'content="{made_from}"' in page.read_text(encoding="utf-8")


def file_names(texts: Sequence[str], longest: int = 80) -> list[str]:
    """Return a unique name for each text, without suffix, that is safe in paths and URLs.

    >>> file_names(["Mötley / <Crüe>.", "a", "A", "漢字"])
    ['motley-crue', 'a', 'a-2', 'x']
    """
    names: list[str] = []
    for text in texts:
        ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower())[:longest].strip("-") or "x"
        candidates = [slug, *(f"{slug}-{n}" for n in range(2, len(names) + 2))]
        names.append(next(name for name in candidates if name not in names))
    return names


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["gain"] = gain_in_decibels
    return environment


def template(name: str) -> jinja2.Template:
    """Return a template of the page; undefined variables are errors and text is escaped."""
    return _environment().get_template(name)
