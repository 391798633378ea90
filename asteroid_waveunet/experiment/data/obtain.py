"""The data sets that are known by name: where they are had, on which terms, whether all is there.

DATA_DIR/musdb18hq.zip          while it is needed, placed by hand or downloaded
DATA_DIR/.musdb18hq.downloaded  that it was downloaded, and is to be deleted
DATA_DIR/.musdb18hq.unpacking   what is in it, until all is there
DATA_DIR/musdb18hq              the data set, which is whole as soon as it is there
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asteroid_waveunet.audio.mp4 import STEM_SUFFIX
from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.data import download, musdb
from asteroid_waveunet.experiment.data.licenses import DATA
from asteroid_waveunet.experiment.data.splits import OFFICIAL_VALIDATION
from asteroid_waveunet.experiment.data.unzip import unpack

__all__ = ["CORPORA", "Corpus", "check_obtainable", "check_whole", "is_there", "obtain"]

Take = Callable[[Path, Path], object]  # has the file at the first path be at the second


@dataclass(frozen=True)
class Corpus:
    """A data set as its authors released it: one zip.

    Attributes:
        name: its folder's, and of `--data`.
        page: what people read about it, and where they get it.
        layout: what is in the zip.
        archive: the zip's name.
        md5: of the zip.
        stems: of every track, sorted.
        kind: how the names of its audio files end.
        tracks: how many each subset has.
        arrange: makes the layout of MUSDB18 in a new folder of what was in the zip, each file
            taken by the function it is given; gives the folder, or None if it is not that data set.
        url: of the zip; None if it has to be placed by hand.
        size: of the zip, in bytes; None if it is not known.
        unpacked: bytes that it takes then, about.
        names: tracks that are in train.
        pinned: whether the zip must have that md5. What has been packed again elsewhere has
            another one, and then the layout alone tells.
        remark: what is to be known before it is used.
    """

    name: str
    page: str
    layout: str
    archive: str
    md5: str
    stems: tuple[str, ...]
    kind: str
    tracks: Mapping[str, int]
    arrange: Callable[[Path, Path, Take], Path | None]
    url: str | None = None
    size: int | None = None
    unpacked: int = 0
    names: frozenset[str] = frozenset()
    pinned: bool = True
    remark: str = ""

    @property
    def terms(self) -> str:
        return DATA[self.name].about

    @property
    def raw(self) -> str:
        """Where the zip may be unpacked by hand; if the layout is ours, it is the data set then."""
        return self.archive.removesuffix(".zip")

    @property
    def marker(self) -> str:
        """Beside a zip that was downloaded; see `_was_downloaded`."""
        return f".{self.name}.downloaded"

    def by_hand(self, data_dir: Path) -> str:
        """How to do without a download."""
        size = f" ({disk.gigabytes(self.size)})" if self.size else ""
        return (
            f"To place it by hand: get {self.archive}{size}, see {self.page} . Put it at "
            f"{data_dir / self.archive}, or unpack it to {data_dir / self.raw}, with {self.layout} "
            "in it; and run the same command again."
        )


def _as_it_is(found: Path, new: Path, take: Take) -> Path | None:
    """The folder with train/ in it: the zip's top level, or the only folder there."""
    folders = [path for path in _visible(found) if path.is_dir()]
    roots = [path for path in (found, *folders) if (path / "train").is_dir()]
    return roots[0] if roots else None


CCMIXTER_STEMS = {"mix": "mixture", "source-01": "accompaniment", "source-02": "vocals"}


def _songs_of_ccmixter(found: Path, new: Path, take: Take) -> Path | None:
    """Every SONG/{mix,source-01,source-02}.wav becomes train/SONG/ with our names."""
    for mix in sorted(found.glob("**/mix.wav")):
        song = new / "train" / mix.parent.name
        song.mkdir(parents=True)
        for theirs, ours in CCMIXTER_STEMS.items():
            if (mix.parent / f"{theirs}.wav").is_file():
                take(mix.parent / f"{theirs}.wav", song / f"{ours}.wav")
    return new if new.is_dir() else None


