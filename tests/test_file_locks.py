"""Tests of `file_locks`: exclusion of threads and processes; locks end with their process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading

import pytest

from asteroid_waveunet import file_locks
from asteroid_waveunet.file_locks import AlreadyLocked, LocksUnsupported, acquire, locked

HOLD = """
import sys
from asteroid_waveunet.file_locks import locked
with locked(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


def hold(path, *prefix):
    """Start a process that holds the lock of `path` until its stdin ends."""
    command = [*prefix, sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_lock_names_its_process_and_ends_when_that_is_killed(tmp_path):
    process, said = hold(tmp_path / "song")
    assert said == "locked"
    try:
        with pytest.raises(AlreadyLocked) as error, locked(tmp_path / "song", wait=False):
            pass
        assert f"process {process.pid} on" in str(error.value)
        assert str(tmp_path / "song") in str(error.value)
    finally:
        process.kill()
        process.communicate()
    assert [path.name for path in tmp_path.iterdir()] == [".song.lock"]
    with locked(tmp_path / "song", wait=False):
        pass
    assert not [*tmp_path.iterdir()]


def test_process_of_equal_pid_in_another_namespace_is_excluded(tmp_path):
    prefix = ("unshare", "--user", "--pid", "--fork", "--kill-child")
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("unshare cannot make PID namespaces here")
    process, said = hold(tmp_path / "song", *prefix)
    assert said == "locked"
    try:
        with pytest.raises(AlreadyLocked, match="process 1 on"), locked(tmp_path / "song", False):
            pass
    finally:
        process.communicate("")
    with locked(tmp_path / "song", wait=False):
        pass


def test_threads_wait_for_one_another(tmp_path, capsys):
    inside, most = [], []

    def work():
        for _ in range(20):
            with locked(tmp_path / "song"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    with locked(tmp_path / "song"):
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert not [*tmp_path.iterdir()]
    capsys.readouterr()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_child_does_not_keep_the_lock(tmp_path):
    lock = tmp_path / "lock"
    descriptor = acquire(lock)
    started, running = os.pipe()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(running, b"x")
        os.close(writer)
        os.read(reader, 1)  # until the test closes its end
        os._exit(0)
    os.close(reader)
    os.read(started, 1)
    try:
        os.close(descriptor)  # as if this process were killed; the child lives on
        file_locks._held.discard(descriptor)
        again = acquire(lock)
        assert again is not None
        file_locks.release(lock, again)
    finally:
        os.close(writer)
        os.waitpid(child, 0)


def test_deleted_lock_file_gives_no_lock(tmp_path):
    """A waiter that has opened the file before its deletion must not hold a lock of no name."""
    lock, opened = tmp_path / "lock", []
    original = file_locks._try_lock

    def slow(descriptor, path):
        if not opened:  # the file is deleted between opening and locking
            lock.unlink()
        opened.append(descriptor)
        return original(descriptor, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_locks, "_try_lock", slow)
        descriptor = acquire(lock)
    assert len(opened) == 2 and os.path.samestat(os.fstat(descriptor), lock.stat())
    assert acquire(lock) is None
    file_locks.release(lock, descriptor)


@pytest.mark.skipif(sys.platform == "win32", reason="replaces flock")
def test_file_system_without_locks_is_said_and_used(tmp_path, capsys, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(file_locks.fcntl, "flock", no_locks)
    with pytest.raises(LocksUnsupported):
        acquire(tmp_path / "lock")
    with locked(tmp_path / "song", wait=False):
        pass
    assert f"{tmp_path} has no locks (No locks available)" in capsys.readouterr().err


def test_longest_names_can_be_locked(tmp_path):
    name = "é" * 127
    (tmp_path / name).mkdir()
    path = tmp_path / name
    with locked(path), pytest.raises(AlreadyLocked), locked(path, wait=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]
