"""The songs of a catalogue: files, folders, patterns and URLs."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asteroid_waveunet.audio.formats import KINDS, is_audio_name, is_hidden_name
from asteroid_waveunet.cloud import storage, web
from asteroid_waveunet.separation import batch
from asteroid_waveunet.system_errors import explain

__all__ = ["CatalogueSong", "find"]


@dataclass(frozen=True)
class CatalogueSong:
    """A song and the name of its stems.

    Attributes:
        source: path or URL.
        name: of its stems, relative to the output, with slashes.
        version: what changes when the song's content does; "" if unknown.
    """

    source: str
    name: str
    version: str = ""

    @property
    def address(self) -> str:
        """The source as it is written down, without passwords and signatures of URLs."""
        return web.without_secrets(self.source)


def find(
    inputs: Sequence[str], output: str, missing: dict[str, str] | None = None
) -> list[CatalogueSong]:
    """Return the songs that files, folders, patterns and URLs refer to, each once.

    Folders are searched recursively. Names are as of `separation.batch.find`.

    Args:
        output: path or URL of the output folder, which is skipped.
        missing: receives the inputs that cannot be found, with the reasons, if others can.
    Raises:
        ImportError, ValueError: for a scheme that cannot be read; for two songs of one name.
        OSError: if an input cannot be listed, does not exist or holds no audio.
    """
    named: dict[str, Path] = {}
    versions: dict[str, str] = {}
    skipped = storage.local_path(output) or Path("/nonexistent")
    for item in inputs:
        try:
            local = storage.local_path(item)
            if local is not None:
                found = batch.songs_of(str(local), skipped)
                named |= {str(song.resolve()): name for song, name in found.items()}
            else:
                for url, (name, version) in _remote_songs(item, output).items():
                    named.setdefault(url, name)
                    versions[url] = version
        except FileNotFoundError as reason:
            if missing is None or len(inputs) == 1:
                raise
            missing[item] = explain(reason)
    if not named:
        raise FileNotFoundError(" ".join((missing or {}).values()) or "Found no songs.")
    names = batch.distinct_names(named, output, web.without_secrets)
    return [
        CatalogueSong(source, name.as_posix(), versions.get(source, ""))
        for source, name in names.items()
    ]


def _remote_songs(url: str, output: str) -> dict[str, tuple[Path, str]]:
    """Return the songs of a URL: their names with suffixes, and their versions."""
    if web.is_web(url):
        web.check_is_file(url)
        return {url: (Path(storage.basename(url)), "")}
    fs, path = storage.filesystem(url)
    with storage.explaining(url, "listed"):
        if glob.has_magic(path):
            found, root = fs.glob(path, detail=True), _fixed_part(path)
            folders = [name for name, info in found.items() if info["type"] == "directory"]
            for folder in folders:
                found |= fs.find(folder, detail=True)
        elif fs.isdir(path):
            found, root = fs.find(path, detail=True), path.rstrip("/")
        else:
            version = storage.version(fs.info(path))
            return {url: (Path(storage.basename(url)), str(version))}
    outside, below = storage.filesystem(output)
    skipped = f"{below.rstrip('/')}/" if type(outside) is type(fs) else None
    songs = {}
    for name, info in found.items():
        relative = PurePosixPath(name).relative_to(root)
        hidden = any(map(is_hidden_name, relative.parts))
        is_song = info["type"] == "file" and is_audio_name(name) and not hidden
        if is_song and not (skipped and name.startswith(skipped)):
            full = storage.listed_url(url, fs, name)
            songs[full] = (Path(relative), str(storage.version(info)))
    if not songs:
        raise FileNotFoundError(f"{url} matches no audio file ({KINDS}).")
    return songs


def _fixed_part(pattern: str) -> str:
    """Return the leading folders of a pattern that hold no wildcard.

    >>> _fixed_part("bucket/19*/**/*.flac")
    'bucket'
    """
    parents = PurePosixPath(pattern).parents
    return next(str(folder) for folder in parents if not glob.has_magic(str(folder)))
