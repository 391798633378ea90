"""Find audio files in folders, linked folders included, and describe what was left out."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from asteroid_waveunet.audio.formats import is_audio_name, is_hidden_name, split_name
from asteroid_waveunet.system_errors import unreadable

__all__ = ["files_below", "is_audio_file", "left_out", "left_out_below"]


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, sorted; each folder once, however many links lead to it.

    Folders in it that cannot be read are left out, with a warning.

    Raises:
        OSError: if the system does not list the folder itself.
    """
    seen: set[str] = set()

    def refused(error: OSError) -> None:
        if Path(error.filename) == folder and not isinstance(error, FileNotFoundError):
            raise unreadable(folder, error) from error
        if not isinstance(error, FileNotFoundError):
            warnings.warn(f"left out: {unreadable(error.filename, error)}", stacklevel=3)

    for here, folders, files in os.walk(folder, onerror=refused, followlinks=True):
        seen.add(os.path.realpath(here))
        folders[:] = sorted(
            name for name in folders if os.path.realpath(os.path.join(here, name)) not in seen
        )
        yield from (Path(here, name) for name in sorted(files))


def is_audio_file(path: Path, below: Path | None = None) -> bool:
    """Return True for a file with the name of audio that is not hidden, nor a system's.

    Args:
        below: the folder below which no folder may be hidden or a system's either.
    """
    parts = path.relative_to(below).parts if below else (path.name,)
    return is_audio_name(path.name) and not any(map(is_hidden_name, parts)) and path.is_file()


def left_out(files: Iterable[Path], place: str | os.PathLike) -> str | None:
    """Describe the files of a place that are not used, None if there are none worth a word.

    >>> left_out([Path("a/cover.jpg"), Path("a/@eaDir/b.mp3"), Path("a/.DS_Store")], "a")
    'left out in a: 1 file whose name is no audio (.jpg), 1 in hidden or system folders'
    """
    names, hidden = Counter[str](), 0
    for path in files:
        if is_audio_name(path.name):
            hidden += 1
        elif not is_hidden_name(path.name) and not any(map(is_hidden_name, path.parts)):
            names[split_name(path.name)[1].lower() or "no suffix"] += 1
    said = []
    if names:
        count = sum(names.values())
        kinds = ", ".join(name for name, _ in names.most_common(5))
        said.append(f"{count} file{'s' * (count > 1)} whose name is no audio ({kinds})")
    if hidden:
        said.append(f"{hidden} in hidden or system folders")
    return f"left out in {place}: {', '.join(said)}" if said else None


def left_out_below(folder: Path, used: Collection[Path]) -> str | None:
    """Describe the files below a folder that are not among those used."""
    return left_out([path for path in files_below(folder) if path not in used], folder)