MUSDB18: dict[str, Any] = dict(
    layout="train/ and test/",
    stems=tuple(sorted(musdb.STREAMS[1:])),
    tracks={"train": 100, "test": 50},
    names=frozenset(OFFICIAL_VALIDATION),
    arrange=_as_it_is,
)
CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            "musdb18",
            page="https://zenodo.org/records/1117372",
            archive="musdb18.zip",
            url="https://zenodo.org/records/1117372/files/musdb18.zip?download=1",
            size=4_684_228_845,
            md5="af06762477334799bfc5abf237648207",
            unpacked=4_700_000_000,
            kind=STEM_SUFFIX,
            **MUSDB18,
        ),
        Corpus(
            "musdb18hq",
            page="https://zenodo.org/records/3338373",
            archive="musdb18hq.zip",
            url="https://zenodo.org/records/3338373/files/musdb18hq.zip?download=1",
            size=22_656_664_047,
            md5="12d4f2ecd55245a4688754dd76363103",
            unpacked=32_000_000_000,  # ten hours of five stereo wavs at 44.1 kHz
            kind=".wav",
            **MUSDB18,
        ),
        Corpus(
            "ccmixter",
            page="https://members.loria.fr/ALiutkus/kam/",
            archive="ccmixter_corpus.zip",
            layout="a folder for every song",
            md5="231eea133f59f6a7a5ef4c47a8205256",
            stems=("accompaniment", "vocals"),
            kind=".wav",
            tracks={"train": 50},
            arrange=_songs_of_ccmixter,
            pinned=False,
            remark="ccmixter has songs to train on and none to test, so that stage 3 has nothing "
            "to score. It is meant to be trained on beside another data set: --extra ccmixter.",
        ),
    )
}


def obtain(
    corpus: Corpus,
    data_dir: str | os.PathLike,
    accepted: bool = False,
    keep_archive: bool = False,
    progress: bool = True,
) -> Path:
    """A data set's folder, which is downloaded and unpacked if it is not there.

    What a run that was killed has left is gone on with. A zip that was placed by hand is checked
    and used, and stays; one that was downloaded is deleted after it was unpacked.

    Args:
        corpus: one of `CORPORA`.
        data_dir: where the zip and the folder go.
        accepted: whether its terms are accepted, without which nothing is downloaded.
        keep_archive: whether the downloaded zip stays too.
        progress: whether to show bars.
    Raises:
        PermissionError: if the terms are not accepted, or access is restricted.
        ValueError: if the zip is another one, damaged or dangerous, or tracks are lacking.
        NoSpace, OSError: as `download.download` and `unpack`.
    """
    data_dir = Path(data_dir)
    root = data_dir / corpus.name
    if not is_there(corpus, data_dir):
        check_obtainable(corpus, data_dir, accepted)
        print(f"{corpus.name}: {corpus.terms}")
        with disk.alone(root):
            if not is_there(corpus, data_dir):  # another run may have brought it meanwhile
                _bring(corpus, data_dir, keep_archive, progress)
    _check_there(corpus, data_dir)
    if not keep_archive:
        _clear(corpus, data_dir)
    return root


def is_there(corpus: Corpus, data_dir: str | os.PathLike) -> bool:
    """Whether there is a folder of that name with anything in it."""
    return bool(_visible(Path(data_dir) / corpus.name))


def check_obtainable(corpus: Corpus, data_dir: str | os.PathLike, accepted: bool) -> None:
    """A data set is there, or can be had, as far as can be told without a network.

    Raises:
        PermissionError: if it is to be downloaded, and its terms are not accepted.
        FileNotFoundError: if it has to be placed by hand.
        ValueError: if what is there is not all of it, or is no folder.
    """
    data_dir = Path(data_dir)
    if is_there(corpus, data_dir):
        return _check_there(corpus, data_dir)
    _check_replaceable(data_dir / corpus.name)
    if (data_dir / corpus.archive).is_file() or _visible(data_dir / corpus.raw):
        return
    if corpus.url is None:
        raise FileNotFoundError(
            f"There is no {data_dir / corpus.name}, and nowhere that {corpus.name} can be "
            f"downloaded from.\n  {corpus.terms}\n{corpus.by_hand(data_dir)}"
        )
    if not accepted:
        size = disk.gigabytes(corpus.size or 0)
        raise PermissionError(
            f"There is no {data_dir / corpus.name}. It is downloaded ({corpus.archive}, {size}) "
            f"once you accept its terms with --accept_license:\n  {corpus.terms}\n"
            f"  {corpus.page}\n{corpus.by_hand(data_dir)}"
        )


