"""One command at a time writes to a folder of object storage."""

from __future__ import annotations

import json
import threading

import fsspec
import pytest

from asteroid_waveunet.cloud import leases, storage

FOLDER = "memory://bucket/out"
OBJECT = f"{FOLDER}/.waveunet/lease.json"


@pytest.fixture(autouse=True)
def store(monkeypatch):
    """An empty store, and a fast heart."""
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 0.2)
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


class Clock:
    """Time that passes in sleeps only; `events` happen in these, one in each."""

    def __init__(self, *events):
        self.now, self.events = 0.0, [*events]

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        if self.events:
            self.events.pop(0)()


@pytest.fixture
def holder():
    """A process that holds the folder."""
    lease = leases._Lease(OBJECT)
    lease.take(FOLDER)
    return lease


def test_second_waits_for_the_end_of_the_first(holder, monkeypatch, capsys):
    beats = 3 * round(leases.DEAD_SECONDS / leases.BEAT_SECONDS)
    clock = Clock(*[holder.beat] * beats, holder.release)
    monkeypatch.setattr(leases, "time", clock)
    leases._Lease(OBJECT).take(FOLDER)
    assert not clock.events
    said = capsys.readouterr().err
    assert said.count(f"is writing {FOLDER}") == 1
    assert "gone" not in said


def test_waiting_outlasts_errors_of_the_network(holder, monkeypatch, capsys):
    beats = 2 * round(leases.DEAD_SECONDS / leases.BEAT_SECONDS)
    create, errors = storage.create_bytes, [OSError("reset")] * beats

    def creating(url, content):
        if clock.now and errors:
            raise errors.pop()
        return create(url, content)

    clock = Clock(*[lambda: None] * beats, holder.beat, holder.release)
    monkeypatch.setattr(leases, "time", clock)
    monkeypatch.setattr(storage, "create_bytes", creating)
    leases._Lease(OBJECT).take(FOLDER)
    assert not errors
    assert "gone" not in capsys.readouterr().err
    with pytest.raises(OSError, match="reset"):  # a wrong address is said at once
        errors.append(OSError("reset"))
        leases._Lease(OBJECT).take(FOLDER)


def test_creation_whose_answer_was_lost_is_known(monkeypatch, capsys):
    create = storage.create_bytes
    monkeypatch.setattr(storage, "create_bytes", lambda *args: create(*args) and False)
    with leases.leased(FOLDER) as check:
        check()
    assert capsys.readouterr().err == ""


def test_folder_is_free_after_the_block():
    with leases.leased(FOLDER):
        assert storage.size(OBJECT)
    assert not storage.size(OBJECT)


@pytest.mark.parametrize("left", [json.dumps({"holder": "The command of process 1"}), "no JSON"])
def test_lease_of_a_dead_process_is_taken_over(left, capsys):
    storage.write_bytes(OBJECT, left.encode())
    with leases.leased(FOLDER) as check:
        check()
        assert "is gone" in capsys.readouterr().err
    assert not storage.size(OBJECT)


def test_who_was_cut_off_stops(monkeypatch):
    theirs = json.dumps({"holder": "The command of process 7 on there"}).encode()
    with leases.leased(FOLDER) as check:
        keeper = next(t for t in threading.enumerate() if "keep" in t.name)
        read = storage.read_bytes
        monkeypatch.setattr(storage, "read_bytes", lambda url: theirs)
        keeper.join(30)
        monkeypatch.setattr(storage, "read_bytes", read)
        with pytest.raises(OSError, match="process 7 on there has taken over memory://bucket/out"):
            check()


def test_lease_is_not_deleted_when_it_is_anothers(store):
    with leases.leased(FOLDER):
        keeper = next(t for t in threading.enumerate() if "keep" in t.name)
        while keeper.is_alive():
            store.pipe_file(OBJECT, b'{"holder": "another"}')
            keeper.join(0.02)
    assert b"another" in store.cat_file(OBJECT)
