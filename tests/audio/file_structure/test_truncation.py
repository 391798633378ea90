"""Truncated files are detected wherever they end, and complete files pass."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.file_structure.truncation import (
    BEGINNINGS,
    CHECKS,
    format_of,
    is_truncated,
)

LENGTHS = [1, 2500, 20001]  # samples per channel

CONTAINERS = {
    "wav of 16 bits": ("WAV", "PCM_16"),
    "wav of 24 bits": ("WAV", "PCM_24"),
    "wav of floats": ("WAV", "FLOAT"),
    "wav with a long header": ("WAVEX", "PCM_24"),
    "wav without a limit": ("RF64", "PCM_16"),
    "aiff of 16 bits": ("AIFF", "PCM_16"),
    "aiff of floats": ("AIFF", "FLOAT"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_24"),
    "w64": ("W64", "FLOAT"),
    "ogg vorbis": ("OGG", "VORBIS"),
    "ogg opus": ("OGG", "OPUS"),
}


def noise(length, channels=2):
    return np.random.default_rng(length).uniform(-0.9, 0.9, (length, channels))


def content(tmp_path, form, subtype, length, **arguments):
    """Return the bytes of a complete file."""
    path = tmp_path / "whole"
    soundfile.write(path, noise(length), 48000, format=form, subtype=subtype, **arguments)
    return path.read_bytes()


def cuts(n_bytes):
    """Return numbers of bytes to cut off, from one to nearly all."""
    some = {1, 2, 10, 100, 1000, 4000, n_bytes // 10, n_bytes // 2, n_bytes * 97 // 100}
    return sorted(cut for cut in some if 0 < cut < n_bytes)


def is_refused(path, data):
    """Return True if libsndfile finds no samples, or the truncation is detected."""
    path.write_bytes(data)
    try:
        with soundfile.SoundFile(path) as file:
            return file.frames == 0 or is_truncated(path, file.format)
    except soundfile.LibsndfileError:
        return True


def with_chunks(data, *chunks):
    """Insert chunks with these contents before the samples of a wav."""
    at = data.index(b"data")
    before = b"".join(
        b"junk" + struct.pack("<I", len(chunk)) + chunk + bytes(len(chunk) % 2) for chunk in chunks
    )
    return (
        data[:4] + struct.pack("<I", len(data) + len(before) - 8) + data[8:at] + before + data[at:]
    )


def with_size(data, name, size, order="<"):
    """Replace the stored size of a chunk."""
    at = data.index(name) + 4
    return data[:at] + struct.pack(f"{order}I", size) + data[at + 4 :]


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_truncation_is_detected(tmp_path, container):
    form, subtype = CONTAINERS[container]
    path = tmp_path / "a"
    for length in LENGTHS:
        data = content(tmp_path, form, subtype, length)
        assert not is_refused(path, data), f"{length} samples"
        for cut in cuts(len(data)):
            assert is_refused(path, data[:-cut]), f"{cut} of {len(data)} bytes cut off"


def test_truncation_in_the_other_byte_order_is_detected(tmp_path):
    """Such a wav is RIFX, with big-endian sizes; an aiff keeps the byte order of its sizes."""
    for form, endian in (("WAV", "BIG"), ("AIFF", "LITTLE")):
        data = content(tmp_path, form, "PCM_16", 1000, endian=endian)
        assert not is_refused(tmp_path / "a", data), form
        for cut in cuts(len(data)):
            assert is_refused(tmp_path / "a", data[:-cut]), f"{form}, {cut} bytes cut off"


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_truncated_flac_and_mp3_are_detected_in_reading(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    for length in LENGTHS[1:]:
        soundfile.write(path, noise(length), 44100)
        data = path.read_bytes()
        assert audio_io.read(path)[0].shape == (2, length)
        for cut in cuts(len(data)):
            path.write_bytes(data[:-cut])
            with pytest.raises(ValueError, match="truncated|cannot be read|empty"):
                audio_io.read(path)


def encoded(tmp_path, suffix, *options):
    """Return the bytes of a second of noise, encoded by ffmpeg."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    source = tmp_path / "noise.wav"
    soundfile.write(source, noise(44100), 44100)
    words = ["ffmpeg", "-v", "error", "-y", "-i", source, *options, tmp_path / f"whole.{suffix}"]
    subprocess.run(words, check=True)
    return (tmp_path / f"whole.{suffix}").read_bytes()


