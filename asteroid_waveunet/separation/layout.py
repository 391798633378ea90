"""Names of stem files: `OUTPUT/SONG/STEM.wav`, or by a template of the user."""

from __future__ import annotations

import hashlib
import itertools
import os
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asteroid_waveunet.audio.mp4 import STEM_SUFFIX
from asteroid_waveunet.separation.stems import StemFile, StemFiles, Target

__all__ = ["Layout", "Place"]

RECORD = ".waveunet.json"
LONGEST_NAME = 200  # bytes of a song's name in the name of its record; file systems allow 255
FIELDS = ("song", "stem", "ext")


@dataclass(frozen=True)
class Place:
    """The files of one song's stems.

    Attributes:
        path: the song's folder or file, which is locked while the stems are written.
        target: the stems' files.
        record: the file that remembers what the stems were made from.
    """

    path: Path
    target: Target
    record: Path


@dataclass(frozen=True)
class Layout:
    """Places of the stems of songs, by a template.

    Args:
        output: folder of all songs.
        stems: names of the stems.
        suffix: one of `stems.FORMATS`.
        bits: bit depth; None follows the song.
        template: path of a stem below `output`, of the fields {song}, {stem} and {ext}. Default:
            "{song}/{stem}.{ext}", and "{song}.{ext}" for `.stem.mp4` files.
    Raises:
        ValueError: if the template has other fields, lacks one that it needs, or leaves `output`.

    >>> layout = Layout(Path("out"), ("vocals", "drums"), ".flac", template="{stem}/{song}.{ext}")
    >>> [str(path) for path in layout.place(Path("album/song")).target.paths]
    ['out/vocals/album/song.flac', 'out/drums/album/song.flac']
    """

    output: Path
    stems: tuple[str, ...]
    suffix: str = ".wav"
    bits: str | None = None
    template: str | None = None

    def __post_init__(self) -> None:
        used = self._fields()
        if unknown := used - {*FIELDS}:
            raise ValueError(
                f"--name has the unknown field {{{unknown.pop()}}}; expected "
                f"{', '.join(f'{{{field}}}' for field in FIELDS)}."
            )
        if self._in_one_file and "stem" in used:
            raise ValueError(f"--name has {{stem}}, but a {STEM_SUFFIX} file holds all stems.")
        if not self._in_one_file and len(self.stems) > 1 and "stem" not in used:
            raise ValueError(f"--name {self._template} gives all stems one name; add {{stem}}.")
        if not self._template.endswith((".{ext}", self.suffix)):
            raise ValueError(f"--name {self._template} does not end in .{{ext}} or {self.suffix}.")
        path = Path(self._template)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"--name {self._template} leaves the output folder {self.output}; choose another "
                "folder with -o."
            )

    @property
    def names_songs(self) -> bool:
        """True if the template tells songs apart."""
        return "song" in self._fields()

    def places(self, song: Path) -> Iterator[Place]:
        """Yield places for a song's stems: of its own name, then "SONG (2)", "SONG (3)", ..."""
        yield self.place(song)
        if self.names_songs:
            for number in itertools.count(2):
                yield self.place(song.with_name(f"{song.name} ({number})"))

    def place(self, song: Path) -> Place:
        """Return the place of the stems of a song of this name, which may include folders."""
        path, target = self.output, self._target(song)
        if self.names_songs:
            path = path / song
            if self._in_one_file:
                path = target.paths[0]
        if all(path in file.parents for file in target.paths):
            return Place(path, target, path / RECORD)
        name = song.name
        if len(os.fsencode(name)) > LONGEST_NAME:
            name = hashlib.sha256(os.fsencode(name)).hexdigest()
        return Place(path, target, (self.output / song).with_name(f".{name}{RECORD}"))

    def _target(self, song: Path) -> Target:
        if self._in_one_file:
            return StemFile(self._file(song))
        return StemFiles({stem: self._file(song, stem) for stem in self.stems}, self.bits)

    def _file(self, song: Path, stem: str = "") -> Path:
        named = self._template.format(song=song, stem=stem, ext=self.suffix[1:])
        return self.output / named

    @property
    def _in_one_file(self) -> bool:
        return self.suffix == STEM_SUFFIX

    @property
    def _template(self) -> str:
        if self.template is not None:
            return self.template
        return "{song}.{ext}" if self._in_one_file else "{song}/{stem}.{ext}"

    def _fields(self) -> set[str]:
        """Return the names of the template's fields.

        Raises:
            ValueError: if braces are unbalanced, or a field has a format.
        """
        try:
            parts = list(string.Formatter().parse(self._template))
        except ValueError as reason:
            raise ValueError(f"--name {self._template} is no template: {reason}.") from reason
        for _, field, form, conversion in parts:
            if field is not None and (form or conversion):
                raise ValueError(
                    f"--name {self._template}: fields have no format; write {{{field}}}."
                )
        return {field for _, field, _, _ in parts if field is not None}
