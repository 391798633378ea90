"""Catalogues on S3 and on disk, on one machine: what is done, skipped, repeated and recorded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from asteroid_waveunet import separate_catalogue
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.catalogue import separate_catalogue as module
from asteroid_waveunet.catalogue import worker
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.cloud import leases, storage

NAMES = ("album/01", "album/02", "single", "two")


def run(*words) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def store(s3, bucket, songs):
    """A bucket with the songs."""
    s3.put(str(songs), f"{bucket}/songs", recursive=True)
    return bucket


@pytest.fixture
def separated(model, monkeypatch):
    """Call `separate_catalogue`; return the summary and the names of songs that were separated."""
    done = []
    original = worker.separate_file

    def noting(model, path, target, **options):
        done.append("/".join(target.paths[0].parts[-3:-1]))
        return original(model, path, target, **options)

    monkeypatch.setattr(worker, "separate_file", noting)

    def call(*songs, **options):
        done.clear()
        found = separate_catalogue(songs, model=str(model), progress=False, **options)
        return found, sorted(done)

    return call


def stems_of(s3, folder: str) -> dict[str, bytes]:
    """Name of each wav below a URL -> content."""
    root = folder.removeprefix("s3://")
    return {name.removeprefix(f"{root}/"): s3.cat_file(name) for name in s3.find(root)
            if name.endswith((".wav", ".flac"))}  # fmt: skip


def written(s3, folder: str) -> dict[str, object]:
    """Name of each stem and record below a URL -> when it was written."""
    found = s3.find(folder.removeprefix("s3://"), detail=True)
    return {k: v["LastModified"] for k, v in found.items() if not k.endswith(".parquet")}


def plain(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.wav")}


def table(s3, output: str) -> dict[str, dict]:
    rows = pq.read_table(io.BytesIO(storage.read_bytes(f"{output}/catalogue.parquet"))).to_pylist()
    assert len({row["name"] for row in rows}) == len(rows)
    return {row["name"]: row for row in rows}


def test_stems_on_s3_equal_those_on_disk(s3, store, songs, model, separated):
    assert run("separate", songs, "-m", model, "-o", songs.parent / "plain") == 0
    found, _ = separated(f"{store}/songs", output=f"{store}/out")
    assert (found.songs, found.separated, found.failed) == (4, 4, 0)
    assert found.audio_hours == pytest.approx(4 * 0.2 / 3600)
    stems = stems_of(s3, f"{store}/out")
    assert stems == plain(songs.parent / "plain")
    rows = table(s3, f"{store}/out")
    assert rows.keys() == {*NAMES}
    for row in rows.values():
        assert row["status"] == "done"
        assert row["song"].startswith(f"{store}/songs/{row['name']}.")
        assert row["seconds"] > 0
        assert row["audio_seconds"] == pytest.approx(0.2)
        contents = [storage.read_bytes(url) for url in row["stems"]]
        assert row["bytes"] == [*map(len, contents)]
        assert row["sha256"] == [hashlib.sha256(content).hexdigest() for content in contents]


def test_same_call_skips_what_is_done(s3, store, separated):
    call = dict(output=f"{store}/out")
    separated(f"{store}/songs/**", **call)
    before, rows = written(s3, call["output"]), table(s3, call["output"])
    found, again = separated(f"{store}/songs/**", **call)
    assert (found.known, again) == (4, [])
    assert written(s3, call["output"]) == before
    assert table(s3, call["output"]) == rows, "the work of the first run is not forgotten"


def test_own_stems_are_no_songs(s3, store, separated):
    output = f"s3a{store[2:]}/songs/out"  # another name of the scheme
    separated(f"{store}/songs/single.wav", output=output)
    assert separated(f"{store}/songs/**", output=output)[0].songs == 4


def test_what_changed_is_separated_again(s3, store, songs, separated):
    call = dict(output=f"{store}/out")
    separated(f"{store}/songs", **call)
    s3.rm_file(f"{store}/out/single/bass.wav")
    s3.pipe_file(f"{store}/out/two/bass.wav", b"cut")
    audio_io.write(songs / "new.wav", 0.2 * torch.randn(2, 1600), 8000, "PCM_16")
    s3.put_file(str(songs / "new.wav"), f"{store}/songs/album/01.wav")
    s3.put_file(str(songs / "album/02.flac"), f"{store}/songs/album/02.flac")  # the same content
    assert separated(f"{store}/songs", **call)[1] == ["album/01", "out/single", "out/two"]
    assert separated(f"{store}/songs", **call)[1] == []
    assert len(separated(f"{store}/songs", residual=True, **call)[1]) == 4


def test_song_without_its_record_is_not_done(s3, store, separated, monkeypatch):
    def failing(url, content, write=storage.write_bytes):
        if url.endswith("single/.waveunet.json") and b"bass.wav" in content.split(b"unfinished")[0]:
            raise OSError("the worker died here")
        write(url, content)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", failing)
        found, _ = separated(f"{store}/songs", output=f"{store}/out")
    assert found.reasons == {f"{store}/songs/single.wav": "the worker died here"}
    assert s3.exists(f"{store}/out/single/bass.wav")
    assert separated(f"{store}/songs", output=f"{store}/out")[1] == ["out/single"]


def test_record_goes_before_new_stems_come(s3, store, separated, monkeypatch):
    call = dict(output=f"{store}/out")
    separated(f"{store}/songs/single.wav", **call)

    def failing(path, url):
        raise OSError("the network failed here")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "upload", failing)
        with pytest.raises(OSError, match="failed here"):  # catalogue.parquet
            separated(f"{store}/songs/single.wav", clip="none", **call)
    assert separated(f"{store}/songs/single.wav", **call)[1] == ["out/single"]


def test_big_log_saves_looking_up(s3, store, separated, monkeypatch):
    call = dict(output=f"{store}/out")
    monkeypatch.setattr(module, "TRUSTED_FROM", 1)
    separated(f"{store}/songs", **call)
    s3.rm_file(f"{store}/out/single/bass.wav")
    assert separated(f"{store}/songs", **call)[1] == [], "the log is believed"
    assert separated(f"{store}/songs", verify=True, **call)[1] == ["out/single"]
    assert table(s3, call["output"])["single"]["status"] == "done"
    s3.rm(f"{store}/out/single", recursive=True)
    separated(f"{store}/songs/two.wav", clip="none", **call)
    assert separated(f"{store}/songs", **call)[1] == ["out/single", "out/two"], (
        "rows before a run with other options prove nothing"
    )


def test_parts_of_the_log_are_merged(s3, store, separated, monkeypatch):
    from asteroid_waveunet.catalogue import log

    monkeypatch.setattr(log, "PARTS", 3)
    monkeypatch.setattr(log, "ROWS", 1)
    monkeypatch.setattr(module, "TRUSTED_FROM", 1)
    separated(f"{store}/songs", output=f"{store}/out")
    assert len(s3.ls(f"{store}/out/.waveunet/log")) == 1
    assert table(s3, f"{store}/out").keys() == {*NAMES}
    assert separated(f"{store}/songs", output=f"{store}/out")[0].known == 4


def test_catalogue_on_disk_and_plain_command_share_records(songs, model, separated, capsys):
    out = songs.parent / "plain"
    assert run("separate", songs, "-m", model, "-o", out) == 0
    assert separated(songs, output=out)[1] == []
    shutil.rmtree(out)
    found, _ = separated(songs, output=out)
    assert (found.separated, found.catalogue) == (4, str(out / "catalogue.parquet"))
    capsys.readouterr()
    assert run("separate", songs, "-m", model, "-o", out) == 0
    assert "4 of 4 songs already in" in capsys.readouterr().out


def test_files_of_other_programs_stay_on_s3(s3, store, songs, separated):
    call = dict(output=f"{store}/out")
    theirs, edited = f"{store}/out/single/vocals.wav", f"{store}/out/two/bass.wav"
    audio = (songs / "album/02.flac").read_bytes()
    s3.pipe_file(theirs, audio)
    found, _ = separated(f"{store}/songs", **call)
    assert found.separated == 3
    assert f"{theirs} exists and is no recorded" in found.reasons[f"{store}/songs/single.wav"]
    assert not s3.exists(f"{store}/out/single/.waveunet.json")
    s3.pipe_file(edited, audio)
    found, _ = separated(f"{store}/songs", **call)
    assert f"{edited} was changed by another" in found.reasons[f"{store}/songs/two.wav"]
    assert (s3.cat_file(theirs), s3.cat_file(edited)) == (audio, audio)
    found, again = separated(f"{store}/songs", overwrite=True, **call)
    assert (len(again), found.failed) == (4, 0)
    assert audio not in (s3.cat_file(theirs), s3.cat_file(edited))


def test_files_of_other_programs_stay_on_disk(songs, separated):
    theirs = songs.parent / "out/single/vocals.wav"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes((songs / "single.wav").read_bytes())
    found, _ = separated(songs, output=songs.parent / "out")
    assert (found.separated, [*found.reasons]) == (3, [str(songs / "single.wav")])
    assert theirs.read_bytes() == (songs / "single.wav").read_bytes()
    assert separated(songs, output=songs.parent / "out", overwrite=True)[0].separated == 4


@pytest.mark.parametrize("kind", ["s3", "disk"])
def test_two_calls_at_once_do_each_song_once(kind, s3, store, songs, separated, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 600)
    output = f"{store}/out" if kind == "s3" else str(songs.parent / "out")
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(separated, str(songs), output=output) for _ in range(2)]
        found = sorted((call.result()[0] for call in calls), key=lambda each: each.separated)
    assert [(each.separated, each.known) for each in found] == [(0, 4), (4, 0)]
    rows = pq.read_table(io.BytesIO(storage.read_bytes(f"{output}/catalogue.parquet")))
    assert rows["status"].to_pylist() == ["done"] * 4


def test_call_that_lost_the_output_logs_no_more_songs(s3, store, separated, monkeypatch):
    """Whoever has the output now may be replacing their stems."""
    songs = itertools.count(1)

    @contextlib.contextmanager
    def lost_at_the_second_song(_):
        def check():
            if next(songs) > 1:
                raise OSError("taken over")

        yield check

    monkeypatch.setattr(module, "leased", lost_at_the_second_song)
    with pytest.raises(OSError, match="taken over"):
        separated(f"{store}/songs", output=f"{store}/out")
    parts = [name for name in s3.find(f"{store}/out") if name.endswith(".parquet")]
    assert [pq.read_table(io.BytesIO(s3.cat_file(part))).num_rows for part in parts] == [0]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_manifest_names_songs(s3, store, separated, form, tmp_path):
    rows = {"path": [f"{store}/songs/single.wav", "songs/two.wav"], "name": [None, "another/name"]}
    file = tmp_path / f"m.{form}"
    if form == "jsonl":
        lines = [
            json.dumps(dict(zip(rows, row, strict=True)))
            for row in zip(*rows.values(), strict=True)
        ]
        file.write_text("\n".join(lines))
    elif form == "csv":
        pa.csv.write_csv(pa.table(rows), file)
    else:
        pq.write_table(pa.table(rows), file)
    found, _ = separated(manifest=file, output=tmp_path / "out", format="flac")
    assert (found.separated, found.reasons) == (2, {})
    written = {f.relative_to(tmp_path / "out").as_posix() for f in tmp_path.glob("out/**/*.flac")}
    names = ("songs/single", "another/name")
    assert written == {f"{name}/{stem}.flac" for name in names for stem in ("bass", "vocals")}


def test_scratch_is_empty_afterwards(store, separated, tmp_path):
    left = tmp_path / "waveunet-scratch" / "worker-0"
    left.mkdir(parents=True)
    (left / "song.wav").write_text("of a killed worker")
    separated(f"{store}/songs", output=f"{store}/out", scratch=tmp_path)
    assert [*(tmp_path / "waveunet-scratch").iterdir()] == []


BROKEN = ("truncated.wav", "empty.wav", "text.wav", "silent.wav")


def test_broken_songs_are_named_and_do_not_stop_others(s3, store, songs, separated):
    content = (songs / "single.wav").read_bytes()
    silent = songs / "silent.wav"
    audio_io.write(silent, torch.zeros(2, 1600), 8000, "PCM_16")
    contents = (content[:-999], b"", b"no audio", silent.read_bytes())
    for name, content in zip(BROKEN, contents, strict=True):
        s3.pipe_file(f"{store}/songs/{name}", content)
    missing = f"{store}/songs/missing.wav"
    found, _ = separated(f"{store}/songs", missing, output=f"{store}/out")
    assert (found.songs, found.separated, found.failed) == (9, 4, 5)
    assert found.reasons.keys() == {missing, *(f"{store}/songs/{name}" for name in BROKEN)}
    words = ("truncated", "empty", "no audio", "silent", "not exist")
    for name, word in zip((*BROKEN, "missing.wav"), words, strict=True):
        reason = found.reasons[f"{store}/songs/{name}"]
        assert word in reason
        assert f"{store}/songs/{name}" in reason
        assert "waveunet-scratch" not in reason
    failed = [row for row in table(s3, f"{store}/out").values() if row["status"] == "failed"]
    assert {row["error"] for row in failed} == {*found.reasons.values()}
    assert not any("truncated" in name for name in stems_of(s3, f"{store}/out"))