def check_whole(corpus: Corpus, root: Path) -> None:
    """There are as many tracks as were released, with all their stems, and no file is empty.

    Of the tracks' names only `corpus.names` are compared, and no audio is decoded.

    Raises:
        FileNotFoundError: if a subset is missing.
        ValueError: if tracks are missing, too many, lack stems, or hold empty files or others than
            the data set's.
    """
    for subset, expected in corpus.tracks.items():
        found = musdb.tracks(root, subset)
        lacking = corpus.names - {track.name for track in found} if subset == "train" else ()
        if len(found) != expected or lacking:
            without = f" (without {', '.join(sorted(lacking))})" if lacking else ""
            raise ValueError(
                f"{root / subset} has {len(found)} tracks{without}; {corpus.name} has {expected}"
            )
        if found[0].stems != corpus.stems:
            raise ValueError(
                f"the tracks of {root / subset} have the stems {', '.join(found[0].stems)}; those "
                f"of {corpus.name} have {', '.join(corpus.stems)}"
            )
        files = [file for track in found for file in track.files()]
        other = [str(file) for file in files if not file.name.lower().endswith(corpus.kind)]
        if other:
            raise ValueError(
                f"{', '.join(other[:3])} is of another data set; the files of {corpus.name} are "
                f"{corpus.kind}"
            )
        empty = [str(file) for file in files if not file.stat().st_size]
        if empty:
            raise ValueError(f"there is nothing in {', '.join(empty[:5])}")


def _check_there(corpus: Corpus, data_dir: Path) -> None:
    """
    Raises:
        ValueError: as `check_whole`; says what to do.
    """
    root = data_dir / corpus.name
    try:
        check_whole(corpus, root)
    except (ValueError, FileNotFoundError) as reason:
        raise ValueError(
            f"{root} is not {corpus.name} as it should be: {reason}. Delete the folder, and run "
            f"this again{_zip_is_used(corpus, data_dir)}; or give a folder of your own with "
            "--data DIR."
        ) from reason


def _zip_is_used(corpus: Corpus, data_dir: Path) -> str:
    archive = data_dir / corpus.archive
    return f" ({archive} is used then)" if archive.is_file() else ""


# A folder that is renamed takes the place of an empty folder, and of none of these.
NOT_REPLACED: dict[str, Callable[[Path], bool]] = {
    "a link": Path.is_symlink,
    "a mount point": os.path.ismount,
    "a file": Path.is_file,
}


def _check_replaceable(root: Path) -> None:
    """
    Raises:
        ValueError: if a data set could not get its name.
    """
    for kind, is_one in NOT_REPLACED.items():
        if is_one(root):
            raise ValueError(
                f"{root} is {kind} with no data set in it, and a new folder cannot take its place. "
                f"Remove it; to have data sets on another disk, link {root.parent} itself there, "
                "or use --storage DIR."
            )


def _bring(corpus: Corpus, data_dir: Path, keep_archive: bool, progress: bool) -> None:
    archive, raw, marker = (data_dir / n for n in (corpus.archive, corpus.raw, corpus.marker))
    if _visible(raw):
        _place(corpus, raw, data_dir, _link)
        return
    if archive.is_file():
        _check_placed(corpus, archive, progress)
    else:
        _download(corpus, data_dir, progress)
        marker.write_text(str(archive.stat().st_mtime_ns))
    if keep_archive:
        marker.unlink(missing_ok=True)
    unpacked = data_dir / f".{corpus.name}.unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        unpack(archive, unpacked, progress)
        _place(corpus, unpacked, data_dir, os.replace)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _clear(corpus: Corpus, data_dir: Path) -> None:
    """Deletes the zip if it was downloaded; says of one that was placed that nothing needs it."""
    archive, marker = data_dir / corpus.archive, data_dir / corpus.marker
    with contextlib.suppress(FileNotFoundError):  # another run may do the same
        if _was_downloaded(archive, marker):
            archive.unlink()
            marker.unlink()
        elif archive.is_file():
            print(f"{archive} is not needed any more.")


