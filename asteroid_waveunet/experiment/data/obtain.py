"""Download, unpack and check the known data sets.

DATA_DIR/musdb18hq.zip          the zip, placed by hand or downloaded
DATA_DIR/.musdb18hq.downloaded  marks a downloaded zip, which is deleted after unpacking
DATA_DIR/.musdb18hq.unpacking   its contents while they are unpacked
DATA_DIR/musdb18hq              the data set; it appears only when complete
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.data import download, musdb
from asteroid_waveunet.experiment.data.corpora import Corpus, PlaceFile, visible_files
from asteroid_waveunet.experiment.data.unzip import unzip
from asteroid_waveunet.file_locks import locked

__all__ = ["check_complete", "check_obtainable", "exists", "obtain"]


def obtain(
    corpus: Corpus,
    data_dir: str | os.PathLike,
    accepted: bool = False,
    keep_archive: bool = False,
    progress: bool = True,
) -> Path:
    """Return the folder of a data set; download and unpack it first if it does not exist.

    An interrupted call is resumed. A zip placed by hand is checked, used and kept; a downloaded
    zip is deleted after unpacking.

    Args:
        corpus: one of `CORPORA`.
        data_dir: parent of the zip and the folder.
        accepted: accept the data set's terms; nothing is downloaded otherwise.
        keep_archive: keep a downloaded zip.
        progress: show progress bars.
    Raises:
        PermissionError: if the terms are not accepted, or access is restricted.
        ValueError: if the zip has another checksum, is damaged or unsafe, or tracks are missing.
        NoSpace, OSError: as `download.download` and `unzip`.
    """
    data_dir = Path(data_dir)
    root = data_dir / corpus.name
    if not exists(corpus, data_dir):
        check_obtainable(corpus, data_dir, accepted)
        print(f"{corpus.name}: {corpus.terms}")
        with locked(root):
            if not exists(corpus, data_dir):  # another process may have obtained it meanwhile
                _obtain(corpus, data_dir, keep_archive, progress)
    _check_folder(corpus, data_dir)
    if not keep_archive:
        _delete_archive(corpus, data_dir)
    return root


def exists(corpus: Corpus, data_dir: str | os.PathLike) -> bool:
    """Check for a non-empty folder of the data set's name."""
    return bool(visible_files(Path(data_dir) / corpus.name))


def check_obtainable(corpus: Corpus, data_dir: str | os.PathLike, accepted: bool) -> None:
    """Check, without network access, that a data set exists or can be obtained.

    Raises:
        PermissionError: if it must be downloaded, and its terms are not accepted.
        FileNotFoundError: if it has to be placed by hand.
        ValueError: if its folder is incomplete, or the path is not a folder.
    """
    data_dir = Path(data_dir)
    if exists(corpus, data_dir):
        return _check_folder(corpus, data_dir)
    _check_replaceable(data_dir / corpus.name)
    if (data_dir / corpus.archive).is_file() or visible_files(data_dir / corpus.raw):
        return
    if corpus.url is None:
        raise FileNotFoundError(
            f"{data_dir / corpus.name} does not exist, and {corpus.name} cannot be downloaded "
            f"automatically.\n  {corpus.terms}\n{corpus.instructions(data_dir)}"
        )
    if not accepted:
        size = disk.format_size(corpus.size or 0)
        raise PermissionError(
            f"{data_dir / corpus.name} does not exist. Accept its terms with --accept_license to "
            f"download it ({corpus.archive}, {size}):\n  {corpus.terms}\n"
            f"  {corpus.page}\n{corpus.instructions(data_dir)}"
        )


def check_complete(corpus: Corpus, root: Path) -> None:
    """Check the number of tracks, their stems and that no file is empty, without decoding audio.

    Raises:
        FileNotFoundError: if a subset is missing.
        ValueError: if there are too few or too many tracks, one of `corpus.names` is missing,
            tracks lack stems, or files are empty or another data set's.
    """
    for subset, expected in corpus.tracks.items():
        found = musdb.tracks(root, subset)
        missing = corpus.names - {track.name for track in found} if subset == "train" else ()
        if len(found) != expected or missing:
            without = f" (without {', '.join(sorted(missing))})" if missing else ""
            raise ValueError(
                f"{root / subset} has {len(found)} tracks{without}; {corpus.name} has {expected}"
            )
        if found[0].stems != corpus.stems:
            raise ValueError(
                f"the tracks of {root / subset} have the stems {', '.join(found[0].stems)}; those "
                f"of {corpus.name} have {', '.join(corpus.stems)}"
            )
        files = [file for track in found for file in track.files()]
        other = [str(file) for file in files if not file.name.lower().endswith(corpus.suffix)]
        if other:
            raise ValueError(
                f"{', '.join(other[:3])} is of another data set; the files of {corpus.name} are "
                f"{corpus.suffix}"
            )
        empty = [str(file) for file in files if not file.stat().st_size]
        if empty:
            raise ValueError(f"empty files: {', '.join(empty[:5])}")


def _check_folder(corpus: Corpus, data_dir: Path) -> None:
    """Check an existing data set.

    Raises:
        ValueError: if it is incomplete, with the remedy.
    """
    root = data_dir / corpus.name
    try:
        check_complete(corpus, root)
    except (ValueError, FileNotFoundError) as reason:
        raise ValueError(
            f"{root} is not a complete {corpus.name}: {reason}. Delete the folder, and run the "
            f"command again{_zip_hint(corpus, data_dir)}; or use your own folder with --data DIR."
        ) from reason


