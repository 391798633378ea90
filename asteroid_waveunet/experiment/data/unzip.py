"""A zip that may come from anywhere, unpacked so that it can do no harm."""

from __future__ import annotations

import errno
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PureWindowsPath

from tqdm import tqdm

from asteroid_waveunet.experiment.disk import check_room, gigabytes, room_explained

__all__ = ["unpack"]

BLOCK = 2**20
# Music shrinks to half its size, silence to nothing; a zip that is to fill a disk, a thousandfold.
MOST_EXPANSION = 50

# What zipfile raises of a file that is none, or not as it was; the last two, of unknown compression
# and of names; and see `_leads_nowhere`.
DAMAGES = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
    UnicodeDecodeError,
)  # fmt: skip


def _leaves(entry: zipfile.ZipInfo) -> bool:
    # As Windows reads a path it has more ways out, and all of POSIX's.
    path = PureWindowsPath(entry.filename)
    return bool(path.anchor) or ".." in path.parts


def _is_special(entry: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


FAULTS: dict[str, Callable[[zipfile.ZipInfo], bool]] = {
    "would be written outside of the folder": _leaves,
    "is a link or a device": _is_special,
    "is encrypted": lambda entry: bool(entry.flag_bits & 1),
}


def unpack(archive: str | os.PathLike, folder: str | os.PathLike, progress: bool = True) -> None:
    """Unpacks a zip; everything about it that can be known before is checked before.

    Args:
        folder: made if it is not there; files in it of the zip's names are written anew.
        progress: whether to show a bar.
    Raises:
        NoSpace: if there is no room for what is in it.
        ValueError: if it is no zip, truncated or damaged; or holds what could be written outside of
            the folder, links, one name twice, or far more than it could of music.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            _check(archive, entries)
            total = sum(entry.file_size for entry in entries)
            check_room(folder, total, f"What is in {archive.name}")
            bar = tqdm(
                total=total, desc=f"unpacking {archive.name}", unit="B", unit_scale=True,
                disable=not progress,
            )  # fmt: skip
            with bar, room_explained(folder, f"what is in {archive.name}", total):
                for entry in entries:
                    _write(opened, entry, folder, bar.update)
    except (*DAMAGES, OSError) as reason:
        if isinstance(reason, OSError) and not _leads_nowhere(reason):
            raise
        raise ValueError(
            f"{archive} cannot be unpacked: it is no zip, truncated or damaged ({reason}). Delete "
            "it, and get it again."
        ) from reason


def _leads_nowhere(reason: OSError) -> bool:
    """Whether a damaged table of contents pointed before the file's beginning.

    A path that a file system does not take is an invalid argument too, but then it is named.
    """
    return reason.errno == errno.EINVAL and reason.filename is None


def _check(archive: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses a zip for what its table of contents says."""
    names = set()
    for entry in entries:
        for fault, found in FAULTS.items():
            if found(entry):
                raise ValueError(
                    f"{archive} was not unpacked: in it {entry.filename!r} {fault}. Get it again, "
                    "from where it was published."
                )
        if entry.filename in names:
            raise ValueError(f"{archive} was not unpacked: it holds {entry.filename!r} twice.")
        names.add(entry.filename)
    total = sum(entry.file_size for entry in entries)
    if total > MOST_EXPANSION * archive.stat().st_size:
        raise ValueError(
            f"{archive} was not unpacked: its {gigabytes(archive.stat().st_size)} claim to hold "
            f"{gigabytes(total)}, which no music does."
        )


def _write(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, told: Callable[[int], object]
) -> None:
    """Writes one entry, to the disk itself: the zip may be deleted afterwards."""
    path = folder / entry.filename
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # zipfile reads no more than the size that was declared, and compares the checksum at the end.
    with opened.open(entry) as source, path.open("wb") as target:
        while block := source.read(BLOCK):
            target.write(block)
            told(len(block))
        target.flush()
        os.fsync(target.fileno())
