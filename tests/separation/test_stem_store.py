"""Songs are done by what their stems hold; two songs of one name do not meet."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.file_locks import locked
from asteroid_waveunet.separation.batch import Song, Stopped
from asteroid_waveunet.separation.layout import Layout
from asteroid_waveunet.separation.stem_store import StemStore


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("one/01.wav", "two/01.wav"):
        Path(name).parent.mkdir()
        Path(name).write_text(name)
    return Path("out")


def song(path: str) -> Song:
    return Song(Path(path).resolve(), Path(Path(path).stem))


def store(weights="w", template=None, overwrite=False, **options) -> StemStore:
    layout = Layout(Path("out"), ("a", "b"), template=template)
    return StemStore(layout, weights, options, overwrite)


def separate(path: str, kept: StemStore) -> list[str]:
    """Write stems that hold the song's text; return their paths, none if they are done."""
    with kept.writing(song(path), lambda: None) as target:
        for file in target.paths if target else ():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Path(path).read_text())
    return [str(file) for file in target.paths] if target else []


FIRST, SECOND = ["out/01/a.wav", "out/01/b.wav"], ["out/01 (2)/a.wav", "out/01 (2)/b.wav"]


def test_song_is_done_by_content_weights_and_options(out):
    assert separate("one/01.wav", store()) == FIRST
    assert separate("one/01.wav", store()) == []
    os.utime("one/01.wav", (1, 1))
    assert separate("one/01.wav", store()) == [], "touched, not changed"
    assert separate("one/01.wav", store(weights="other")) == FIRST
    assert separate("one/01.wav", store(weights="other", bits="24")) == FIRST
    assert separate("one/01.wav", store(weights="other", bits="24")) == []
    Path("one/01.wav").write_text("replaced")
    assert separate("one/01.wav", store(weights="other", bits="24")) == FIRST
    assert separate("one/01.wav", store("other", overwrite=True, bits="24")) == FIRST