def _zip_hint(corpus: Corpus, data_dir: Path) -> str:
    archive = data_dir / corpus.archive
    return f" (it will use {archive})" if archive.is_file() else ""


# os.replace can put a folder in place of an empty folder, but not of these.
NOT_REPLACEABLE: dict[str, Callable[[Path], bool]] = {
    "a link": Path.is_symlink,
    "a mount point": os.path.ismount,
    "a file": Path.is_file,
}


def _check_replaceable(root: Path) -> None:
    """Check that a new folder can be renamed to `root`.

    Raises:
        ValueError: if it is a link, a mount point or a file.
    """
    for kind, is_kind in NOT_REPLACEABLE.items():
        if is_kind(root):
            raise ValueError(
                f"{root} is {kind} without a data set, and a new folder cannot replace it. "
                f"Remove it; to store data sets on another disk, link {root.parent} itself there, "
                "or use --storage DIR."
            )


def _obtain(corpus: Corpus, data_dir: Path, keep_archive: bool, progress: bool) -> None:
    """Create the data set's folder from its unpacked folder, its zip or a download."""
    archive, raw, marker = (data_dir / n for n in (corpus.archive, corpus.raw, corpus.marker))
    if visible_files(raw):
        _place(corpus, raw, data_dir, _link_or_copy)
        return
    if archive.is_file():
        _check_archive(corpus, archive, progress)
    else:
        _download(corpus, data_dir, progress)
        marker.write_text(str(archive.stat().st_mtime_ns), encoding="utf-8")
    if keep_archive:
        marker.unlink(missing_ok=True)
    unpacked = data_dir / f".{corpus.name}.unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        unzip(archive, unpacked, progress)
        _place(corpus, unpacked, data_dir, os.replace)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _delete_archive(corpus: Corpus, data_dir: Path) -> None:
    """Delete a downloaded zip; report that one placed by hand is no longer needed."""
    archive, marker = data_dir / corpus.archive, data_dir / corpus.marker
    with contextlib.suppress(FileNotFoundError):  # another process may delete it too
        if _was_downloaded(archive, marker):
            archive.unlink()
            marker.unlink()
        elif archive.is_file():
            print(f"{archive} is no longer needed.")


def _was_downloaded(archive: Path, marker: Path) -> bool:
    """Compare the modification time in the marker, so that a zip placed later is not deleted."""
    return marker.is_file() and marker.read_text(encoding="utf-8") == str(
        archive.stat().st_mtime_ns
    )


def _download(corpus: Corpus, data_dir: Path, progress: bool) -> None:
    """Download the zip.

    Raises:
        OSError: as `download.download`, with instructions for placing the zip by hand.
    """
    archive = data_dir / corpus.archive
    assert corpus.url is not None and corpus.size is not None
    free = disk.free_space(data_dir)
    if free < corpus.size + corpus.unpacked:
        print(
            f"{corpus.archive} ({disk.format_size(corpus.size)}) and its contents (about "
            f"{disk.format_size(corpus.unpacked)}) may not fit {data_dir}, where "
            f"{disk.format_size(free)} are free."
        )
    try:
        download.download(corpus.url, archive, corpus.size, corpus.md5, progress)
    except download.Restricted as reason:
        raise PermissionError(
            f"{reason} Access to {corpus.name} is restricted; you may have to request it at "
            f"{corpus.page} .\n{corpus.instructions(data_dir)}"
        ) from reason
    except OSError as reason:
        if isinstance(reason, disk.NoSpace) or reason.errno is not None:
            raise  # a local error, not the server's
        raise type(reason)(f"{reason}\n{corpus.instructions(data_dir)}") from reason


def _check_archive(corpus: Corpus, archive: Path, progress: bool) -> None:
    """Check the size and md5 of a zip placed by hand.

    Raises:
        ValueError: if they differ and `corpus.pinned`.
    """
    try:
        download.check(archive, corpus.size, corpus.md5, progress)
    except ValueError as reason:
        if corpus.pinned:
            raise ValueError(
                f"{reason} It is not the {corpus.archive} of {corpus.page} , or it is damaged or "
                "incomplete. Delete it, or get it again."
            ) from reason
        print(f"{reason} It is used if it contains the {corpus.tracks['train']} songs.")


def _place(corpus: Corpus, found: Path, data_dir: Path, place: PlaceFile) -> None:
    """Create the data set's folder from unpacked files, after checking that all are there.

    Args:
        found: `corpus.raw`, unpacked by hand, or the folder that the zip was unpacked to.
        place: moves or links one file into the new folder.
    Raises:
        ValueError: if files are missing.
    """
    new, root = data_dir / f".{corpus.name}.new", data_dir / corpus.name
    name, advice = corpus.archive, f"Get it again, see {corpus.page} ."
    if found == data_dir / corpus.raw:
        name, hint = corpus.raw, _zip_hint(corpus, data_dir)
        advice = f"Delete the folder {found}, and run the command again{hint}." if hint else advice
    shutil.rmtree(new, ignore_errors=True)
    try:
        arranged = corpus.arrange(found, new, place)
        if arranged is None:
            raise ValueError(f"{name} is not {corpus.name}; expected {corpus.layout}. {advice}")
        try:
            check_complete(corpus, arranged)
        except (ValueError, FileNotFoundError) as reason:
            raise ValueError(
                f"{name} is not a complete {corpus.name}: {reason}. {advice}"
            ) from reason
        shutil.rmtree(root, ignore_errors=True)  # has no visible files
        os.replace(arranged, root)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file; copy it where the file system does not support that."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        with disk.explain_full_disk(target.parent, f"a copy of {source}", source.stat().st_size):
            shutil.copyfile(source, target)