def _was_downloaded(archive: Path, marker: Path) -> bool:
    """The marker holds the zip's time of change: another one that was placed since is not meant."""
    return marker.is_file() and marker.read_text() == str(archive.stat().st_mtime_ns)


def _download(corpus: Corpus, data_dir: Path, progress: bool) -> None:
    """
    Raises:
        OSError: as `download.download`; says how to do without it.
    """
    archive = data_dir / corpus.archive
    assert corpus.url is not None and corpus.size is not None
    if disk.free(data_dir) < corpus.size + corpus.unpacked:
        print(
            f"{corpus.archive} ({disk.gigabytes(corpus.size)}) and what is in it (about "
            f"{disk.gigabytes(corpus.unpacked)}) may not fit {data_dir}, where "
            f"{disk.gigabytes(disk.free(data_dir))} are free."
        )
    try:
        download.download(corpus.url, archive, corpus.size, corpus.md5, progress)
    except download.Restricted as reason:
        raise PermissionError(
            f"{reason} Access to {corpus.name} is restricted there: it may have to be asked for "
            f"at {corpus.page} .\n{corpus.by_hand(data_dir)}"
        ) from reason
    except OSError as reason:
        if isinstance(reason, disk.NoSpace) or reason.errno is not None:
            raise  # of this machine, not of the server
        raise type(reason)(f"{reason}\n{corpus.by_hand(data_dir)}") from reason


def _check_placed(corpus: Corpus, archive: Path, progress: bool) -> None:
    """
    Raises:
        ValueError: if it is not the zip that was published, and has to be.
    """
    try:
        download.check(archive, corpus.size, corpus.md5, progress)
    except ValueError as reason:
        if corpus.pinned:
            raise ValueError(
                f"{reason} It is not the {corpus.archive} of {corpus.page} , or it is damaged or "
                "not all of it. Delete it, or get it again."
            ) from reason
        print(f"{reason} It is used if it holds the {corpus.tracks['train']} songs all the same.")


def _place(corpus: Corpus, found: Path, data_dir: Path, take: Take) -> None:
    """Brings what was unpacked under the data set's name, once all is there.

    Args:
        found: `corpus.raw`, unpacked by hand, or where the zip was unpacked.
        take: brings one file into the new folder.
    Raises:
        ValueError: if it is not all of it.
    """
    new, root = data_dir / f".{corpus.name}.new", data_dir / corpus.name
    name, advice = corpus.archive, f"Get it again, see {corpus.page} ."
    if found == data_dir / corpus.raw:
        name, then = corpus.raw, _zip_is_used(corpus, data_dir)
        advice = f"Delete the folder {found}, and run this again{then}." if then else advice
    shutil.rmtree(new, ignore_errors=True)
    try:
        arranged = corpus.arrange(found, new, take)
        if arranged is None:
            raise ValueError(
                f"What is in {name} is not {corpus.name}; expected {corpus.layout}. {advice}"
            )
        try:
            check_whole(corpus, arranged)
        except (ValueError, FileNotFoundError) as reason:
            raise ValueError(
                f"What is in {name} is not {corpus.name} as it should be: {reason}. {advice}"
            ) from reason
        shutil.rmtree(root, ignore_errors=True)  # nothing that can be seen is in it
        os.replace(arranged, root)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, if it is there, but for what systems leave everywhere."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.name[0] != "." and path.name != "__MACOSX"]


def _link(there: Path, here: Path) -> None:
    """The same file once more; a copy of it where its disk is another or knows no hard links."""
    try:
        os.link(there.resolve(), here)
    except OSError:
        with disk.room_explained(here.parent, f"a copy of {there}", there.stat().st_size):
            shutil.copyfile(there, here)
