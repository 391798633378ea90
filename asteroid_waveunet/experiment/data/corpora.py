"""Records of the known data sets: source, checksum, size, layout and number of tracks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asteroid_waveunet.audio.mp4 import STEM_SUFFIX
from asteroid_waveunet.audio.stem_names import MUSDB_ORDER
from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.data.licenses import DATA
from asteroid_waveunet.experiment.data.splits import OFFICIAL_VALIDATION

__all__ = ["CORPORA", "Corpus", "visible_files"]

PlaceFile = Callable[[Path, Path], object]  # moves or links the first path to the second


@dataclass(frozen=True)
class Corpus:
    """A data set published as one zip.

    Attributes:
        name: of its folder, and for `--data`.
        page: web page of the data set.
        layout: contents of the zip, for messages.
        archive: file name of the zip.
        md5: of the zip.
        stems: of every track, sorted.
        suffix: of its audio files.
        tracks: number of tracks in each subset.
        arrange: brings the unpacked files into the layout of MUSDB18, given their folder, a new
            folder and a function that places a file; returns the resulting folder, or None if the
            files are another data set's.
        url: of the zip; None if it has to be placed by hand.
        size: of the zip, in bytes; None if unknown.
        unpacked: approximate size of the contents, in bytes.
        names: tracks that the training set must contain.
        pinned: require the md5. Without it, a repacked zip with the right layout is accepted.
        remark: shown before the data set is used.
    """

    name: str
    page: str
    layout: str
    archive: str
    md5: str
    stems: tuple[str, ...]
    suffix: str
    tracks: Mapping[str, int]
    arrange: Callable[[Path, Path, PlaceFile], Path | None]
    url: str | None = None
    size: int | None = None
    unpacked: int = 0
    names: frozenset[str] = frozenset()
    pinned: bool = True
    remark: str = ""

    @property
    def terms(self) -> str:
        """Description and licence terms."""
        return DATA[self.name].about

    @property
    def raw(self) -> str:
        """Folder for a zip unpacked by hand; for MUSDB18 this is the data set's own folder."""
        return self.archive.removesuffix(".zip")

    @property
    def marker(self) -> str:
        """File that marks a downloaded zip, see `obtain`."""
        return f".{self.name}.downloaded"

    def instructions(self, data_dir: Path) -> str:
        """Return instructions for placing the data set by hand."""
        size = f" ({disk.format_size(self.size)})" if self.size else ""
        return (
            f"To place it by hand: get {self.archive}{size}, see {self.page} . Put it at "
            f"{data_dir / self.archive}, or unpack it to {data_dir / self.raw}, with {self.layout} "
            "in it; then run the same command again."
        )


def visible_files(folder: Path) -> list[Path]:
    """List a folder, if it exists, without hidden files and `__MACOSX`."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if path.name[0] != "." and path.name != "__MACOSX"]


def _musdb_layout(found: Path, new: Path, place: PlaceFile) -> Path | None:
    """Return the folder that contains train/: the top level, or a folder directly in it."""
    folders = [path for path in visible_files(found) if path.is_dir()]
    roots = [path for path in (found, *folders) if (path / "train").is_dir()]
    return roots[0] if roots else None


CCMIXTER_STEMS = {"mix": "mixture", "source-01": "accompaniment", "source-02": "vocals"}


def _ccmixter_layout(found: Path, new: Path, place: PlaceFile) -> Path | None:
    """Place every SONG/{mix,source-01,source-02}.wav in train/SONG/ under the stems' names."""
    for mix in sorted(found.glob("**/mix.wav")):
        song = new / "train" / mix.parent.name
        song.mkdir(parents=True)
        for original, stem in CCMIXTER_STEMS.items():
            if (mix.parent / f"{original}.wav").is_file():
                place(mix.parent / f"{original}.wav", song / f"{stem}.wav")
    return new if new.is_dir() else None


MUSDB18: dict[str, Any] = dict(
    layout="train/ and test/",
    stems=tuple(sorted(MUSDB_ORDER)),
    tracks={"train": 100, "test": 50},
    names=frozenset(OFFICIAL_VALIDATION),
    arrange=_musdb_layout,
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
            suffix=STEM_SUFFIX,
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
            suffix=".wav",
            **MUSDB18,
        ),
        Corpus(
            "musdb18_7",
            page="https://zenodo.org/records/3270814",
            archive="MUSDB18-7-STEMS.zip",
            url="https://zenodo.org/records/3270814/files/MUSDB18-7-STEMS.zip?download=1",
            size=147_209_385,
            md5="dc2bdfac5b46ce742bd60009866758a5",
            unpacked=150_000_000,
            suffix=STEM_SUFFIX,
            remark="musdb18_7 is 7 seconds of each song: scores are not those of whole songs.",
            **{**MUSDB18, "tracks": {"train": 94, "test": 50}},
        ),
        Corpus(
            "ccmixter",
            page="https://members.loria.fr/ALiutkus/kam/",
            archive="ccmixter_corpus.zip",
            layout="a folder for every song",
            md5="231eea133f59f6a7a5ef4c47a8205256",
            stems=("accompaniment", "vocals"),
            suffix=".wav",
            tracks={"train": 50},
            arrange=_ccmixter_layout,
            pinned=False,
            remark="ccmixter has training songs only, so stage 3 has nothing to score. Train on it "
            "in addition to another data set: --extra ccmixter.",
        ),
    )
}
