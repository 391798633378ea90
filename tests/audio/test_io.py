"""Files in and out: whole, finite, at the right rate and length, or a plain refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.file_utils import replacing


def sine(seconds=0.5, rate=8000, hertz=440.0, channels=2):
    wave = torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * rate)) / rate)
    return 0.5 * wave.expand(channels, -1)


def test_float_files_come_back_bit_for_bit(tmp_path):
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


def test_what_is_no_audio_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no audio file"):
        audio_io.read(tmp_path / "nowhere.wav")
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(ValueError, match="text.wav cannot be read as audio"):
        audio_io.read(tmp_path / "text.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 8000)
    with pytest.raises(ValueError, match="empty.wav is empty"):
        audio_io.read(tmp_path / "empty.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.97])
def test_a_truncated_file_is_refused(tmp_path, suffix, keep):
    """libsndfile would read what is left of it, or make up the rest, and say nothing."""
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, (40000, 2)), 8000)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match="truncated|cannot be read"):
        audio_io.read(path)


@pytest.mark.parametrize(("rate", "channels"), [(384_000, 1), (8000, 300)])
def test_an_ogg_that_libsndfile_crashes_on_is_refused(tmp_path, rate, channels):
    with pytest.raises(ValueError, match="Vorbis has 200000 Hz and 255 channels at most"):
        audio_io.write(tmp_path / "a.ogg", torch.zeros(channels, 100), rate, None)
    assert not list(tmp_path.iterdir())


def test_a_flac_from_a_pipe_is_told_what_it_lacks(tmp_path):
    path = tmp_path / "piped.flac"
    soundfile.write(path, np.zeros((100, 1)), 8000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of the number of samples, in the first metadata block
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not say how long it is"):
        audio_io.read(path)


def test_a_file_from_a_pipe_has_no_size_in_its_header_and_is_whole(tmp_path):
    path = tmp_path / "piped.wav"
    soundfile.write(path, np.zeros((100, 1)), 8000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert audio_io.read(path)[0].shape == (1, 100)


def test_samples_that_are_not_finite_are_placed(tmp_path):
    samples = sine().clone()
    samples[1, 7] = float("nan")
    samples[1, 9] = float("inf")
    audio_io.write(tmp_path / "bad.wav", samples, 8000)
    with pytest.raises(ValueError, match=r"bad.wav has NaN or .* \(sample 7 of channel 1\)"):
        audio_io.read(tmp_path / "bad.wav")


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="cannot be written as PCM_99"):
        audio_io.write(tmp_path / "a.wav", sine(), 8000, "PCM_99")
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "folder" / "a.txt"
    with pytest.raises(RuntimeError), replacing(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with replacing(target) as partial:
        partial.write_text("whole")
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


@given(st.integers(1, 3000), st.sampled_from([8000, 11025, 22050, 44100, 48000]))
@settings(deadline=None, max_examples=30)
def test_resampling_there_and_back_keeps_the_length(length, rate):
    samples = torch.randn(2, length)
    there = audio_io.resample(samples, rate, 22050)
    assert there.shape == (2, round(length * 22050 / rate))
    assert audio_io.resample(there, 22050, rate, length).shape == samples.shape


def test_resampling_keeps_level_pitch_and_place():
    there = audio_io.resample(sine(rate=8000), 8000, 22050)
    inner = slice(2000, -2000)
    expected = sine(rate=22050)
    torch.testing.assert_close(there[:, inner], expected[:, inner], atol=1e-3, rtol=0)


def test_channels_are_repeated_or_averaged():
    stereo = torch.randn(2, 5)
    assert torch.equal(audio_io.to_channels(stereo, 1), stereo.mean(0, keepdim=True))
    assert torch.equal(audio_io.to_channels(stereo[:1], 3), stereo[:1].repeat(3, 1))
    with pytest.raises(ValueError, match="6 channels cannot be made 2"):
        audio_io.to_channels(torch.zeros(6, 5), 2)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_pcm_that_was_read_is_written_bit_for_bit(tmp_path, suffix, subtype):
    path, again = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    bits = int(subtype[-2:])
    pcm = (
        np.random.default_rng(0).integers(-(2**31), 2**31, (1000, 2)) >> (32 - bits) << (32 - bits)
    )
    pcm[:2] = -(2**31), 2**31 - 2 ** (32 - bits)
    soundfile.write(path, pcm.astype(np.int32), 8000, subtype=subtype)
    samples, rate = audio_io.read(path)
    audio_io.write(again, samples, rate, subtype)
    assert np.array_equal(soundfile.read(again, dtype="int32")[0], pcm)


def test_a_wav_of_more_than_4_gigabytes_has_a_header_that_can_say_so(tmp_path):
    for frames, form in ((2**29, "WAV"), (2**30, "RF64")):
        with audio_io.writing(tmp_path / "a.wav", 44100, 2, "PCM_16", frames) as write:
            write(torch.zeros(2, 10))
        assert soundfile.info(tmp_path / "a.wav").format == form
        assert audio_io.read(tmp_path / "a.wav")[0].shape == (2, 10)


def test_blocks_joined_are_the_file(tmp_path):
    samples = torch.randn(2, 10001)
    audio_io.write(tmp_path / "a.wav", samples, 8000)
    with audio_io.reading(tmp_path / "a.wav") as file:
        assert (file.sample_rate, file.channels, file.frames) == (8000, 2, 10001)
        assert file.subtype == "FLOAT"
        blocks = list(file.blocks(3000))
    assert [block.shape for block in blocks] == [(2, 3000)] * 3 + [(2, 1001)]
    assert torch.equal(torch.cat(blocks, dim=-1), samples)


@pytest.mark.parametrize("rates", [(44100, 22050), (22050, 44100), (48000, 8192), (8000, 8000)])
def test_resampling_in_blocks_is_resampling_at_once(rates):
    samples = torch.randn(2, 20000)
    resampler = audio_io.Resampler(*rates, channels=2)
    blocks = [resampler.feed(block) for block in samples.split(777, dim=-1)]
    joined = torch.cat([*blocks, resampler.flush()], dim=-1)
    whole = audio_io.resample(samples, *rates)
    n = min(joined.shape[-1], whole.shape[-1])
    assert abs(joined.shape[-1] - whole.shape[-1]) <= 1
    torch.testing.assert_close(joined[..., :n], whole[..., :n], atol=1e-6, rtol=0)
