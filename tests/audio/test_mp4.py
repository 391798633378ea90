"""m4a and .stem.mp4 files keep length and alignment, and are refused if broken."""

from __future__ import annotations

import math
import shutil
import sys

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import mp4
from helpers.songs import folder_of


def sine(length=30001, rate=44100, channels=2):
    wave = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(length) / rate)
    return wave.expand(channels, -1)


def m4a(path, samples, rate=44100):
    with mp4.open_stem_writer(path, ["song"], rate, len(samples)) as write:
        for block in samples.split(7000, dim=-1):
            write(block[None])
    return path


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (96000, 2)])
def test_round_trip_keeps_length_and_alignment(tmp_path, channels, rate):
    samples = sine(channels=channels, rate=rate)
    again, read_rate = audio_io.read(m4a(tmp_path / "a.m4a", samples, rate))
    assert read_rate == rate and again.shape == samples.shape
    error = {
        lag: (again[0, 2000 + lag : 20000 + lag] - samples[0, 2000:20000]).square().mean().item()
        for lag in range(-3, 4)
    }
    assert min(error, key=error.__getitem__) == 0


def test_blocks_have_about_the_requested_length(tmp_path):
    path = m4a(tmp_path / "a.m4a", sine())
    with audio_io.open_reader(path) as file:
        assert (file.sample_rate, file.channels, file.frames) == (44100, 2, 30001)
        lengths = [block.shape[-1] for block in file.blocks(10000)]
    assert sum(lengths) == 30001 and all(10000 <= n < 11024 for n in lengths[:-1])


def test_musdb_stem_file_is_read_as_its_mixture(tmp_path):
    name = "The Easton Ellises - Falcon 69.stem.mp4"
    samples, rate = audio_io.read(folder_of("stempeg") / "data" / name)
    assert rate == 44100 and samples.shape[0] == 2 and 6 < samples.shape[1] / rate < 6.2
    assert samples.std() > 0.05


def test_truncated_file_is_refused(tmp_path):
    path = m4a(tmp_path / "a.m4a", sine())
    content = path.read_bytes()
    for part in (0.0, 0.5, 0.97):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(ValueError, match=r"a\.m4a .*truncated"):
            audio_io.read(path)


def test_truncated_file_with_leading_index_is_refused(tmp_path):
    """An interrupted download of a file made for streaming."""
    import av

    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(sine(200000).numpy().copy(), "fltp", "stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    for part in (0.5, 0.95):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(ValueError, match="truncated"):
            audio_io.read(path)


def test_video_without_audio_is_refused(tmp_path):
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"film\.mp4 holds no audio"):
        audio_io.read(path)


def test_sample_rate_unsupported_by_aac_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match=r"a\.mp4.*AAC.*12345 Hz"),
        mp4.open_stem_writer(tmp_path / "a.mp4", ["a"], 12345, 1) as write,
    ):
        write(torch.zeros(1, 1, 5000))
    assert not list(tmp_path.iterdir())


def test_read_error_is_not_attributed_to_the_output(tmp_path):
    """Both are FFmpeg errors; here the input is corrupt."""
    path = m4a(tmp_path / "a.m4a", sine(200000))
    content = bytearray(path.read_bytes())
    content[4000 : len(content) // 2] = bytes(len(content) // 2 - 4000)
    path.write_bytes(content)
    with (
        pytest.raises(ValueError, match=r"a\.m4a (cannot be read|is truncated)"),
        audio_io.open_reader(path) as file,
        mp4.open_stem_writer(tmp_path / "b.mp4", ["a"], 44100, 2) as write,
    ):
        for block in file.blocks(10000):
            write(block[None])
    assert not (tmp_path / "b.mp4").exists()


def test_missing_pyav_is_reported_with_its_install_command(tmp_path, monkeypatch):
    source = m4a(tmp_path / "a.m4a", sine())
    shutil.copy(source, tmp_path / "b.m4a")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"PyAV.*pip install av"):
        audio_io.read(tmp_path / "b.m4a")
