"""Tracks are decoded once, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.data import prepare as prepare_module
from asteroid_waveunet.experiment.data.prepare import _decode, prepare
from helpers.songs import RATE, STEMS, noise, write_song

NAMES = ["A - one", "B - two", "M.E.R.C. - Half 1.5"]


def test_prepared_tracks_are_the_sources_then_the_rest(data, tmp_path):
    prepared = prepare(data, tmp_path / "out", ["drums", "vocals"], RATE, 2, progress=False)
    assert [p.name for p in prepared] == [t.name for t in musdb.tracks(data, "train")]
    first = prepared[0].load()
    assert first.shape == (3, 2, RATE) and first.dtype == np.float32
    assert prepared[0].map().dtype == np.int16
    stems, _ = musdb.tracks(data)[0].read_all()
    expected = [stems["drums"], stems["vocals"], stems["bass"] + stems["other"]]
    for group, samples in zip(first, expected, strict=True):
        np.testing.assert_allclose(group, samples, atol=0.51 / 32768)


def test_prepared_tracks_have_the_rate_and_channels_asked_for(data, tmp_path):
    sources = ["accompaniment", "vocals"]
    prepared = prepare(data, tmp_path / "out", sources, 6000, 1, progress=False)
    assert [(p.load().shape, p.length) for p in prepared] == [
        ((2, 1, n), n) for n in (6000, 12000, 3000)
    ]


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """Prepares, by default as it did before; gives the names of the tracks it decoded."""
    decode = _decode

    def run(sources=STEMS, rate=RATE, channels=2, **options) -> list[str]:
        decoded = []

        def noting(track, *arguments):
            decoded.append(track.name)
            return decode(track, *arguments)

        monkeypatch.setattr(prepare_module, "_decode", noting)
        options = {"progress": False, **options}
        prepare(data, tmp_path / "out", sources, rate, channels, **options)
        return decoded

    return run


def test_a_second_run_decodes_only_what_is_missing_or_changed(run, data, tmp_path):
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


def test_a_damaged_array_is_made_again(run, tmp_path):
    run()
    path = tmp_path / "out" / "A - one.npy"
    whole, written = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(whole[:-2])  # cut off
    assert run() == ["A - one"] and path.read_bytes() == whole
    os.utime(path, ns=(written, written))  # as a copy has it: the same content is believed
    assert run() == []
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    assert run() == ["A - one"] and path.read_bytes() == whole
    written = path.stat().st_mtime_ns
    path.write_bytes(flipped)
    os.utime(path, ns=(written, written))  # as a failing disk does it
    assert run() == []
    assert run(verify=True) == ["A - one"] and path.read_bytes() == whole


@pytest.mark.parametrize(
    "other", [{"rate": 4000}, {"channels": 1}, {"sources": ["vocals", "accompaniment"]}]
)
def test_what_was_made_with_other_settings_is_made_again(run, tmp_path, other):
    run()
    assert run(**other) == NAMES
    assert run(**other) == []
    assert run() == NAMES


def test_a_damaged_or_older_index_is_made_again(run, tmp_path):
    index = tmp_path / "out" / "prepared.json"
    run()
    whole = json.loads(index.read_text())
    for text in (
        *("{", "[]", "null", json.dumps({**whole, "version": 1})),
        *(json.dumps({**whole, "tracks": tracks}) for tracks in ([], None, {NAMES[0]: {}})),
    ):
        index.write_text(text)
        assert run() == NAMES


def test_songs_that_are_removed_are_removed_here_too(run, data, tmp_path):
    run()
    shutil.rmtree(data / "train" / "B - two")
    assert run() == []
    assert not (tmp_path / "out" / "B - two.npy").exists()
    assert "B - two" not in (tmp_path / "out" / "prepared.json").read_text()


def test_of_two_runs_one_decodes_and_the_other_waits(data, tmp_path, monkeypatch):
    decoded, decode = [], _decode

    def slowly(track, *arguments):
        decoded.append(track.name)
        time.sleep(0.05)
        return decode(track, *arguments)

    monkeypatch.setattr(prepare_module, "_decode", slowly)
    arguments = data, tmp_path / "out", STEMS, RATE, 2
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(prepare, *arguments, progress=False) for _ in range(2)]
    assert runs[0].result() == runs[1].result()
    assert decoded == NAMES


def test_other_settings_are_never_taken_for_valid(run, tmp_path, monkeypatch):
    """A run that dies at once after the settings changed leaves nothing of the old ones."""
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
root, out, moment = sys.argv[1:]
save, decode = np.save, preparation._decode
def half(path, samples):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
def second(track, *arguments):
    if track.name == "B - two":
        if moment == "decoding":
            os.kill(os.getpid(), signal.SIGKILL)
        np.save = half
    return decode(track, *arguments)
preparation._decode = second
preparation.prepare(root, out, ["bass", "vocals"], 8000, 2, progress=False)
"""


@pytest.mark.parametrize("moment", ["decoding", "writing"])
def test_a_killed_run_goes_on_where_it_was(run, data, tmp_path, moment):
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(data), str(out), moment]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(list(out.glob(".*.partial.*"))) == (moment == "writing")
    assert run(["bass", "vocals"]) == NAMES[1:]
    assert not list(out.glob(".*")) and len(list(out.glob("*.npy"))) == 3


def test_no_space_is_said_with_what_is_needed(run, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=100_000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: free)
        # 3.5 s of 8000 samples of 8 rows of 2 bytes.
        with pytest.raises(OSError, match=r"Decoding 3 tracks needs 0.4 MB .*where 0.1 MB"):
            run()
        assert not list(tmp_path.glob("out/*"))

    def full(path, samples):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(OSError, match=r"no space left for the decoded A - one .* 0.1 MB"):
            run()
    assert not list(tmp_path.glob("out/*"))
    assert run() == NAMES


def test_a_bad_stem_is_named_and_leaves_nothing(data, tmp_path):
    bad = noise(2, RATE, 0)
    bad[1, 123] = float("nan")
    path = data / "train" / "A - one" / "drums.wav"
    audio_io.write(path, bad, RATE)
    with pytest.raises(ValueError, match=r"A - one.drums.wav.*sample 123 of channel 1"):
        prepare(data, tmp_path / "out", STEMS, RATE, 2, progress=False)
    assert not list(tmp_path.glob("out/*"))


def test_more_channels_than_asked_for_are_refused_with_the_tracks_name(data, tmp_path):
    write_song(data / "train" / "A - one", channels=3)
    with pytest.raises(ValueError, match="A - one.*3 channels"):
        prepare(data, tmp_path / "out", STEMS, RATE, 2, progress=False)
