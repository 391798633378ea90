"""Unzip: everything is extracted, and nothing outside of the folder."""

from __future__ import annotations

import errno
import random
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.data.unzip import unzip

NOISE = random.Random(0).randbytes(100_000)
FILES = {"train/A. B. - C/vocals.wav": b"voice" * 99_999, "README": b"read", "train/é.txt": b""}


def make_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def files_in(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_files_and_empty_folders_are_extracted(tmp_path):
    noise = {"noise": NOISE}
    archive = make_zip(tmp_path / "a.zip", FILES | noise | {"empty/": b""}, zipfile.ZIP_STORED)
    unzip(archive, tmp_path / "out", progress=False)
    assert files_in(tmp_path / "out") == FILES | noise
    assert (tmp_path / "out" / "empty").is_dir()


def test_paths_outside_of_the_folder_are_refused(tmp_path):
    for name in (
        "../out of it",
        "a/../../b",
        "/etc/passwd",
        "C:/x",
        "C:x",
        "a\\..\\..\\b",
        "\\\\host\\share\\x",
    ):
        archive = make_zip(tmp_path / "a.zip", {"fine": b"", name: b"harm"})
        with pytest.raises(ValueError, match="outside of the folder"):
            unzip(archive, tmp_path / "out", progress=False)
        assert files_in(tmp_path).keys() == {"a.zip"}, name


def test_links_and_devices_are_refused(tmp_path):
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR):
        entry = zipfile.ZipInfo("link")
        entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(entry, "/etc/passwd")
        with pytest.raises(ValueError, match="'link' is a link or a device"):
            unzip(tmp_path / "a.zip", tmp_path / "out", progress=False)
        assert not (tmp_path / "out").exists(), kind


def test_duplicate_names_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", "other")
    with pytest.raises(ValueError, match="'a' twice"):
        unzip(tmp_path / "a.zip", tmp_path / "out", progress=False)


def test_encrypted_files_are_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": b"secret"})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(ValueError, match="'a' is encrypted"):
        unzip(archive, tmp_path / "out", progress=False)


def test_contents_larger_than_plausible_or_than_the_disk_are_refused(tmp_path, monkeypatch):
    bomb = make_zip(tmp_path / "bomb.zip", {"zeros": bytes(10**7)})
    with pytest.raises(ValueError, match="contain 10.0 MB"):
        unzip(bomb, tmp_path / "out", progress=False)
    monkeypatch.setattr(disk, "free_space", lambda folder: 1000)
    archive = make_zip(tmp_path / "a.zip", {"a": bytes(range(256)) * 8}, zipfile.ZIP_STORED)
    with pytest.raises(disk.NoSpace, match="a.zip needs"):
        unzip(archive, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_understated_size_limits_what_is_written(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"zeros": bytes(10**6), "noise": NOISE})
    data = archive.read_bytes()
    assert data.count(struct.pack("<I", 10**6)) == 2
    archive.write_bytes(data.replace(struct.pack("<I", 10**6), struct.pack("<I", 1000)))
    with pytest.raises(ValueError, match="damaged"):
        unzip(archive, tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "zeros").stat().st_size <= 1000


def truncated(path, fraction):
    make_zip(path, {"noise": NOISE})
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])


def with_flipped_bytes(path, compression):
    make_zip(path, {"noise": NOISE}, compression)
    data = bytearray(path.read_bytes())
    data[60:70] = bytes(255 - byte for byte in data[60:70])
    path.write_bytes(data)


def with_table_before_the_start(path):
    make_zip(path, {"noise": NOISE})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x05\x06") + 16  # offset of the table of contents
    (start,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, start + 10)
    path.write_bytes(data)


def with_invalid_utf8_name(path):
    make_zip(path, {"\u00e9": b""})
    path.write_bytes(path.read_bytes().replace(b"\xc3\xa9", b"\xff\xff"))


def test_damaged_zip_is_named(tmp_path):
    for case, make in {
        "empty": lambda path: truncated(path, 0.0),
        "truncated": lambda path: truncated(path, 0.5),
        "stored": lambda path: with_flipped_bytes(path, zipfile.ZIP_STORED),
        "deflated": lambda path: with_flipped_bytes(path, zipfile.ZIP_DEFLATED),
        "lzma": lambda path: with_flipped_bytes(path, zipfile.ZIP_LZMA),
        "table before the start": with_table_before_the_start,
        "invalid UTF-8": with_invalid_utf8_name,
    }.items():
        make(tmp_path / "a.zip")
        with pytest.raises(ValueError, match=r"a\.zip .*truncated or damaged.*Delete it"):
            unzip(tmp_path / "a.zip", tmp_path / "out", progress=False)
            pytest.fail(f"unzipped: {case}")


def test_name_rejected_by_the_file_system_is_not_reported_as_damage(tmp_path, monkeypatch):
    def refuse(path, *_):
        raise OSError(errno.EINVAL, "Invalid argument", str(path))

    archive = make_zip(tmp_path / "a.zip", {"who?": b"x"})
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=r"Invalid argument: .*who\?"):
        unzip(archive, tmp_path / "out", progress=False)
