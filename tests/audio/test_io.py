"""Audio files are read and written completely, or refused with an explanation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.file_utils import replacing


def sine(seconds=0.5, rate=8000, hertz=440.0, channels=2):
    wave = torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * rate)) / rate)
    return 0.5 * wave.expand(channels, -1)


def test_float_files_round_trip_bit_for_bit(tmp_path):
    samples = 3 * torch.randn(2, 1000)
    audio_io.write(tmp_path / "a.wav", samples, 44100)
    again, rate = audio_io.read(tmp_path / "a.wav")
    assert rate == 44100 and torch.equal(again, samples), "nothing is clipped or rescaled"


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_24"), ("ogg", "VORBIS")]
)
def test_other_formats_are_read(tmp_path, suffix, subtype):
    samples = sine()
    audio_io.write(tmp_path / f"a.{suffix}", samples, 8000, subtype)
    again, rate = audio_io.read(tmp_path / f"a.{suffix}")
    assert rate == 8000 and again.shape == samples.shape
    assert (again - samples).abs().max() < 0.1


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.wav"):
        audio_io.read(tmp_path / "nowhere.wav")
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.wav.*wav, flac, ogg, mp3.*ffmpeg"):
        audio_io.read(tmp_path / "text.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 8000)
    with pytest.raises(ValueError, match=r"empty\.wav is empty"):
        audio_io.read(tmp_path / "empty.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_truncated_files_are_refused(tmp_path, suffix):
    """libsndfile would return what is left, or make up the rest."""
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, (40000, 2)), 8000)
    content = path.read_bytes()
    for part in (0.1, 0.5, 0.97):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(ValueError, match="truncated|cannot be read"):
            audio_io.read(path)


def test_ogg_beyond_vorbis_limits_is_refused(tmp_path):
    """libsndfile would crash."""
    for rate, channels in ((384_000, 1), (8000, 300)):
        with pytest.raises(ValueError, match=f"200000 Hz and 255 .*{rate} Hz and {channels}"):
            audio_io.write(tmp_path / "a.ogg", torch.zeros(channels, 100), rate, None)
        assert not list(tmp_path.iterdir())


def test_flac_without_length_is_read_to_its_end(tmp_path):
    path = tmp_path / "piped.flac"
    soundfile.write(path, np.zeros((100, 1)), 8000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36-bit number of samples in the first metadata block
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert audio_io.read(path)[0].shape == (1, 100)


def test_piped_wav_without_size_is_complete(tmp_path):
    path = tmp_path / "piped.wav"
    soundfile.write(path, np.zeros((100, 1)), 8000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert audio_io.read(path)[0].shape == (1, 100)


def test_read_locates_samples_that_are_not_finite(tmp_path):
    samples = sine(seconds=4).clone()
    samples[1, 20007] = float("nan")
    samples[1, 20009] = float("inf")
    audio_io.write(tmp_path / "bad.wav", samples, 8000)
    with pytest.raises(ValueError, match=r"bad\.wav.*NaN.*2\.501 s .*20007 of channel 1"):
        audio_io.read(tmp_path / "bad.wav")


def test_failed_write_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"a\.wav.*PCM_99"):
        audio_io.write(tmp_path / "a.wav", sine(), 8000, "PCM_99")
    assert list(tmp_path.iterdir()) == []


def test_replacing_leaves_a_complete_file_or_none(tmp_path):
    target = tmp_path / "folder" / "a.txt"
    with pytest.raises(RuntimeError), replacing(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with replacing(target) as partial:
        partial.write_text("whole")
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("suffix", "bits"), [("wav", 16), ("wav", 24), ("flac", 16)])
def test_pcm_files_round_trip_bit_for_bit(tmp_path, suffix, bits):
    path, again = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    unused = 32 - bits
    pcm = np.random.default_rng(0).integers(-(2**31), 2**31, (1000, 2)) >> unused << unused
    pcm[:2] = -(2**31), 2**31 - 2**unused
    soundfile.write(path, pcm.astype(np.int32), 8000, subtype=f"PCM_{bits}")
    samples, rate = audio_io.read(path)
    audio_io.write(again, samples, rate, f"PCM_{bits}")
    assert np.array_equal(soundfile.read(again, dtype="int32")[0], pcm)


def test_wav_above_4_gb_is_written_as_rf64(tmp_path):
    for frames, form in ((2**29, "WAV"), (2**30, "RF64")):
        with audio_io.open_writer(tmp_path / "a.wav", 44100, 2, "PCM_16", frames) as write:
            write(torch.zeros(2, 10))
        assert soundfile.info(tmp_path / "a.wav").format == form
        assert audio_io.read(tmp_path / "a.wav")[0].shape == (2, 10)


def test_blocks_joined_equal_the_file(tmp_path):
    samples = torch.randn(2, 10001)
    audio_io.write(tmp_path / "a.wav", samples, 8000)
    with audio_io.open_reader(tmp_path / "a.wav") as file:
        assert (file.sample_rate, file.channels, file.frames) == (8000, 2, 10001)
        assert file.subtype == "FLOAT"
        blocks = list(file.blocks(3000))
    assert [block.shape for block in blocks] == [(2, 3000)] * 3 + [(2, 1001)]
    assert torch.equal(torch.cat(blocks, dim=-1), samples)
