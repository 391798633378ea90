"""Preparation: every track is decoded once, completely or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from asteroid_waveunet import file_locks
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.data import prepare as prepare_module
from asteroid_waveunet.experiment.data.prepare import _decode, prepare
from helpers.paths import ROOT
from helpers.songs import RATE, STEMS, noise, write_song

NAMES = ["A - one", "B - two", "M.E.R.C. - Half 1.5"]


def test_rows_are_the_sources_then_the_rest(data, tmp_path):
    prepared = prepare(data, tmp_path / "out", ["drums", "vocals"], RATE, 2, progress=False)
    assert [p.name for p in prepared] == [t.name for t in musdb.tracks(data, "train")]
    assert (prepared[0].groups, prepared[0].n_src) == (("drums", "vocals", "rest"), 2)
    first = prepared[0].load()
    assert first.shape == (3, 2, RATE) and first.dtype == np.float32
    assert prepared[0].map().dtype == np.int16
    stems, _ = musdb.tracks(data)[0].read_all()
    expected = [stems["drums"], stems["vocals"], stems["bass"] + stems["other"]]
    for group, samples in zip(first, expected, strict=True):
        np.testing.assert_allclose(group, samples, atol=0.51 / 32768)


def test_stems_are_rows_in_the_order_of_their_sources(data, tmp_path):
    sources = ["vocals", "accompaniment"]
    first, *_ = prepare(data, tmp_path / "out", sources, RATE, 2, progress=False, by_stem=True)
    assert first.groups == ("vocals", "bass", "drums", "other")
    assert (first.owners, first.n_src) == ((0, 1, 1, 1), 2)
    stems, _ = musdb.tracks(data)[0].read_all()
    for group, samples in zip(first.groups, first.load(), strict=True):
        np.testing.assert_allclose(samples, stems[group], atol=0.51 / 32768)
    first, *_ = prepare(data, tmp_path / "rest", ["drums"], RATE, 2, progress=False, by_stem=True)
    assert (first.owners, first.n_src) == ((0, 1, 1, 1), 1), "stems of no source come last"


def test_choices_for_incomplete_songs_are_part_of_the_store(run, data):
    audio_io.write(data / "train" / NAMES[0] / "bass.wav", noise(2, RATE // 2, 0), RATE)
    (data / "train" / NAMES[1] / "drums.wav").unlink()
    silence = {"missing_stems": "silence"}
    assert run(lengths="pad", **silence) == NAMES
    assert run(lengths="pad", **silence) == []
    assert run(lengths="cut", **silence) == NAMES, "padded arrays are not taken for cut ones"


def test_tracks_are_resampled_and_mixed_down(data, tmp_path):
    sources = ["accompaniment", "vocals"]
    prepared = prepare(data, tmp_path / "out", sources, 6000, 1, progress=False)
    assert [(p.load().shape, p.length) for p in prepared] == [
        ((2, 1, n), n) for n in (6000, 12000, 3000)
    ]


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """Prepare, with the same settings by default; return the names of the decoded tracks."""
    decode = _decode

    def run(sources=STEMS, rate=RATE, channels=2, **options) -> list[str]:
        names = []

        def record(track, *arguments):
            names.append(track.name)
            return decode(track, *arguments)

        monkeypatch.setattr(prepare_module, "_decode", record)
        options = {"progress": False, **options}
        prepare(data, tmp_path / "out", sources, rate, channels, **options)
        return names

    return run


def test_only_missing_changed_and_removed_tracks_are_updated(run, data, tmp_path):
    assert run() == NAMES
    assert run() == []
    (tmp_path / "out" / "B - two.npy").unlink()
    assert run() == ["B - two"]
    write_song(data / "train" / "A - one", seconds=1.5)
    assert run() == ["A - one"]
    os.utime(data / "train" / "B - two" / "bass.wav", ns=(0, 0))
    assert run() == ["B - two"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *(f"{name}.npy" for name in NAMES),
        "prepared.json",
    ]
    shutil.rmtree(data / "train" / "B - two")
    assert run() == []
    assert not (tmp_path / "out" / "B - two.npy").exists()
    assert "B - two" not in (tmp_path / "out" / "prepared.json").read_text()


def test_damaged_array_is_decoded_again(run, tmp_path):
    run()
    path = tmp_path / "out" / "A - one.npy"
    whole, written = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(whole[:-2])  # truncated
    assert run() == ["A - one"] and path.read_bytes() == whole
    os.utime(path, ns=(written, written))  # other time, same content
    assert run() == []
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    os.utime(path, ns=(0, 0))
    assert run() == ["A - one"] and path.read_bytes() == whole
    written = path.stat().st_mtime_ns
    path.write_bytes(flipped)
    os.utime(path, ns=(written, written))  # same time, other content
    assert run() == []
    assert run(verify=True) == ["A - one"] and path.read_bytes() == whole


def test_other_settings_decode_all_tracks_again(run):
    run()
    for other in ({"rate": 4000}, {"channels": 1}, {"sources": ["vocals", "accompaniment"]}):
        assert run(**other) == NAMES, other
        assert run(**other) == [], other
    assert run() == NAMES


def test_damaged_or_older_index_is_replaced(run, tmp_path):
    index = tmp_path / "out" / "prepared.json"
    run()
    whole = json.loads(index.read_text())
    for text in (
        *("{", "[]", "null", json.dumps({**whole, "version": 1})),
        *(json.dumps({**whole, "tracks": tracks}) for tracks in ([], None, {NAMES[0]: {}})),
    ):
        index.write_text(text)
        assert run() == NAMES, text


def test_concurrent_runs_decode_each_track_once(data, tmp_path, monkeypatch, capsys):
    names, decode, waits = [], _decode, threading.Event()

    def record(track, *arguments):
        names.append(track.name)
        assert waits.wait(60), "the other run should find the lock held"
        return decode(track, *arguments)

    monkeypatch.setattr(prepare_module, "_decode", record)
    monkeypatch.setattr(file_locks, "print", lambda *_: waits.set(), raising=False)
    arguments = data, tmp_path / "out", STEMS, RATE, 2
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(prepare, *arguments, progress=False) for _ in range(2)]
    assert runs[0].result() == runs[1].result()
    assert names == NAMES


def test_interruption_after_other_settings_leaves_no_old_arrays(run, tmp_path, monkeypatch):
    run()
    monkeypatch.setattr(prepare_module, "_check_space", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(rate=4000)
    index = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert index["sample_rate"] == 4000 and index["tracks"] == {}
    assert not list(tmp_path.glob("out/*.npy"))


KILLED = """
import os, signal, sys
import numpy as np
from asteroid_waveunet.experiment.data import prepare as preparation
root, out = sys.argv[1:]
decode = preparation._decode
def save_half(path, samples):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
def kill_at_second(track, *arguments):
    if track.name == "B - two":
        np.save = save_half
    return decode(track, *arguments)
