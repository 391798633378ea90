"""Names of audio files, and what folders hold."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.folders import files_below, is_audio_file, left_out
from asteroid_waveunet.audio.formats import DEMUXERS, SUFFIXES, is_audio_name

# Suffixes whose files neither ffmpeg nor libsndfile writes, or only with options.
NOT_WRITTEN = {
    ".ape",
    ".tak",
    ".shn",
    ".mp1",
    ".mpc",
    ".amr",
    ".awb",
    ".dts",
    ".ra",
    ".m4r",
    ".ogx",
}
NOT_WRITTEN |= {".ogx", ".3gp", ".3g2"}
MUXERS = {".wave": "wav", ".bwf": "wav", ".rf64": "wav", ".aifc": "aiff", ".snd": "au"}
MUXERS |= {".mpga": "mp3", ".ec3": "eac3", ".weba": "webm", ".adts": "adts", ".m4b": "ipod"}


@pytest.mark.parametrize("suffix", sorted(set(SUFFIXES) - NOT_WRITTEN))
def test_listed_formats_are_read(tmp_path, suffix):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (22050, 2))
    soundfile.write(tmp_path / "song.wav", noise, 44100)
    muxer = ["-f", MUXERS[suffix]] if suffix in MUXERS else []
    path = tmp_path / f"a{suffix}"
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "song.wav", *muxer, path]
    subprocess.run(command, check=True, capture_output=True)
    samples, rate = audio_io.read(path)
    assert 0.45 < samples.shape[-1] / rate < 0.6 and samples.std() > 0.1


def test_ffmpegs_demuxers_exist_and_open_one_file_each():
    av = pytest.importorskip("av")
    known = {name for form in av.formats_available for name in form.split(",")}
    assert set(DEMUXERS) <= known
    assert not {"hls", "concat", "image2", "dash", "sdp", "tee"}.intersection(DEMUXERS)


def test_audio_names():
    assert all(map(is_audio_name, ["a.WAV", "b.stem.mp4", "c.OPUS", "d.e.wma"]))
    assert not any(map(is_audio_name, ["cover.jpg", "wav", ".wav", "notes.txt", "a.wav.part"]))


def test_linked_folders_are_searched_once_and_system_folders_left_out(tmp_path):
    root = tmp_path / "music"
    for name in ("a.wav", "@eaDir/a.wav", "__MACOSX/._a.wav", "cover.jpg", "...And Justice/b.flac"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.opus").touch()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(root)
    files = list(files_below(root))
    songs = [path for path in files if is_audio_file(path, below=root)]
    assert [str(path.relative_to(root)) for path in songs] == [
        "a.wav",
        "...And Justice/b.flac",
        "linked/c.opus",
    ]
    said = left_out(set(files).difference(songs), root)
    assert ".jpg" in said and "2 in hidden or system folders" in said
    assert left_out([], root) is None
