"""Tags and cover of a song survive in every format of its stems."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import mp4, stem_names
from asteroid_waveunet.audio.tags import Tags, read_tags
from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg

TEXTS = {
    "title": "Ärger — 音",
    "artist": "A; B",
    "album": "Album",
    "album_artist": "Various",
    "composer": "C",
    "genre": "Rock",
    "date": "2020",
    "track": "3/12",
    "disc": "1/2",
    "copyright": "(c) X",
    "comment": "a comment",
}


def image(form: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 10, 10)).save(content, form)
    return content.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_tags_survive_in_every_format(tmp_path, form):
    tags = Tags(TEXTS, (image(form), f"image/{form.lower()}"))
    samples = 0.1 * torch.randn(2, 9000)
    for suffix in ("wav", "flac", "ogg", "mp3"):
        path = tmp_path / f"song.{suffix}"
        subtype = "PCM_16" if suffix in ("wav", "flac") else None
        with audio_io.open_writer(path, 44100, 2, subtype, 9000, tags) as write:
            write(samples)
        found = read_tags(path)
        assert found.cover == tags.cover, suffix
        # Vorbis comments hold the number alone or "3/12", by the writer.
        assert dict(found.texts) == TEXTS, suffix
        assert audio_io.read(path)[0].shape == samples.shape, suffix


def test_stem_file_keeps_tags_and_names(tmp_path):
    path = tmp_path / "song.stem.mp4"
    tags = Tags(TEXTS, (image("JPEG"), "image/jpeg"))
    with mp4.open_stem_writer(path, ["mixture", "a", "b"], 44100, 2, tags) as write:
        write(0.1 * torch.randn(3, 2, 9000))
    assert dict(read_tags(path).texts) == TEXTS and read_tags(path).cover == tags.cover
    assert stem_names.read_names(path) == ("a", "b")
    assert audio_io.read(path)[0].shape == (2, 9000)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a", "ogg", "flac", "opus"])
def test_tags_by_ffmpeg_are_read(tmp_path, suffix):
    find_ffmpeg()
    path = tmp_path / f"song.{suffix}"
    words = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1"]
    subprocess.run(
        [*words, "-metadata", "title=T", "-metadata", "artist=A", "-metadata", "track=4", path],
        check=True,
    )
    assert dict(read_tags(path).texts) == {"title": "T", "artist": "A", "track": "4"}


def test_file_without_tags_has_none(tmp_path):
    audio_io.write(tmp_path / "a.wav", torch.zeros(1, 100), 8000)
    (tmp_path / "b.wav").write_bytes(b"no audio")
    assert not read_tags(tmp_path / "a.wav")
    assert not read_tags(tmp_path / "b.wav")
    assert not read_tags(Path(tmp_path / "missing.wav"))
