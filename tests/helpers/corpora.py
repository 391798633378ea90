"""Tiny data sets, packed like the published ones."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from pathlib import Path

from asteroid_waveunet.experiment.data.corpora import CORPORA, Corpus
from helpers.songs import write_song

# Training: an official validation track, a name with dots, a song with errata.
TRAIN = ("Leaf - Summerghost", "M.E.R.C. Music - Knockout", "BKS - Bulldozer")
TEST = ("PR - Oh No",)
CCMIXTER = ("A. B. - Song", "C D - Another")


def musdb18hq(folder: Path, seconds: float = 0.1, top: str = "") -> Path:
    """Make a zip of the songs above in MUSDB18-HQ's layout."""
    songs = folder / "songs"
    for subset, names in {"train": TRAIN, "test": TEST}.items():
        for name in names:
            write_song(songs / top / subset / name, seconds=seconds)
    return zipped(songs, folder / "served.zip")


def ccmixter(folder: Path, seconds: float = 0.1, top: str = "ccmixter_corpus") -> Path:
    """Make a zip in CCMixter's layout."""
    for name in CCMIXTER:
        song = folder / "songs" / top / name
        write_song(song, ("source-01", "source-02"), seconds)
        (song / "mixture.wav").rename(song / "mix.wav")
        (song / "license.txt").write_text("CC BY")
    return zipped(folder / "songs", folder / "served.zip")


def zipped(folder: Path, path: Path) -> Path:
    """Zip the contents of a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def served(name: str, archive: Path, **changed: object) -> Corpus:
    """Return the record of a data set, adapted to the tiny zip."""
    content, known = archive.read_bytes(), CORPORA[name]
    tracks = {"train": len(TRAIN), "test": len(TEST)} if known.names else {"train": len(CCMIXTER)}
    facts = {
        "size": len(content) if known.size else None,
        "md5": hashlib.md5(content).hexdigest(),
        "unpacked": 0,
        "tracks": tracks,
        "names": known.names & set(TRAIN),
    }
    return dataclasses.replace(known, **{**facts, **changed})
