"""Songs found in files, folders and patterns, their names, and parallel runs."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from asteroid_waveunet.separation import batch
from asteroid_waveunet.separation.batch import Song, find

pytestmark = pytest.mark.filterwarnings("ignore:left out")


@pytest.fixture
def music(tmp_path, monkeypatch):
    """Create empty files with the names of songs."""
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


def test_find_resolves_files_folders_and_patterns(music):
    assert names(["a.wav", "x.stem.mp4"]) == {"a.wav": "a", "x.stem.mp4": "x"}
    album = {"album/b.one.FLAC": "b.one", "album/side 2/c.mp3": "side 2/c"}
    assert names(["album"]) == album
    assert names([str(music / "album")]) == album
    assert names(["alb*", "a.wav", "album/b.one.FLAC"]) == {**album, "a.wav": "a"}
    assert names(["**/*.mp3"]) == {"album/side 2/c.mp3": "album/side 2/c"}
    assert names(["album/*/*.mp3"]) == {"album/side 2/c.mp3": "side 2/c"}
    assert names(["album/*"]) == {"album/b.one.FLAC": "b.one", "album/side 2/c.mp3": "c"}


def test_pattern_takes_the_shortest_name_and_no_system_folder(music):
    (music / "album" / "again").symlink_to("..")
    (music / "album" / "@eaDir").mkdir()
    (music / "album" / "@eaDir" / "d.mp3").touch()
    found = {str(song.name) for song in batch.find(["album/**/*.mp3"], music / "out")}
    assert found == {"side 2/c"}


def test_find_says_what_it_leaves_out(music):
    (music / "album" / "song.opus").touch()
    (music / "album" / "@eaDir").mkdir()
    (music / "album" / "@eaDir" / "song.opus").touch()
    with pytest.warns(UserWarning, match=r"left out in album: 1 file .*\.jpg.*3 in hidden"):
        assert "album/song.opus" in names(["album"])


def test_find_skips_the_output_folder(music):
    assert "out/a/vocals.wav" not in names(["."])
    assert names(["out/a/vocals.wav"]) == {"out/a/vocals.wav": "vocals"}, "an explicit file is kept"


def test_find_refuses_missing_inputs(music):
    with pytest.raises(FileNotFoundError, match=r"b\*\.wav.*wav, flac"):
        find(["b*.wav"], Path("out"))
    with pytest.raises(FileNotFoundError, match=r"empty.*wav, flac"):
        find(["empty"], Path("out"))
    with pytest.raises(FileNotFoundError, match="output folder out"):
        find(["out"], Path("out"))
    assert names(["out", "a.wav"]) == {"a.wav": "a"}, "the shell expands * to this on a second run"


def test_songs_that_differ_in_their_suffix_keep_it(music):
    (music / "a.mp3").touch()
    assert names(["a.wav", "a.mp3"]) == {"a.wav": "a.wav", "a.mp3": "a.mp3"}
    (music / "album" / "a.wav").touch()
    with pytest.raises(ValueError, match=r"a\.wav.*out/a\.wav"):
        find(["a.wav", "album/a.wav"], Path("out"))


def test_find_accepts_unusual_names(music):
    odd = ["-v.wav", "a [1].wav", "100 % é 音.wav", "new\nline.wav", "...wav", "'\".wav", "._x.wav"]
    for name in odd:
        (music / "odd" / name).parent.mkdir(exist_ok=True)
        (music / "odd" / name).touch()
    found = names(["odd"])
    assert len(found) == len(odd) - 1, "one is hidden"
    assert names(["odd/a [1].wav"]) == {"odd/a [1].wav": "a [1]"}, (
        "an existing file is not a pattern"
    )


SONGS = [Song(Path(name), Path(name)) for name in "abcd"]


def test_run_continues_after_a_failure():
    for jobs in (1, 3):
        done = []

        def work(song, check, done=done):
            if song.name.name == "b":
                raise ValueError("b is bad")
            if song.name.name == "c":
                raise KeyError("a bug")
            done.append(song.name.name)

        failures = batch.run(SONGS, work, jobs)
        assert failures == {SONGS[1]: "b is bad", SONGS[2]: "KeyError: 'a bug'"}, jobs
        assert sorted(done) == ["a", "d"], jobs


def test_jobs_run_in_parallel():
    barrier = threading.Barrier(2, timeout=60)
    assert batch.run(SONGS[:2], lambda song, check: barrier.wait() and None, jobs=2) == {}


def test_interrupted_run_stops_all_songs():
    """`run` returns once every song has stopped, even if a song's thread receives Ctrl-C."""
    # A background process may ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started, stopped = threading.Event(), []

    def work(song, check):
        if song is SONGS[0]:
            assert started.wait(60)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        started.set()
        try:
            while True:
                check()
                time.sleep(0.01)  # threads that never wait may keep the main thread from running
        except batch.Stopped:
            stopped.append(song)
            raise

    try:
        with pytest.raises(KeyboardInterrupt):
            batch.run(SONGS[:2], work, jobs=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(song.name.name for song in stopped) == ["a", "b"]


def test_run_waits_for_songs_whose_thread_start_was_interrupted(monkeypatch):
    """The pool does not join a thread that it was starting when Ctrl-C arrived."""
    started, stopped = threading.Event(), []
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        if len(threads := [*starts, thread]) == 2:
            assert started.wait(60)
            raise KeyboardInterrupt
        starts[:] = threads

    def work(song, check):
        if song is SONGS[1]:
            started.set()
        try:
            while True:
                check()
                time.sleep(0.01)
        except batch.Stopped:
            time.sleep(0.2)
            stopped.append(song)
            raise

    starts = []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", interrupted)
        batch.run(SONGS[:2], work, jobs=2)
    assert len(stopped) == 2
