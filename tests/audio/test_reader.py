"""Audio is read to the end of its data, whatever a file or an encoder states about its length."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import warnings

import numpy as np
import pytest
import soundfile
import torch

from asteroid_waveunet.audio import io as audio_io

SECONDS, RATE = 2, 44100


def run(*words, data=None):
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    return subprocess.run(words, input=data, capture_output=True, check=True).stdout


def encoded(path, *options):
    """Encode the song with ffmpeg, in the format of the path's suffix."""
    run("ffmpeg", "-v", "error", "-y", "-i", path.parent / "song.wav", *options, path)
    return path.read_bytes()


def decoded_length(path):
    """Return samples per channel as the program ffmpeg decodes the first audio stream."""
    command = ["ffmpeg", "-v", "quiet", "-i", f"file:{path}", "-map", "0:a:0", "-ac", "1"]
    return len(run(*command, "-f", "s16le", "-")) // 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with song.wav, two seconds of noise in stereo that grows louder."""
    folder = tmp_path_factory.mktemp("songs")
    fade = np.linspace(0.02, 0.5, SECONDS * RATE)[:, None]
    noise = np.random.default_rng(0).uniform(-1, 1, (SECONDS * RATE, 2))
    soundfile.write(folder / "song.wav", fade * noise, RATE, subtype="PCM_16")
    return folder


def read_length(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return audio_io.read(path)[0].shape[-1]


@pytest.mark.parametrize(
    "options", [["-V4"], ["-V4", "-t"], ["--abr", "160", "-t"], ["-b", "192", "-t"], ["-b", "192"]]
)
def test_mp3_of_any_bit_rate_is_read_to_its_end(folder, options):
    path = folder / "a.mp3"
    run("lame", "--quiet", *options, folder / "song.wav", path)
    assert read_length(path) == decoded_length(path) >= SECONDS * RATE
    content = path.read_bytes()
    path.write_bytes(content + content)
    assert read_length(path) == decoded_length(path) >= 2 * SECONDS * RATE


def test_mp3_cut_short_of_its_stated_bytes_is_refused(folder):
    path = folder / "cut.mp3"
    run("lame", "--quiet", "-V4", folder / "song.wav", path)
    content = path.read_bytes()
    tag = b"ID3\4\0\0" + bytes([0, 0, 2, 0]) + bytes(256)
    for data in (content, tag + content):
        path.write_bytes(data)
        assert read_length(path) == SECONDS * RATE
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match=r"cut\.mp3 is truncated"):
            audio_io.read(path)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("ogg", ["-c:a", "libvorbis"]),
        ("opus", ["-c:a", "libopus"]),
        ("oga", ["-c:a", "flac"]),
        ("flac", []),
    ],
)
def test_joined_files_are_read_to_the_end_of_the_last(folder, suffix, options):
    path = folder / f"joined.{suffix}"
    content = encoded(path, *options)
    alone = read_length(path)
    assert alone == decoded_length(path)
    path.write_bytes(content + content)
    # ffmpeg adds samples at the joint (ogg: 128 or 576, opus: 312 or none), by its version.
    assert read_length(path) == 2 * alone


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_joined_ogg_of_other_rates_and_channels_are_converted(folder, suffix):
    path = folder / f"joined.{suffix}"
    rate = ("-ar", "22050") if suffix == "ogg" else ()
    stereo = encoded(path)
    first, second = audio_io.read(path)[0], encoded(path, "-ac", "1", *rate)
    mono = audio_io.read(path)[0]
    for content, channels in ((stereo + second, 2), (second + stereo, 1)):
        path.write_bytes(content)
        samples = audio_io.read(path)[0]
        assert len(samples) == channels
        n_first = (first if channels == 2 else mono).shape[-1]
        n_rest = first.shape[-1] if channels == 2 else mono.shape[-1]
        assert samples.shape[-1] == n_first + n_rest
        if suffix == "opus":  # all opus has one rate: only channels are converted, at one level
            other = mono.expand(2, -1) if channels == 2 else first.mean(0, keepdim=True)
            torch.testing.assert_close(samples[:, n_first:], other, atol=1e-6, rtol=0)


