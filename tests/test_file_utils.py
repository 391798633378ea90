"""Tests of `file_utils`: atomic writes of files and folders; checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading

import pytest

from asteroid_waveunet import file_locks, file_utils
from asteroid_waveunet.file_utils import (
    checksum,
    remove_leftovers,
    replacing,
    replacing_folder,
)

WRITE_AND_HANG = """
import sys
from asteroid_waveunet.file_utils import replacing
with replacing(sys.argv[1]) as partial:
    partial.write_text("half")
    print(partial.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing `tmp_path/file`, and the name of its temporary file."""
    command = [sys.executable, "-c", WRITE_AND_HANG, str(tmp_path / "file")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


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


def test_writers_of_one_file_do_not_meet(tmp_path):
    """Threads, whose processes are the same: the temporary names differ, and one of them wins."""
    path, barrier, failures = tmp_path / "file.txt", threading.Barrier(8), []

    def write(content):
        try:
            for _ in range(10):
                with replacing(path) as partial:
                    partial.write_text(content * 1000)
                    barrier.wait()
        except BaseException as failure:
            failures.append(failure)
            barrier.abort()

    threads = [threading.Thread(target=write, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    content = path.read_text()
    assert content == content[0] * 1000 and [*tmp_path.iterdir()] == [path]


def test_leftovers_of_the_dead_are_removed_and_the_living_kept(tmp_path, writer):
    process, partial = writer
    for name in (".4711.partial.old", ".lock", ".notes.partial.txt", "0a.partial.x"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    alive = {path.name for path in tmp_path.iterdir()}
    assert alive >= {partial, ".lock", ".notes.partial.txt", "0a.partial.x"}
    assert ".4711.partial.old" not in alive and len(alive) == 5, "one lock beside the partial file"
    process.kill()
    process.wait()
    file_utils._remove_leftovers_once.cache_clear()
    with replacing(tmp_path / "other") as path:  # the next run, of another file
        path.touch()
    assert {path.name for path in tmp_path.iterdir()} == {
        *(".lock", ".notes.partial.txt", "0a.partial.x", "other")
    }


def test_writing_with_the_name_of_a_dead_process_is_possible_without_locks(tmp_path, monkeypatch):
    def unsupported(path):
        raise file_locks.LocksUnsupported(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(file_locks, "acquire", unsupported)
    new, old = tmp_path / ".ab.partial.new", tmp_path / ".cd.partial.old"
    for path in (new, old):
        path.touch()
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path)
    with replacing(tmp_path / "file") as partial:
        partial.touch()
    assert {*tmp_path.iterdir()} == {new, tmp_path / "file"}, "only what is older than a day"


def test_longest_names_can_be_written(tmp_path):
    for stem, suffix in (("x" * 247, ".flac"), ("é" * 125, ".flac"), ("ö" * 122, ".stem.mp4")):
        path = tmp_path / (stem + suffix)
        with replacing(path) as partial:
            assert partial.name.endswith(suffix)
            partial.write_text("whole")
        assert path.read_text() == "whole"
        path.unlink()
    assert not [*tmp_path.iterdir()]


def test_writers_of_one_folder_take_turns(tmp_path):
    folder, failures = tmp_path / "folder", []

    def write(name):
        try:
            for _ in range(5):
                with replacing_folder(folder) as partial:
                    (partial / name).touch()
                    (partial / f"{name} again").touch()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    name = min(path.name for path in folder.iterdir())
    assert {path.name for path in folder.iterdir()} == {name, f"{name} again"}
    assert [*tmp_path.iterdir()] == [folder]