preparation._decode = kill_at_second
preparation.prepare(root, out, ["bass", "vocals"], 8000, 2, progress=False)
"""


def test_killed_run_is_resumed(run, data, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(data), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    assert len(list(out.glob(".*.partial.*"))) == 1
    assert run(["bass", "vocals"]) == NAMES[1:]
    assert not list(out.glob(".*")) and len(list(out.glob("*.npy"))) == 3


def test_too_little_disk_space_is_reported(run, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=100_000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: free)
        # 3.5 s of 8000 samples of 8 rows of 2 bytes.
        with pytest.raises(OSError, match=r"Decoding 3 tracks needs 0.4 MB .*where 0.1 MB"):
            run()
        assert not list(tmp_path.glob("out/*"))

    def fill_disk(path, samples):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", fill_disk)
        with pytest.raises(OSError, match=r"the decoded A - one.* 0.1 MB"):
            run()
    assert not list(tmp_path.glob("out/*"))
    assert run() == NAMES


def test_invalid_track_is_named_and_leaves_nothing(data, tmp_path):
    stem = noise(2, RATE, 0)
    stem[1, 123] = float("nan")
    audio_io.write(data / "train" / "A - one" / "drums.wav", stem, RATE)
    with pytest.raises(ValueError, match=r"A - one.drums.wav.*sample 123 of channel 1"):
        prepare(data, tmp_path / "out", STEMS, RATE, 2, progress=False)
    write_song(data / "train" / "A - one", channels=3)
    with pytest.raises(ValueError, match="A - one.*3 channels"):
        prepare(data, tmp_path / "out", STEMS, RATE, 2, progress=False)
    assert not list(tmp_path.glob("out/*"))