def test_replaced_song_of_the_same_size_and_time_is_not_done(out):
    separate("one/01.wav", store())
    before = os.stat("one/01.wav")
    Path("one/01.wav").write_text("ONE/01.WAV")
    os.utime("one/01.wav", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert separate("one/01.wav", store()) == FIRST


def test_changed_or_missing_stem_is_not_done(out):
    separate("one/01.wav", store())
    Path("out/01/a.wav").write_text("one/01.waV")
    assert separate("one/01.wav", store()) == FIRST
    Path("out/01/b.wav").unlink()
    assert separate("one/01.wav", store()) == FIRST


@pytest.mark.parametrize("record", ["{", None])
def test_files_of_other_programs_are_not_replaced(out, record):
    separate("one/01.wav", store())
    if record is None:
        Path("out/01/.waveunet.json").unlink()
    else:
        Path("out/01/.waveunet.json").write_text(record)
    Path("out/01/b.wav").unlink()
    with pytest.raises(
        FileExistsError, match=r"out/01/a\.wav exists.*--overwrite.*--skip-existing"
    ):
        separate("one/01.wav", store())
    assert not Path("out/01/b.wav").exists()
    assert separate("one/01.wav", store(overwrite=True)) == FIRST
    assert separate("one/01.wav", store(weights="other")) == FIRST, "it is recorded now"


def test_edited_stem_is_not_replaced_and_a_damaged_one_is(out):
    separate("one/01.wav", store())
    edited = Path("out/01/a.wav")
    audio_io.write(edited, torch.zeros(1, 8), 8000)
    content = edited.read_bytes()
    with pytest.raises(FileExistsError, match="changed by another program"):
        separate("one/01.wav", store())
    with pytest.raises(FileExistsError, match="changed by another program"):
        separate("one/01.wav", store("other weights"))
    assert edited.read_bytes() == content
    edited.write_bytes(content[:-5])
    assert separate("one/01.wav", store()) == FIRST
    edited.write_bytes(b"")
    assert separate("one/01.wav", store()) == FIRST


def test_stems_of_an_interrupted_run_are_replaced(out):
    with pytest.raises(KeyboardInterrupt), store().writing(song("one/01.wav"), lambda: None) as t:
        t.paths[0].parent.mkdir(parents=True)
        t.paths[0].write_text("stem")
        raise KeyboardInterrupt
    assert separate("one/01.wav", store()) == FIRST
    assert "unfinished" not in Path("out/01/.waveunet.json").read_text()


def test_stems_of_a_killed_run_are_replaced(out):
    """It has written some, has recorded none and has left its lock."""
    Path("out/01").mkdir(parents=True)
    Path(FIRST[0]).write_text("stem")
    Path("out/.01.lock").write_text("process 1")
    assert separate("one/01.wav", store()) == FIRST
    assert not Path("out/.01.lock").exists()


def test_songs_of_one_name_have_their_own_folders(out):
    assert separate("one/01.wav", store()) == FIRST
    assert separate("two/01.wav", store()) == SECOND
    assert [Path(path, "a.wav").read_text() for path in ("out/01", "out/01 (2)")] == [
        "one/01.wav",
        "two/01.wav",
    ]
    assert separate("one/01.wav", store()) == separate("two/01.wav", store()) == []


def test_moved_song_and_moved_stems_are_done(out):
    separate("one/01.wav", store())
    Path("three").mkdir()
    Path("one/01.wav").rename("three/01.wav")
    assert separate("three/01.wav", store()) == []
    shutil.copytree("out", "copy")
    shutil.rmtree("out")
    Path("copy").rename("out")
    assert separate("three/01.wav", store()) == []


def test_place_of_deleted_stems_is_free(out):
    separate("one/01.wav", store())
    for path in FIRST:
        Path(path).unlink()
    assert separate("two/01.wav", store()) == FIRST


def test_failed_song_leaves_no_folder_and_no_entry(out):
    with pytest.raises(ValueError), store().writing(song("one/01.wav"), lambda: None) as target:
        target.paths[0].parent.mkdir(parents=True)
        raise ValueError("unreadable")
    assert list(out.iterdir()) == []
    separate("one/01.wav", store())
    with pytest.raises(ValueError), store("new").writing(song("one/01.wav"), lambda: None):
        raise ValueError("killed between two stems")
    assert separate("one/01.wav", store()) == FIRST, "the stems may be those of either run"


def test_template_without_the_song_refuses_a_second_song(out):
    flat = store(template="{stem}.{ext}")
    assert separate("one/01.wav", flat) == ["out/a.wav", "out/b.wav"]
    assert separate("one/01.wav", flat) == []
    with pytest.raises(ValueError, match=r"one/01\.wav; add \{song\} to --name"):
        separate("two/01.wav", flat)


def test_flat_template_keeps_one_record_a_song(out):
    flat = store(template="{song}-{stem}.{ext}")
    assert separate("one/01.wav", flat) == ["out/01-a.wav", "out/01-b.wav"]
    assert separate("two/01.wav", flat) == ["out/01 (2)-a.wav", "out/01 (2)-b.wav"]
    assert separate("one/01.wav", flat) == separate("two/01.wav", flat) == []


def test_second_process_waits_and_finds_the_song_done(out, capsys):
    results = []
    with locked("out/01"):
        waiting = threading.Thread(target=lambda: results.append(separate("one/01.wav", store())))
        again = threading.Thread(target=lambda: results.append(separate("one/01.wav", store())))
        waiting.start(), again.start()
        with pytest.raises(Stopped), store().writing(song("one/01.wav"), stop_waiting(2)):
            pass
    waiting.join(60), again.join(60)
    assert sorted(results) == [[], FIRST]
    assert "Waiting for another process that writes out/01" in capsys.readouterr().err


def stop_waiting(n_polls: int):
    polls = iter(range(n_polls))

    def check() -> None:
        if next(polls, None) is None:
            raise Stopped

    return check


def test_invalid_templates_are_refused():
    for template, facts in {
        "{artist}/{stem}.{ext}": r"unknown field \{artist\}.*\{song\}, \{stem\}, \{ext\}",
        "{song}.{ext}": r"add \{stem\}",
        "{song}/{stem}": "does not end in",
        "{song}/{stem}.flac": r"does not end in \.\{ext\} or \.wav",
        "../{song}/{stem}.{ext}": "leaves the output folder out",
        "/x/{song}/{stem}.{ext}": "leaves the output folder out",
        "{song/{stem}.{ext}": "--name",
        "{song!r}/{stem}.{ext}": r"write \{song\}",
    }.items():
        with pytest.raises(ValueError, match=facts):
            Layout(Path("out"), ("a", "b"), template=template)
    with pytest.raises(ValueError, match="holds all stems"):
        Layout(Path("out"), ("a",), ".stem.mp4", template="{song}/{stem}.{ext}")


def test_songs_with_braces_and_long_names_keep_their_names():
    layout = Layout(Path("out"), ("a",), template="{song}-{stem}.{ext}")
    assert layout.place(Path("{x} {stem}")).target.paths == [Path("out/{x} {stem}-a.wav")]
    records = {layout.place(Path(n * 240)).record for n in "xy"}
    assert len(records) == 2 and all(len(path.name) < 100 for path in records)
