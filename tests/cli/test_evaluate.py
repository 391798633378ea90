"""`waveunet evaluate` and `waveunet compare` on small songs."""

import io
import json
import shutil
import sys

import pytest
import torch

from asteroid_waveunet._version import __version__
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.weights import serialization
from helpers.models import randomize, tiny
from helpers.scores import score_in_this_process
from helpers.songs import STEMS, write_song, write_stem_file


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two songs, a model of two sources and one of four; scored in this process."""
    for name in ("A. B. - one", "C - two"):
        write_song(tmp_path / "songs" / "test" / name, seconds=2.5)
    for name, sources in {"two": ("accompaniment", "vocals"), "four": STEMS}.items():
        model = randomize(tiny(sources=sources, in_channels=2, sample_rate=8000))
        serialization.save(model.serialize(), tmp_path / name)

    score_in_this_process(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*options):
    return main(["evaluate", "--data", "songs", "--fast", *options])


def test_model_is_scored_with_baselines_and_a_page_that_is_kept_up_to_date(here, capsys):
    assert evaluate("-m", "four") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{here.name}/four on test of songs: SDR of BSS Eval v4")
    for system in ("model", "mixture", "ideal ratio mask"):
        assert f"| {system} | average |" in printed
    assert "four-source (bass, drums, other, vocals), 2 tracks" in printed
    assert str(here / "scores" / "report" / "index.html").endswith(printed.split()[-1])
    assert (here / "scores" / "report" / "index.html").is_file()
    for folder in ("scores", "scores/baselines/mixture", "scores/baselines/ideal ratio mask"):
        names = {path.name for path in (here / folder / "test").iterdir()}
        assert names == {"A. B. - one.json", "C - two.json"}
    summary = json.loads((here / "scores" / "summary.json").read_text())
    assert summary["tracks"] == 2 and summary["systems"]["model"].keys() == set(STEMS)
    assert (here / "scores" / "scores.md").read_text() in printed
    page = here / "scores" / "report" / "index.html"
    assert "waveunet evaluate --data songs" in page.read_text()
    written = page.stat().st_mtime_ns
    assert evaluate("-m", "four") == 0
    assert page.stat().st_mtime_ns == written
    write_song(here / "songs" / "test" / "D - three", seconds=2.5)
    assert evaluate("-m", "four") == 0
    assert page.stat().st_mtime_ns > written and "D - three" in page.read_text()


def test_scored_tracks_are_skipped_and_a_missing_one_is_scored(here, capsys):
    assert evaluate("-m", "two", "--no-report") == 0
    first = capsys.readouterr().out
    files = sorted((here / "scores").rglob("test/*.json"))
    before = {file: file.stat().st_mtime_ns for file in files}
    files[0].unlink()
    assert evaluate("-m", "two", "--no-report") == 0
    assert capsys.readouterr().out == first
    assert [f for f in files if f.stat().st_mtime_ns != before[f]] == files[:1]
    assert not (here / "scores" / "report").exists()


def test_saved_estimates_have_the_scores_of_the_model(here, capsys):
    assert evaluate("-m", "four", "--save-estimates", "estimates", "--no-report") == 0
    files = {path.relative_to(here / "estimates") for path in here.glob("estimates/*/*/*.wav")}
    assert len(files) == 2 * len(STEMS)
    assert evaluate("-e", "estimates", "-o", "again", "--no-report") == 0
    one, other = (
        json.loads((here / folder / "summary.json").read_text())["systems"]
        for folder in ("scores", "again")
    )
    assert list(other) == ["estimates", "mixture", "ideal ratio mask"]
    for source in STEMS:
        for figure, value in one["model"][source]["SDR"].items():
            assert abs(other["estimates"][source]["SDR"][figure] - value) < 1e-6


def test_protocols_are_chosen_and_not_mixed(here, capsys):
    assert evaluate("-m", "four", "-o", "a", "--no-report") == 0
    targets = ["--targets", "vocals", "accompaniment"]
    assert evaluate("-m", "four", "-o", "b", "--no-report", *targets) == 0
    assert "two-source (vocals, accompaniment)" in capsys.readouterr().out
    assert main(["compare", "a", "b"]) == 1
    printed = capsys.readouterr().err
    assert "four-source" in printed and "two-source" in printed
    for song in ("A. B. - one", "C - two"):
        for source in (*STEMS, "accompaniment", "residual"):
            audio_io.write(here / "five" / song / f"{source}.wav", torch.randn(2, 20000) / 9, 8000)
    assert evaluate("-e", "five", "-o", "c") == 1
    assert "overlap. Choose which to score together" in capsys.readouterr().err
    (here / "five" / "A. B. - one" / "accompaniment.wav").unlink()
    (here / "five" / "C - two" / "accompaniment.wav").unlink()
    assert evaluate("-e", "five", "-o", "c", "--no-report") == 0
    assert "the data lacks these stems: residual." in capsys.readouterr().out


def test_compare_pairs_two_systems_by_track(here, capsys):
    assert evaluate("-m", "two", "--no-report") == 0
    capsys.readouterr()
    assert main(["compare", "scores/baselines/mixture", "scores"]) == 0
    printed = capsys.readouterr().out
    assert "| target | tracks | windows | NaN | mixture, pooled | scores, pooled |" in printed
    assert "| vocals | 2 | 4 | 0 |" in printed and "two-source (accompaniment, vocals)" in printed
    assert main(["compare", "scores", "scores"]) == 1
    assert "are the same folder" in capsys.readouterr().err


def test_failed_song_is_reported_and_the_others_are_scored(here, capsys):
    song = here / "songs" / "test" / "C - two" / "vocals.wav"
    song.write_bytes(song.read_bytes()[:1000])
    assert evaluate("-m", "two", "--no-report") == 1
    printed = capsys.readouterr().err
    assert "1 of 2 tracks could not be scored" in printed and "C - two: " in printed
    assert "Traceback" not in printed
    text = (here / "scores" / "scores.md").read_text()
    assert "1 track" in text and "- not scored: C - two: " in text
    assert [path.stem for path in (here / "scores" / "test").iterdir()] == ["A. B. - one"]


def test_user_errors_are_reported_without_a_traceback(here, capsys):
    refused = {
        "-m nothing/here/at/all": "no file or folder",
        "-e nowhere": "no folder nowhere",
        "-e two": "no estimates of these 2 tracks",
        "-m two --data nowhere": "no data folder nowhere",
        "-m two --subset train": "no 'train' folder",
        "-m two --targets guitar": "'guitar'",
        "-m two --targets bass drums": "bass, drums",
        "-m two --save-estimates songs": "lies in songs and would replace its files",
        "-m two --save-estimates songs/test/x": "lies in songs",
        "-m two --save-estimates two/config.json": "Cannot write to two/config.json",
        "-m two --jobs 0": "--jobs is 0; expected at least 1",
        "-m two --memory -1": "--memory is -1.0; expected a number of GB",
        "-m two --shifts 0": "shifts",
    }
    for words, message in refused.items():
        assert evaluate(*words.split()) == 1, words
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error, words
    assert not list(here.glob("scores/test/*")) and not list(here.glob("songs/test/x"))


def test_real_song_is_scored_in_a_worker_process(tmp_path, capsys):
    """6 s of MUSDB18, every metric."""
    write_stem_file(tmp_path / "songs" / "test")
    model = randomize(tiny(sources=("accompaniment", "vocals"), in_channels=2, sample_rate=22050))
    serialization.save(model.serialize(), tmp_path / "model")
    options = ["-m", tmp_path / "model", "-d", tmp_path / "songs", "-o", tmp_path / "scores"]
    assert (
        main(["evaluate", *map(str, options), "--jobs", "1", "--memory", "1", "--no-report"]) == 0
    )
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    figures = summary["systems"]
    assert summary["engines"] == [f"asteroid-waveunet {__version__}"]
    assert figures["model"]["vocals"]["SIR"]["windows"] == 6
    oracle, mixture = (
        figures[name]["vocals"]["SDR"]["median"] for name in ("ideal ratio mask", "mixture")
    )
    assert oracle > mixture + 3


def test_museval_scores_on_request_with_the_same_figures_and_protocol(here, monkeypatch):
    (song,) = here.glob("songs/test/C - two")
    shutil.rmtree(song)
    for engine in ("bss_eval", "museval"):
        words = ["-m", "two", "-d", "songs", "-o", engine, "--engine", engine, "--no-report"]
        assert main(["evaluate", *words]) == 0
    ours, musevals = (
        json.loads((here / engine / "summary.json").read_text())
        for engine in ("bss_eval", "museval")
    )
    assert musevals["engines"][0].startswith("museval ") and ours["engines"] != musevals["engines"]
    for same in ("protocol", "fingerprint", "targets"):
        assert ours[same] == musevals[same]
    for metric in ("SDR", "SIR", "ISR", "SAR"):
        one, other = (x["systems"]["model"]["vocals"][metric]["median"] for x in (ours, musevals))
        assert abs(one - other) < 1e-6, metric
    (file,) = here.glob("museval/test/*.json")
    file.unlink()  # scored again by the other engine, in the same folder
    words = ["-m", "two", "-d", "songs", "-o", "museval", "--no-report"]
    assert main(["evaluate", *words]) == 0
    assert json.loads((here / "museval" / "summary.json").read_text())["engines"] == ours["engines"]


def test_surplus_estimates_of_a_song_are_ignored(here, capsys):
    for song in ("A. B. - one", "C - two"):
        for source in (*STEMS, "guitar", "accompaniment")[: 5 if song[0] == "A" else 4]:
            audio_io.write(here / "own" / song / f"{source}.wav", torch.randn(2, 20000) / 9, 8000)
    before = {path: path.read_bytes() for path in (here / "own").rglob("*.wav")}
    assert evaluate("-e", "own", "--no-report") == 0
    assert evaluate("-e", "own", "-o", "x", "--no-report", "--save-estimates", "own") == 1
    assert "lies in own" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (here / "own").rglob("*.wav")} == before


def test_report_folder_with_other_files_is_refused_before_scoring(here, capsys):
    (here / "scores" / "report").mkdir(parents=True)
    (here / "scores" / "report" / "thesis.txt").touch()
    assert evaluate("-m", "two") == 1
    assert "thesis.txt" in capsys.readouterr().err
    assert not (here / "scores" / "test").exists()


def test_names_are_escaped_on_a_terminal_without_unicode(here, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    (here / "songs").rename(here / "música")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert evaluate("-m", "two", "-d", "música", "--no-report") == 0
    terminal.flush()
    printed = terminal.buffer.getvalue()
    assert b"m\\xfasica" in printed and b"| model | average |" in printed
