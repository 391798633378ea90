"""Names and order of the streams of a `.stem.mp4` file.

Native Instruments' format, which DJ software reads, stores the names of all streams but the
first (the mixture) as JSON in the box `moov/udta/stem`. MUSDB18's readers (musdb, stempeg) go by
the order of the streams.
"""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from asteroid_waveunet.audio.container import require_pyav, url
from asteroid_waveunet.audio.file_structure.boxes import find_box, iterate_boxes

__all__ = ["MUSDB_ORDER", "add_names", "in_musdb_order", "read_names", "stems_of"]

MUSDB_ORDER = ("drums", "bass", "other", "vocals")  # after the mixture; musdb's configs/mus.yaml
ALIASES = {"drum": "drums", "vocal": "vocals", "vox": "vocals", "others": "other"}
PLACEHOLDER = re.compile(r"(stem|track|stream|audio)?[\s_-]*\d*|(sound|gpac).*handler.*", re.I)
COLORS = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")  # of MUSDB18's files

# Values of MUSDB18's files; both are off.
MASTERING = {
    "compressor": {
        "enabled": False,
        "ratio": 3,
        "input_gain": 0.5,
        "output_gain": 0.5,
        "attack": 0.003,
        "release": 0.3,
        "threshold": 0,
        "hp_cutoff": 300,
        "dry_wet": 50,
    },
    "limiter": {"enabled": False, "release": 0.05, "threshold": 0, "ceiling": -0.35},
}


def in_musdb_order(names: Sequence[str]) -> list[str]:
    """Return MUSDB18's stems in its order, then the others; "Drum" is "drums".

    >>> in_musdb_order(["bass", "drums", "guitar", "other", "vocals"])
    ['drums', 'bass', 'other', 'vocals', 'guitar']
    """
    by_stem = {_plain(name): name for name in reversed(names)}
    known = [by_stem[stem] for stem in MUSDB_ORDER if stem in by_stem]
    return known + [name for name in names if name not in known]


def add_names(path: Path, names: Sequence[str]) -> None:
    """Add the box with the names of the stems to a file whose index is at its end.

    Args:
        names: of all streams but the first.
    """
    stems = [
        {"name": name, "color": COLORS[index % len(COLORS)]} for index, name in enumerate(names)
    ]
    content = {"mastering_dsp": MASTERING, "version": 1, "stems": stems}
    with path.open("r+b") as file:
        boxes = {name: (start, end) for name, start, end in iterate_boxes(file, 0, _size(file))}
        start, end = boxes[b"moov"]
        if end != _size(file):
            raise ValueError(f"{path} cannot be given names: its index is not at its end.")
        inner = {name: (a, b) for name, a, b in iterate_boxes(file, start + 8, end)}
        children = b""
        if b"udta" in inner:  # moved to the end
            udta_start, udta_end = inner[b"udta"]
            file.seek(udta_start)
            udta = file.read(udta_end - udta_start)
            rest = file.read(end - udta_end)
            children = udta[8:]
        else:
            udta_start, rest = end, b""
        children += _box(b"stem", json.dumps(content).encode())
        file.seek(udta_start)
        file.write(rest + _box(b"udta", children))
        file.truncate()
        size = file.tell() - start
        file.seek(start)
        file.write(struct.pack(">I", size))


def read_names(path: Path) -> tuple[str, ...] | None:
    """Return the names of all audio streams but the first, in lower case, as MUSDB18 names them.

    The names are those of Native Instruments' box, or else the streams' titles.

    Returns:
        None if the file has no names, or not one of its own for each stream.
    Raises:
        ValueError, OSError: if the file cannot be read.
    """
    av = require_pyav()
    try:
        with av.open(url(path)) as container:
            streams = container.streams.audio[1:]
            titles = [
                stream.metadata.get("title")
                or stream.metadata.get("name")
                or stream.metadata.get("handler_name", "")
                for stream in streams
            ]
    except av.error.FFmpegError as reason:
        raise ValueError(f"{path} cannot be read as a stem file: {reason.strerror}.") from reason
    for names in (_names_in_box(path), titles):
        plain = tuple(map(_plain, names))
        is_named = not any(PLACEHOLDER.fullmatch(name) for name in plain)
        if len(plain) == len(set(plain)) == len(titles) and is_named:
            return plain
    return None


def _plain(name: str) -> str:
    """Return a name as MUSDB18 writes it."""
    plain = name.strip().lower()
    return ALIASES.get(plain, plain)


def stems_of(path: Path) -> tuple[str, ...]:
    """Return the names of all streams but the first; MUSDB18's if the file has none."""
    try:
        names = read_names(path)
    except (ValueError, OSError):  # for the reader to report
        names = None
    return MUSDB_ORDER if names is None else names


def _names_in_box(path: Path) -> list[str]:
    with path.open("rb") as file, contextlib.suppress(ValueError, TypeError, KeyError):
        found = find_box(file, b"stem", 0, _size(file))
        if found is not None:
            file.seek(found[0] + 8)
            content = file.read(found[1] - found[0] - 8)
            return [str(stem["name"]) for stem in json.loads(content)["stems"]]
    return []


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)
