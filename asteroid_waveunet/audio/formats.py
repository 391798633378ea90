"""The formats of audio files, by what the decoders read; names that mark no song."""

from __future__ import annotations

from os.path import splitext
from pathlib import PurePath

__all__ = [
    "DEMUXERS",
    "KINDS",
    "STEM_SUFFIX",
    "SUFFIXES",
    "is_audio_name",
    "is_hidden_name",
    "split_name",
]

STEM_SUFFIX = ".stem.mp4"

# What a folder or a pattern takes for songs. A file that is named itself is read whatever its
# suffix: the decoders go by its content.
SUFFIXES = (
    # Samples as they are, losslessly packed, or by libsndfile's codecs.
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".flac", ".wv", ".tta", ".ape", ".tak", ".shn", ".voc"),
    # Lossy.
    *(".mp3", ".mp2", ".mp1", ".mpga", ".ogg", ".oga", ".ogx", ".opus", ".spx"),
    *(".m4a", ".m4b", ".m4r", ".aac", ".adts", ".ac3", ".eac3", ".ec3", ".dts", ".wma", ".mpc"),
    *(".amr", ".awb", ".ra"),
    # Containers of audio and video, of which the first audio stream is read.
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mka", ".mkv", ".weba", ".webm", ".asf", ".wmv"),
    *(".avi", ".flv", ".ogv", ".rm", ".mpg", ".mpeg"),
)
KINDS = "wav, flac, mp3, ogg, opus, m4a and others"  # for messages

# FFmpeg's demuxers that may open a file: those of one file of audio or video. Its others read
# playlists, pictures, subtitles and network streams.
DEMUXERS = (
    *("aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dsf", "dts", "dtshd"),
    *("eac3", "flac", "flv", "iff", "ircam", "loas", "matroska", "mov", "mp3", "mpc", "mpc8"),
    *("mpeg", "mpegts", "nistsphere", "nut", "ogg", "rm", "shn", "sox", "tak", "truehd", "tta"),
    *("voc", "w64", "wav", "wv", "xwma"),
)

# Folders that systems leave beside the songs: of a NAS, a Mac's zip, trash and thumbnails.
SYSTEM_FOLDERS = frozenset(
    {"@eadir", "__macosx", "#recycle", "#snapshot", "@recycle", "$recycle.bin", "lost+found"}
    | {"system volume information"}
)


def is_audio_name(name: str) -> bool:
    """Return True if a file's name ends in a known suffix, in any case.

    >>> is_audio_name("Mixture.WAV"), is_audio_name("cover.jpg")
    (True, False)
    """
    return PurePath(name).suffix.lower() in SUFFIXES


def is_hidden_name(name: str) -> bool:
    """Return True for hidden names and folders of the system; "...And Justice for All" is none."""
    return (name.startswith(".") and not name.startswith("..")) or name.lower() in SYSTEM_FOLDERS


def split_name(name: str) -> tuple[str, str]:
    """Split a file's name into the song or stem that it names, and its suffix.

    >>> split_name("a.b.stem.mp4"), split_name("Vocals.FLAC"), split_name("..wav")
    (('a.b', '.stem.mp4'), ('Vocals', '.FLAC'), ('..wav', ''))
    """
    suffix = name[-len(STEM_SUFFIX) :]
    if suffix.lower() != STEM_SUFFIX:
        suffix = splitext(name)[1].removesuffix(".")
    stem = name[: len(name) - len(suffix)]
    return (stem, suffix) if stem.strip(".") else (name, "")  # ".." would be another folder