FRAGMENTS = ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-frag_duration", "200000")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        *(("wma", []), ("mka", []), ("webm", ["-c:a", "libopus"]), ("voc", []), ("avi", [])),
        *(("m4a", []), ("m4a", ["-movflags", "faststart"]), ("m4a", FRAGMENTS)),
    ],
)
def test_truncated_files_of_other_containers_are_refused(tmp_path, suffix, options):
    data = encoded(tmp_path, suffix, *options)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    whole = audio_io.read(path)[0].shape[-1]
    assert whole > 43000
    for share in (0.5, 0.8):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match="is truncated"):
            audio_io.read(path)


def test_sizes_that_were_unknown_in_writing_refuse_nothing(tmp_path):
    """The program writes to a pipe and cannot go back."""
    path = tmp_path / "a"
    encoded(tmp_path, "wav")
    for form in ("asf", "matroska", "webm", "w64", "caf", "au"):
        codec = ["-c:a", "libopus"] if form == "webm" else []
        words = ["ffmpeg", "-v", "error", "-i", tmp_path / "noise.wav", *codec, "-f", form, "-"]
        data = subprocess.run(words, check=True, capture_output=True).stdout
        path.write_bytes(data)
        assert not is_truncated(path, format_of(data[:16])), form
        path.write_bytes(data[: len(data) // 2])
        assert not is_truncated(path, format_of(data[:16])), form


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_truncated_ogg_is_detected_between_and_within_pages(tmp_path, subtype):
    path = tmp_path / "a.ogg"
    audio_io.write(path, torch.from_numpy(noise(150_000).T).float(), 48000, subtype)
    data = path.read_bytes()
    assert len(data) > 2**17 and not is_truncated(path, "OGG")
    pages = [at for at in range(len(data)) if data[at : at + 5] == b"OggS\0"]
    assert len(pages) > 4
    for page in pages[:0:-1]:
        for end in reversed(range(page - 2, min(page + 30, len(data)))):
            os.truncate(path, end)
            assert is_truncated(path, "OGG"), f"cut at {end}, a page being at {page}"


def test_bytes_after_an_ogg_are_ignored(tmp_path):
    path = tmp_path / "a.ogg"
    data = content(tmp_path, "OGG", "VORBIS", 3000)
    for tags in (b"TAG" + bytes(125), b"OggS\1" + bytes(100), b"OggS\0\xff", bytes(100_000)):
        assert not is_refused(path, data + tags)
        assert is_refused(path, data[:-4000] + tags)
    assert not is_refused(path, data + bytes(2**20)), "its last page is out of sight"
    assert not is_refused(path, data + data), "one stream after another"
    assert all(is_refused(path, data + data[:n]) for n in (4, 5, 6, 26, 27, len(data) - 1))


def test_chunks_before_the_samples_are_skipped(tmp_path):
    plain = content(tmp_path, "WAV", "PCM_16", 3000)
    chunks = [bytes(n) for n in range(150)]  # every other one of odd size
    for data in (with_chunks(plain, *chunks), with_chunks(plain, b"abc"), with_chunks(plain, b"")):
        assert not is_refused(tmp_path / "a.wav", data)
        for cut in cuts(len(data)):
            assert is_refused(tmp_path / "a.wav", data[:-cut]), f"{cut} of {len(data)} bytes"


@pytest.mark.parametrize("form", ["WAV", "AIFF"])
def test_missing_padding_and_tags_are_no_truncation(tmp_path, form):
    path = tmp_path / "a"
    subtype, order = ("PCM_U8", "<") if form == "WAV" else ("PCM_S8", ">")
    soundfile.write(path, noise(999, channels=1), 8000, format=form, subtype=subtype)
    data = path.read_bytes()
    if form == "AIFF":
        data = with_size(data, b"SSND", 8 + 999, ">")  # libsndfile counts the padding in
    tags = b"NAME" + struct.pack(f"{order}I", 100) + bytes(100)
    assert len(data) % 2 == 0, "999 bytes, padded"
    for cut in (0, 1, 50, 99, 104, 108, 109):
        assert not is_refused(path, (data + tags)[: len(data) + 108 - cut])
    assert is_refused(path, data[:-2])


def test_placeholder_sizes_of_piped_files_are_no_truncation(tmp_path):
    path = tmp_path / "a"
    wav = content(tmp_path, "WAV", "PCM_16", 1000)
    aiff = content(tmp_path, "AIFF", "PCM_16", 1000)
    sizes = (0, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    for size in sizes:
        path.write_bytes(with_size(wav, b"data", size))
        assert not is_truncated(path, "WAV"), hex(size)
    for size in (*sizes, 0x7F000008, 0x7F000000 // 18 * 18 + 8):  # 18: 3 bytes in 6 channels
        path.write_bytes(with_size(aiff, b"SSND", size, ">"))
        assert not is_truncated(path, "AIFF"), hex(size)
    au = content(tmp_path, "AU", "PCM_16", 1000)
    for size in sizes:
        path.write_bytes(au[:8] + struct.pack(">I", size) + au[12:])
        assert not is_truncated(path, "AU"), hex(size)
    caf = content(tmp_path, "CAF", "PCM_16", 1000)
    at = caf.index(b"data") + 4
    path.write_bytes(caf[:at] + b"\xff" * 8 + caf[at + 8 :])
    assert not is_truncated(path, "CAF")
    w64 = content(tmp_path, "W64", "PCM_16", 1000)
    at = w64.index(b"data") + 16
    path.write_bytes(w64[:at] + struct.pack("<Q", 2**63 - 1) + w64[at + 8 :])
    assert not is_truncated(path, "W64")
    data = content(tmp_path, "RF64", "PCM_16", 1000)
    at = data.index(b"ds64") + 16
    for size in (0, 2**63 - 1, 2**64 - 1):
        path.write_bytes(data[:at] + struct.pack("<Q", size) + data[at + 8 :])
        assert not is_truncated(path, "RF64"), hex(size)


def test_64_bit_sizes_are_read(tmp_path):
    path, size = tmp_path / "long.wav", 5 * 2**30
    data = content(tmp_path, "RF64", "PCM_16", 1)
    at, start = data.index(b"ds64") + 16, data.index(b"data") + 8
    header = data[:at] + struct.pack("<Q", size) + data[at + 8 : start]
    for missing in (0, 1, 2**32, size):
        with path.open("wb") as file:  # sparse: takes no disk space
            file.write(header)
            file.truncate(start + size - missing)
        assert is_truncated(path, "RF64") == (missing > 0)
    path.unlink()


@pytest.mark.parametrize(
    "container",
    [
        *("wav of 16 bits", "wav without a limit", "aiff of floats", "ogg opus"),
        *("au", "caf", "w64"),
    ],
)
def test_corrupt_headers_raise_nothing(tmp_path, container):
    form, subtype = CONTAINERS[container]
    data = content(tmp_path, form, subtype, 100)
    path, rng = tmp_path / "a", np.random.default_rng(0)
    for n in range(150):
        path.write_bytes(data[:n])
        assert is_truncated(path, form) in (True, False)
    for _ in range(100):
        broken = np.frombuffer(data, np.uint8).copy()
        at = rng.integers(0, min(len(data), 150), 8)
        broken[at] = rng.integers(0, 256, 8)
        path.write_bytes(broken.tobytes()[: rng.integers(0, len(data) + 1)])
        assert is_truncated(path, form) in (True, False)


def test_other_formats_and_empty_files_pass(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert not any(is_truncated(tmp_path / "a", form) for form in ("FLAC", *CHECKS))
    rng = np.random.default_rng(0)
    for form in CHECKS:
        for start in (bytes(4), *BEGINNINGS):
            (tmp_path / "a").write_bytes(start + rng.bytes(int(rng.integers(0, 200))))
            assert is_truncated(tmp_path / "a", form) in (True, False)