def test_fragmented_mp4_is_read_as_ffmpeg_decodes_it(folder):
    path = folder / "fragments.m4a"
    encoded(path, "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")
    assert read_length(path) == decoded_length(path) > SECONDS * RATE
    encoded(path, "-c:a", "alac", "-movflags", "dash+empty_moov", "-frag_duration", "300000")
    assert read_length(path) == SECONDS * RATE


def test_rf64_from_a_pipe_is_read_whole(folder):
    path = folder / "pipe.wav"
    words = ["ffmpeg", "-v", "error", "-i", folder / "song.wav", "-rf64", "always", "-f", "wav"]
    path.write_bytes(run(*words, "-"))
    assert torch.equal(audio_io.read(path)[0], audio_io.read(folder / "song.wav")[0])
    empty = path.read_bytes()
    path.write_bytes(empty[: empty.index(b"data") + 8])
    with pytest.raises(ValueError, match="empty"):
        audio_io.read(path)


def test_joined_files_of_other_rates_and_channels_are_converted(folder):
    path = folder / "joined.mp3"
    stereo = encoded(path, "-write_xing", "0")
    mono = encoded(path, "-write_xing", "0", "-ac", "1", "-ar", "22050")
    path.write_bytes(stereo + mono)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a packet at the joint
        samples, rate = audio_io.read(path)
    assert rate == RATE and len(samples) == 2
    assert abs(samples.shape[-1] - 2 * SECONDS * RATE) < 6000
    assert samples[:, -RATE // 2 :].std() > 0.04, "the end is the loud end of the second"


def test_wav_with_a_stated_size_of_zero_is_read_to_its_end(folder):
    path = folder / "zero.wav"
    content = (folder / "song.wav").read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    assert read_length(path) == SECONDS * RATE
    assert torch.equal(audio_io.read(path)[0], audio_io.read(folder / "song.wav")[0])
    with audio_io.open_reader(path) as file:
        assert file.subtype == "PCM_16"


@pytest.mark.parametrize("form", ["PVF", "PAF", "AVR", "MAT5", "NIST", "XI", "WVE", "SDS"])
def test_formats_that_only_libsndfile_reads(tmp_path, form):
    path, channels = tmp_path / "a", 1
    subtype = {"XI": "DPCM_16", "WVE": "ALAW"}.get(form, "PCM_16")
    rate = 8000 if form == "WVE" else RATE
    soundfile.write(path, np.zeros((900, channels)), rate, subtype, format=form)
    assert read_length(path) >= 900


def test_what_is_no_audio_makes_no_noise(tmp_path, capfd):
    for content in (b"PK\3\4", b"PK\3\4" + bytes(2000), b"#EXTM3U\na.wav\n", bytes(5000)):
        (tmp_path / "a.mp3").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.mp3 cannot be read as audio"):
            audio_io.read(tmp_path / "a.mp3")
    assert capfd.readouterr().err == ""


def test_file_after_a_wav_is_said_to_be_left_out(folder):
    path = folder / "joined.wav"
    content = (folder / "song.wav").read_bytes()
    path.write_bytes(content + content)
    with pytest.warns(UserWarning, match=r"joined\.wav: another file follows .* is left out"):
        assert audio_io.read(path)[0].shape[-1] == SECONDS * RATE
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + struct.pack("<I", len(content) - at - 3) + content[at + 4 :])
    assert read_length(path) == SECONDS * RATE, "it lacks a part of a sample, no whole one"


def test_empty_wav_with_tags_is_empty(folder):
    path = folder / "empty.wav"
    soundfile.write(path, np.zeros((0, 2)), RATE)
    content = path.read_bytes()
    for tags in (b"", b"LIST" + struct.pack("<I", 26) + b"INFO" + bytes(22)):
        path.write_bytes(content + tags)
        with pytest.raises(ValueError, match=r"empty\.wav is empty"):
            audio_io.read(path)


def test_adts_named_m4a_is_read_as_what_it_is(folder):
    path = folder / "adts.m4a"
    encoded(path, "-f", "adts")
    assert read_length(path) == decoded_length(path) > SECONDS * RATE


@pytest.mark.parametrize("form", ["wav", "aiff", "au", "w64", "caf", "flac", "ogg", "matroska"])
def test_piped_files_are_read_to_their_end(folder, form):
    path = folder / "piped"
    path.write_bytes(run("ffmpeg", "-v", "error", "-i", folder / "song.wav", "-f", form, "pipe:1"))
    assert abs(read_length(path) - SECONDS * RATE) <= 128  # Vorbis in matroska is padded


