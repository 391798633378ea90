"""Which songs files, folders and patterns stand for, and what they are called."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from asteroid_waveunet.separation import batch
from asteroid_waveunet.separation.batch import Song, find


@pytest.fixture
def music(tmp_path, monkeypatch):
    """Files with the names of songs; what is in them does not matter here."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.wav",
        "album/b.one.FLAC",
        "album/side 2/c.mp3",
        "album/cover.jpg",
        "album/.hidden.wav",
        "album/.git/d.wav",
        "out/a/vocals.wav",
        "x.stem.mp4",
        "empty/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(inputs, output="out"):
    return {
        str(song.path.relative_to(Path.cwd())): str(song.name)
        for song in find(inputs, Path(output))
    }


def test_files_folders_and_patterns(music):
    assert names(["a.wav", "x.stem.mp4"]) == {"a.wav": "a", "x.stem.mp4": "x"}
    album = {"album/b.one.FLAC": "b.one", "album/side 2/c.mp3": "side 2/c"}
    assert names(["album"]) == album
    assert names([str(music / "album")]) == album
    assert names(["alb*", "a.wav", "album/b.one.FLAC"]) == {**album, "a.wav": "a"}
    assert names(["**/*.mp3"]) == {"album/side 2/c.mp3": "album/side 2/c"}
    assert names(["album/*/*.mp3"]) == {"album/side 2/c.mp3": "side 2/c"}
    assert names(["album/*"]) == {"album/b.one.FLAC": "b.one", "album/side 2/c.mp3": "c"}


def test_the_output_folder_is_no_music(music):
    assert "out/a/vocals.wav" not in names(["."])
    assert names(["out/a/vocals.wav"]) == {"out/a/vocals.wav": "vocals"}, "unless it is asked for"


def test_what_is_not_there_is_refused(music):
    with pytest.raises(FileNotFoundError, match=r"no file or folder b\*.wav, and no audio file"):
        find(["b*.wav"], Path("out"))
    with pytest.raises(FileNotFoundError, match=r"folder empty holds no audio file \(wav, flac"):
        find(["empty"], Path("out"))
    with pytest.raises(FileNotFoundError, match="outside the output folder out; name another"):
        find(["out"], Path("out"))
    assert names(["out", "a.wav"]) == {"a.wav": "a"}, "as a shell gives * on the second run"


def test_songs_that_differ_in_their_suffix_keep_it(music):
    (music / "a.mp3").touch()
    assert names(["a.wav", "a.mp3"]) == {"a.wav": "a.wav", "a.mp3": "a.mp3"}
    (music / "album" / "a.wav").touch()
    with pytest.raises(ValueError, match="a.wav would all be written to out/a.wav"):
        find(["a.wav", "album/a.wav"], Path("out"))


def test_names_with_everything_in_them(music):
    odd = ["-v.wav", "a [1].wav", "100 % é 音.wav", "new\nline.wav", "...wav", "'\".wav", "._x.wav"]
    for name in odd:
        (music / "odd" / name).parent.mkdir(exist_ok=True)
        (music / "odd" / name).touch()
    found = names(["odd"])
    assert len(found) == len(odd) - 1, "one is hidden"
    assert names(["odd/a [1].wav"]) == {"odd/a [1].wav": "a [1]"}, "what exists is no pattern"


SONGS = [Song(Path(name), Path(name)) for name in "abcd"]


@pytest.mark.parametrize("jobs", [1, 3])
def test_one_that_fails_does_not_stop_the_others(jobs):
    done = []

    def work(song, check):
        if song.name.name == "b":
            raise ValueError("b is bad")
        if song.name.name == "c":
            raise KeyError("a bug")
        done.append(song.name.name)

    assert batch.run(SONGS, work, jobs) == {SONGS[1]: "b is bad", SONGS[2]: "KeyError: 'a bug'"}
    assert sorted(done) == ["a", "d"]


def test_jobs_run_side_by_side():
    together = threading.Barrier(2, timeout=20)
    assert batch.run(SONGS[:2], lambda song, check: together.wait() and None, jobs=2) == {}


def test_an_interrupted_run_stops_all_songs():
    """The main thread hears of Ctrl-C; the others hear of it when they next check."""
    # A process in the background may have been told to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started, failures = threading.Event(), []

    def work(song, check):
        if song is SONGS[0]:
            started.wait(20)
            raise_in_main()
        started.set()
        try:
            while True:
                check()
        except batch.Stopped as stopped:
            failures.append(stopped)
            raise

    def raise_in_main():
        os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            batch.run(SONGS[:2], work, jobs=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(failures) == 2
