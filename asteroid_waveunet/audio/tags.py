"""Tags and cover of a song, for its stems.

They are read with PyAV from any format, and written with mutagen to wav, flac, ogg, mp3 and mp4.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asteroid_waveunet.audio.container import require_pyav, url

__all__ = ["Tags", "read_tags", "write_tags"]

# FFmpeg's name of a tag -> its names in ID3, MP4 and Vorbis comments.
NAMES = {
    "title": ("TIT2", "\xa9nam", "title"),
    "artist": ("TPE1", "\xa9ART", "artist"),
    "album": ("TALB", "\xa9alb", "album"),
    "album_artist": ("TPE2", "aART", "albumartist"),
    "composer": ("TCOM", "\xa9wrt", "composer"),
    "genre": ("TCON", "\xa9gen", "genre"),
    "date": ("TDRC", "\xa9day", "date"),
    "track": ("TRCK", "trkn", "tracknumber"),
    "disc": ("TPOS", "disk", "discnumber"),
    "copyright": ("TCOP", "cprt", "copyright"),
    "comment": ("COMM", "\xa9cmt", "comment"),
}
SYNONYMS = {"albumartist": "album_artist", "tracknumber": "track", "discnumber": "disc"}
PAIRS = ("trkn", "disk")  # number and total, as integers
MIME = {"mjpeg": "image/jpeg", "png": "image/png"}
FRONT_COVER = 3


@dataclass(frozen=True)
class Tags:
    """A song's tags.

    Attributes:
        texts: keys of `NAMES` -> value.
        cover: image of the front cover, and its MIME type; None if there is none.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    cover: tuple[bytes, str] | None = None

    def __bool__(self) -> bool:
        return bool(self.texts or self.cover)


def read_tags(path: Path) -> Tags:
    """Read the tags of a file of any format; none if it has none or cannot be read."""
    av = require_pyav()
    try:
        with av.open(url(path), metadata_errors="replace") as container:
            found = dict(container.metadata)
            for stream in container.streams.audio[:1]:  # ogg has tags of streams
                found = {**stream.metadata, **found}
            cover = None
            for stream in container.streams.video:
                mime = MIME.get(stream.codec_context.name if stream.codec_context else "")
                if mime is not None and cover is None:
                    packet = next(container.demux(stream))
                    cover = (bytes(packet), mime) if packet.size else None
    except (av.error.FFmpegError, OSError, StopIteration):
        return Tags()
    plain = {SYNONYMS.get(name.lower(), name.lower()): text for name, text in found.items()}
    return Tags({name: plain[name] for name in NAMES if plain.get(name)}, cover)


def write_tags(path: Path, tags: Tags) -> None:
    """Write tags to a wav, flac, ogg, mp3 or mp4 file.

    Raises:
        ValueError: if the format of the file has no tags, as RF64.
    """
    import mutagen

    try:
        file = mutagen.File(path)
        if file is None:
            raise ValueError(f"{path} is of a format without tags.")
        if file.tags is None:
            file.add_tags()
        _WRITERS.get(type(file).__name__, _write_id3)(file, tags)
        file.save()
    except mutagen.MutagenError as reason:
        raise ValueError(f"{path} cannot be given tags: {reason}") from reason


def _write_id3(file: Any, tags: Tags) -> None:
    from mutagen import id3

    for name, text in tags.texts.items():
        frame = NAMES[name][0]
        extra = {"lang": "eng", "desc": ""} if frame == "COMM" else {}
        file.tags.add(getattr(id3, frame)(encoding=3, text=[text], **extra))
    if tags.cover is not None:
        data, mime = tags.cover
        file.tags.add(id3.APIC(encoding=3, mime=mime, type=FRONT_COVER, desc="", data=data))


def _write_mp4(file: Any, tags: Tags) -> None:
    from mutagen.mp4 import MP4Cover

    for name, text in tags.texts.items():
        atom = NAMES[name][1]
        if atom not in PAIRS:
            file.tags[atom] = [text]
            continue
        with contextlib.suppress(ValueError):  # not a number
            number, _, total = text.partition("/")
            file.tags[atom] = [(int(number), int(total or 0))]
    if tags.cover is not None:
        data, mime = tags.cover
        is_png = mime == "image/png"
        form = MP4Cover.FORMAT_PNG if is_png else MP4Cover.FORMAT_JPEG
        file.tags["covr"] = [MP4Cover(data, imageformat=form)]


def _write_comments(file: Any, tags: Tags) -> None:
    from mutagen.flac import Picture

    for name, text in tags.texts.items():
        file.tags[NAMES[name][2]] = [text]
    if tags.cover is None:
        return
    picture = Picture()
    picture.data, picture.mime = tags.cover
    picture.type = FRONT_COVER
    if hasattr(file, "add_picture"):  # flac
        file.add_picture(picture)
    else:
        encoded = base64.b64encode(picture.write()).decode("ascii")
        file.tags["metadata_block_picture"] = [encoded]


_WRITERS = {"MP4": _write_mp4, "FLAC": _write_comments, "OggVorbis": _write_comments}
