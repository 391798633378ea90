"""Pipes and file objects are read like files; parts of files; a small temporary folder."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import sources


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    audio_io.write(path, 0.1 * torch.randn(2, 9000), 8000)
    return path


def test_file_objects_and_pipes_are_read_like_files(song):
    expected = audio_io.read(song)[0]
    assert torch.equal(audio_io.read(io.BytesIO(song.read_bytes()))[0], expected)
    with song.open("rb") as file:
        assert torch.equal(audio_io.read(file)[0], expected)
    pipe = song.with_name("pipe")
    os.mkfifo(pipe)
    content = song.read_bytes()
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    assert torch.equal(audio_io.read(pipe)[0], expected)
    writer.join()
    with pytest.raises(ValueError, match="not bytes; open it in binary mode"):
        audio_io.read(io.StringIO("text"))


def test_temporary_folder_without_room_is_named(song, monkeypatch):
    def full(file, block):
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full(io.FileIO):
        write = full

    content = io.BytesIO(song.read_bytes())
    monkeypatch.setattr(Path, "open", lambda path, mode: Full(path, "w"))
    with (
        pytest.raises(OSError, match=r"does not fit .*No space left on device.*TMPDIR"),
        sources.local_file(content),
    ):
        pass


def test_excerpts(song):
    samples = audio_io.read(song)[0]
    for start, duration in ((0, None), (0.5, None), (0.1, 0.3), (0, 0.2), (1.0, 9.0)):
        with audio_io.open_reader(song) as file:
            part = file.excerpt(start, duration)
            read = torch.cat(list(part.blocks(700)), dim=-1)
        last = None if duration is None else round((start + duration) * 8000)
        assert torch.equal(read, samples[:, round(start * 8000) : last])
        assert part.frames == read.shape[-1]
    with audio_io.open_reader(song) as file:
        with pytest.raises(ValueError, match=r"song\.wav ends after 1\.125 s"):
            list(file.excerpt(2).blocks(1000))
        for start, duration in ((-1, None), (float("nan"), None), (0, 0), (0, float("inf"))):
            with pytest.raises(ValueError, match="expected seconds"):
                file.excerpt(start, duration)
