"""Tests of `file_utils`: atomic writes of files and folders; checksums."""

from __future__ import annotations

import hashlib

import pytest

from asteroid_waveunet.file_utils import checksum, replacing, replacing_folder


def test_checksum_covers_the_whole_file_and_reports_progress(tmp_path):
    for algorithm, length in (("md5", 0), ("sha256", 5), ("md5", 2**20), ("sha256", 2**21 + 7)):
        content, blocks = b"x" * length, []
        (tmp_path / "file").write_bytes(content)
        digest = checksum(tmp_path / "file", algorithm, blocks.append)
        assert digest == hashlib.new(algorithm, content).hexdigest(), (algorithm, length)
        assert digest == checksum(tmp_path / "file", algorithm)
        assert sum(blocks) == length and len(blocks) == -(-length // 2**20)


def test_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "folder" / "file"
    with replacing(path) as partial:
        partial.write_text("one")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("incomplete")
        raise RuntimeError
    assert path.read_text() == "one" and [*path.parent.iterdir()] == [path]


def test_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "a" / "folder"
    for name in ("one", "two"):
        with replacing_folder(folder) as partial:
            (partial / name).touch()
            assert [*partial.iterdir()] == [partial / name]
    assert [*folder.parent.iterdir()] == [folder] and [*folder.iterdir()] == [folder / "two"]
    with pytest.raises(RuntimeError), replacing_folder(folder) as partial:
        raise RuntimeError
    assert [*folder.parent.iterdir()] == [folder] and [*folder.iterdir()] == [folder / "two"]


def test_folder_of_a_killed_replacement_is_restored(tmp_path):
    folder = tmp_path / "folder"
    for name in (".partial.folder", ".earlier.folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    with pytest.raises(RuntimeError), replacing_folder(folder) as partial:
        assert [*partial.iterdir()] == []
        raise RuntimeError
    assert [*tmp_path.iterdir()] == [folder] and [*folder.iterdir()] == [folder / ".earlier.folder"]
