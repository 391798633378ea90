"""Safe extraction of untrusted zip files."""

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

from asteroid_waveunet.experiment.disk import check_free_space, explain_full_disk, format_size

__all__ = ["unzip"]

BLOCK = 2**20  # bytes
# Music compresses to about half its size, silence to almost nothing; a zip bomb a thousandfold.
MAX_EXPANSION = 50

# Raised by zipfile for damaged files; NotImplementedError for unknown compression methods,
# UnicodeDecodeError for damaged names. See also `_seeks_before_start`.
DAMAGE_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
    UnicodeDecodeError,
)  # fmt: skip


def _leaves_folder(entry: zipfile.ZipInfo) -> bool:
    # Windows' rules cover POSIX's as well.
    path = PureWindowsPath(entry.filename)
    return bool(path.anchor) or ".." in path.parts


def _is_special(entry: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


FAULTS: dict[str, Callable[[zipfile.ZipInfo], bool]] = {
    "would be written outside of the folder": _leaves_folder,
    "is a link or a device": _is_special,
    "is encrypted": lambda entry: bool(entry.flag_bits & 1),
}


def unzip(archive: str | os.PathLike, folder: str | os.PathLike, progress: bool = True) -> None:
    """Extract a zip after checking its table of contents.

    Args:
        folder: created if missing; files of the same names are overwritten.
        progress: show a progress bar.
    Raises:
        NoSpace: if there is too little disk space for the contents.
        ValueError: if the file is not a zip, truncated or damaged; or contains paths outside of
            the folder, links, a name twice, or far more data than its size allows for music.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            _check(archive, entries)
            total = sum(entry.file_size for entry in entries)
            check_free_space(folder, total, f"Unzipping {archive.name}")
            bar = tqdm(
                total=total, desc=f"unpacking {archive.name}", unit="B", unit_scale=True,
                disable=not progress,
            )  # fmt: skip
            with bar, explain_full_disk(folder, f"the contents of {archive.name}", total):
                for entry in entries:
                    _extract(opened, entry, folder, bar.update)
    except (*DAMAGE_ERRORS, OSError) as reason:
        if isinstance(reason, OSError) and not _seeks_before_start(reason):
            raise
        raise ValueError(
            f"{archive} is not a zip file, or truncated or damaged ({reason}). Delete it, and "
            "download it again."
        ) from reason


def _seeks_before_start(reason: OSError) -> bool:
    """Recognise the error of a damaged table of contents that points before the file's start.

    A path that the file system rejects has the same errno, but also a file name.
    """
    return reason.errno == errno.EINVAL and reason.filename is None


def _check(archive: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Check the table of contents.

    Raises:
        ValueError: for an entry of `FAULTS`, a duplicate name, or an implausible total size.
    """
    names = set()
    for entry in entries:
        for fault, applies in FAULTS.items():
            if applies(entry):
                raise ValueError(
                    f"{archive} was not unpacked: {entry.filename!r} {fault}. Download it again "
                    "from its original source."
                )
        if entry.filename in names:
            raise ValueError(f"{archive} was not unpacked: it contains {entry.filename!r} twice.")
        names.add(entry.filename)
    total = sum(entry.file_size for entry in entries)
    if total > MAX_EXPANSION * archive.stat().st_size:
        raise ValueError(
            f"{archive} was not unpacked: its {format_size(archive.stat().st_size)} claim to "
            f"contain {format_size(total)}, which is impossible for music."
        )


def _extract(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, update: Callable[[int], object]
) -> None:
    """Write one entry and sync it to disk, because the zip may be deleted afterwards."""
    path = folder / entry.filename
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # zipfile reads at most the declared size and checks the CRC at the end.
    with opened.open(entry) as source, path.open("wb") as target:
        while block := source.read(BLOCK):
            target.write(block)
            update(len(block))
        target.flush()
        os.fsync(target.fileno())
