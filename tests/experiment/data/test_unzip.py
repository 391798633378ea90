"""A zip unpacked: all of it, and nothing anywhere else."""

from __future__ import annotations

import errno
import io
import random
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.data.unzip import unpack

NOISE = random.Random(0).randbytes(100_000)
FILES = {"train/A. B. - C/vocals.wav": b"voice" * 99_999, "README": b"read", "train/é.txt": b""}


def packed(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def files_in(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_was_packed_is_there(tmp_path):
    noise = {"noise": NOISE}
    archive = packed(tmp_path / "a.zip", FILES | noise | {"empty/": b""}, zipfile.ZIP_STORED)
    unpack(archive, tmp_path / "out", progress=False)
    assert files_in(tmp_path / "out") == FILES | noise
    assert (tmp_path / "out" / "empty").is_dir()


@pytest.mark.parametrize(
    "name",
    [
        "../out of it",
        "a/../../b",
        "/etc/passwd",
        "C:/x",
        "C:x",
        "a\\..\\..\\b",
        "\\\\host\\share\\x",
    ],
)
def test_nothing_is_written_outside_of_the_folder(tmp_path, name):
    archive = packed(tmp_path / "a.zip", {"fine": b"", name: b"harm"})
    with pytest.raises(ValueError, match="outside of the folder"):
        unpack(archive, tmp_path / "out", progress=False)
    assert files_in(tmp_path).keys() == {"a.zip"}, "not even what is fine"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path, kind):
    entry = zipfile.ZipInfo("link")
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ValueError, match="'link' is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_one_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", "other")
    with pytest.raises(ValueError, match="holds 'a' twice"):
        unpack(tmp_path / "a.zip", tmp_path / "out", progress=False)


def test_encrypted_ones_are_refused(tmp_path):
    archive = packed(tmp_path / "a.zip", {"a": b"secret"})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(ValueError, match="'a' is encrypted"):
        unpack(archive, tmp_path / "out", progress=False)


def test_what_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    bomb = packed(tmp_path / "bomb.zip", {"zeros": bytes(10**7)})
    with pytest.raises(ValueError, match=r"claim to hold 10.0 MB, which no music does"):
        unpack(bomb, tmp_path / "out", progress=False)
    monkeypatch.setattr(disk, "free", lambda folder: 1000)
    archive = packed(tmp_path / "a.zip", {"a": bytes(range(256)) * 8}, zipfile.ZIP_STORED)
    with pytest.raises(disk.NoSpace, match="What is in a.zip needs"):
        unpack(archive, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_one_that_says_less_than_it_holds_cannot_write_more(tmp_path):
    archive = packed(tmp_path / "a.zip", {"zeros": bytes(10**6), "noise": NOISE})
    data = archive.read_bytes()
    assert data.count(struct.pack("<I", 10**6)) == 2
    archive.write_bytes(data.replace(struct.pack("<I", 10**6), struct.pack("<I", 1000)))
    with pytest.raises(ValueError, match="truncated or damaged"):
        unpack(archive, tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "zeros").stat().st_size <= 1000


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_one_is_named(tmp_path, kept):
    archive = packed(tmp_path / "a.zip", {"noise": NOISE})
    archive.write_bytes(archive.read_bytes()[: int(kept * archive.stat().st_size)])
    with pytest.raises(ValueError, match=r"a.zip cannot be unpacked: it is no zip, truncated"):
        unpack(archive, tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
)
def test_a_damaged_one_is_named(tmp_path, compression):
    buffer = io.BytesIO()
    packed(buffer, {"noise": NOISE}, compression)
    data = bytearray(buffer.getvalue())
    data[60:70] = bytes(255 - byte for byte in data[60:70])
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ValueError, match="truncated or damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out", progress=False)


def test_one_that_points_before_its_beginning_is_named(tmp_path):
    archive = packed(tmp_path / "a.zip", {"noise": NOISE})
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x05\x06") + 16  # where the table of contents is said to begin
    (start,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, start + 10)
    archive.write_bytes(data)
    with pytest.raises(ValueError, match="truncated or damaged"):
        unpack(archive, tmp_path / "out", progress=False)


def test_a_name_that_is_no_text_is_damage(tmp_path):
    archive = packed(tmp_path / "a.zip", {"\u00e9": b""})
    archive.write_bytes(archive.read_bytes().replace(b"\xc3\xa9", b"\xff\xff"))
    with pytest.raises(ValueError, match="a.zip cannot be unpacked: it is no zip, truncated"):
        unpack(archive, tmp_path / "out", progress=False)


def test_a_file_system_that_does_not_take_a_name_is_no_damage(tmp_path, monkeypatch):
    def refuses(path, *_):
        raise OSError(errno.EINVAL, "Invalid argument", str(path))

    archive = packed(tmp_path / "a.zip", {"who?": b"x"})
    monkeypatch.setattr(Path, "open", refuses)
    with pytest.raises(OSError, match=r"Invalid argument: .*who\?"):
        unpack(archive, tmp_path / "out", progress=False)