@pytest.mark.parametrize(
    ("suffix", "options", "subtype"),
    [
        ("flac", ["-sample_fmt", "s16"], "PCM_16"),
        ("flac", ["-sample_fmt", "s32"], "PCM_24"),
        ("m4a", ["-c:a", "alac", "-sample_fmt", "s16p"], "PCM_16"),
        ("mka", ["-c:a", "pcm_s24le"], "PCM_24"),
        ("mp3", [], None),
        ("ogg", ["-c:a", "libvorbis"], None),
    ],
)
def test_bit_depth_is_that_of_a_lossless_file(folder, suffix, options, subtype):
    path = folder / f"depth.{suffix}"
    encoded(path, *options)
    with audio_io.open_reader(path) as file:
        assert file.subtype == subtype
    if subtype:
        assert torch.equal(audio_io.read(path)[0], audio_io.read(folder / "song.wav")[0])


def test_damaged_packets_are_said(folder):
    path = folder / "hole.mp3"
    run("lame", "--quiet", "-V4", "-t", folder / "song.wav", path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1000] = bytes(1000)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"hole\.mp3 is damaged"):
        audio_io.read(path)
    flac = folder / "hole.flac"
    content = bytearray(encoded(flac))
    content[len(content) // 2 : len(content) // 2 + 100] = bytes(100)
    flac.write_bytes(content)
    with pytest.raises(ValueError, match=r"hole\.flac is truncated or damaged"):
        audio_io.read(flac)


@pytest.mark.parametrize("channels", [1, 6, 8])
def test_channels_of_compressed_files_keep_their_order(folder, channels):
    path = folder / "many.flac"
    samples = np.random.default_rng(0).uniform(-1, 1, (5000, channels))
    soundfile.write(path, samples, RATE)
    np.testing.assert_allclose(audio_io.read(path)[0].numpy().T, samples, atol=2**-15)


def test_content_decides_and_not_the_suffix(folder):
    for suffix, name in (("m4a", "a.mp3"), ("mp3", "b.wav"), ("flac", "c.m4a"), ("wma", "d.ogg")):
        encoded(folder / f"named.{suffix}")
        shutil.copy(folder / f"named.{suffix}", folder / name)
        assert read_length(folder / name) == read_length(folder / f"named.{suffix}")
    playlist = folder / "list.mp3"
    playlist.write_text(f"#EXTM3U\n#EXTINF:2\nfile://{folder}/song.wav\n")
    with pytest.raises(ValueError, match=r"list\.mp3 cannot be read as audio"):
        audio_io.read(playlist)


def test_decoders_write_nothing_to_stderr(folder, capfd):
    path = folder / "noise.mp3"
    encoded(path)
    content = path.read_bytes()
    for data in (content + b"TAG" + bytes(3000) + content, content[:5000], bytes(100) + content):
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(ValueError):
                audio_io.read(path)
    assert capfd.readouterr().err == ""


@contextlib.contextmanager
def without_privileges():
    """Act as a user who owns nothing; root may read everything."""
    if os.geteuid() != 0:
        pytest.skip("not root, who can give up privileges")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_systems_reason_is_given_with_path_and_remedy(tmp_path):
    song, closed = tmp_path / "song.m4a", tmp_path / "closed"
    closed.mkdir()
    for path in (song, closed / "song.wav"):
        path.write_bytes(b"RIFF")
        path.chmod(0)
    closed.chmod(0)
    for path in (song, closed / "song.wav"):
        reason = rf"{path.name} cannot be read: Permission denied.*chmod"
        with without_privileges(), pytest.raises(PermissionError, match=reason):
            audio_io.read(path)
    with pytest.raises(FileNotFoundError, match="not found"):
        audio_io.read(tmp_path / "nowhere.wav")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        audio_io.read(tmp_path)
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(OSError, match=r"loop\.wav cannot be read: .*links"):
        audio_io.read(tmp_path / "loop.wav")
    with pytest.raises(OSError, match="/dev/null cannot be read: it is a device"):
        audio_io.read("/dev/null")


def test_a_home_that_does_not_exist_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    audio_io.write("~tilde.wav", torch.zeros(1, 100), 8000)
    assert audio_io.read("~tilde.wav")[0].shape == (1, 100)
