"""One command at a time writes to a folder of object storage."""

from __future__ import annotations

import json
import threading

import fsspec
import pytest

from asteroid_waveunet.cloud import claims, storage

FOLDER = "memory://bucket/out"
OBJECT = f"{FOLDER}/.waveunet/claim.json"


@pytest.fixture(autouse=True)
def store(monkeypatch):
    """An empty store, and a fast heart."""
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(claims, "DEAD_SECONDS", 0.2)
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


def test_second_waits_for_the_first(monkeypatch, capsys):
    order, tried = [], threading.Event()
    create = storage.create_bytes

    def creating(url, content):
        made = create(url, content)
        if not made:
            tried.set()
        return made

    def second():
        with claims.claimed(FOLDER):
            order.append("second")

    monkeypatch.setattr(storage, "create_bytes", creating)
    thread = threading.Thread(target=second)
    with claims.claimed(FOLDER):
        thread.start()
        assert tried.wait(30)
        thread.join(0.5)  # longer than a dead one is waited for
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    said = capsys.readouterr().err
    assert f"is writing {FOLDER}" in said
    assert "gone" not in said
    assert not storage.size(OBJECT), "it is deleted at the end"


@pytest.mark.parametrize("left", [json.dumps({"holder": "The command of process 1"}), "no JSON"])
def test_claim_of_a_dead_process_is_taken_over(left, capsys):
    storage.write_bytes(OBJECT, left.encode())
    with claims.claimed(FOLDER) as check:
        check()
        assert "is gone" in capsys.readouterr().err
    assert not storage.size(OBJECT)


def test_who_was_cut_off_stops(monkeypatch):
    theirs = json.dumps({"holder": "The command of process 7 on there"}).encode()
    with claims.claimed(FOLDER) as check:
        keeper = next(t for t in threading.enumerate() if "keep" in t.name)
        read = storage.read_bytes
        monkeypatch.setattr(storage, "read_bytes", lambda url: theirs)
        keeper.join(30)
        monkeypatch.setattr(storage, "read_bytes", read)
        with pytest.raises(OSError, match="process 7 on there has taken over memory://bucket/out"):
            check()


def test_own_claim_is_not_deleted_when_it_is_anothers(store):
    with claims.claimed(FOLDER):
        keeper = next(t for t in threading.enumerate() if "keep" in t.name)
        while keeper.is_alive():
            store.pipe_file(OBJECT, b'{"holder": "another"}')
            keeper.join(0.02)
    assert b"another" in store.cat_file(OBJECT)
