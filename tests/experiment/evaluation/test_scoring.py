"""Scores of many tracks: worker processes, memory limits, resuming, failures."""

import json
import os
import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.track import Extent
from asteroid_waveunet.experiment.evaluation import scoring
from asteroid_waveunet.experiment.evaluation.estimators import (
    Folder,
    IdealRatioMask,
    Mixture,
)
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import score_track
from asteroid_waveunet.experiment.evaluation.score_store import SETTINGS_FILE, ScoreStore
from asteroid_waveunet.experiment.evaluation.separator import Separator
from helpers.scores import RATE, SONGS, STEMS, TWO, Probe, Song, windows


def evaluate(songs, estimator, targets, out, *, fast=False, save=None, **how):
    """Return the scores of a single estimator."""
    stores = {"it": ScoreStore(estimator, out, fast, save)}
    found = scoring.score_tracks(songs, stores, targets, progress=False, **how)
    assert not found.failures, found.failures
    return found.scores["it"]


here = partial(evaluate, jobs=0)


def half(mixture, rate):
    return dict.fromkeys(TWO, 0.5 * mixture)


HALF = Separator(half)


def test_tracks_with_scores_are_skipped(tmp_path):
    calls = []

    def separate(mixture, rate):
        calls.append(rate)
        return half(mixture, rate)

    run = partial(here, fingerprint="m", fast=True)
    first = run(SONGS[:2], Separator(separate), TWO, tmp_path)
    again = run(SONGS, Separator(separate), TWO, tmp_path)
    assert len(calls) == 3
    assert [s["track"] for s in again] == [song.name for song in SONGS]
    np.testing.assert_array_equal([windows(s) for s in again[:2]], [windows(s) for s in first])
    mixture, groups, rate = SONGS[0].mixture_and_groups(TWO)
    expected = score_track(groups, half(mixture, rate), rate, SONGS[0].name, fast=True)
    np.testing.assert_array_equal(windows(again[0]), windows(expected))
    kept = json.loads((tmp_path / "test" / "A. B. - one.json").read_text())
    assert kept.pop("made_from") and str(kept) == str(expected)


def test_folder_of_scores_with_other_settings_is_refused(tmp_path):
    here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="old", fast=True)
    with pytest.raises(ValueError, match="other settings .fingerprint: 'old', not 'new'"):
        here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="new", fast=True)
    with pytest.raises(ValueError, match=r"metrics: 'SDR only \(--fast\)', not 'all'"):
        here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="old")
    assert here(SONGS[:1], HALF, TWO[::-1], tmp_path, fingerprint="old", fast=True)
    (tmp_path / SETTINGS_FILE).write_text("{")
    with pytest.raises(ValueError, match="evaluation.json is corrupt .*delete"):
        here(SONGS[:1], HALF, TWO, tmp_path, fast=True)
    (tmp_path / SETTINGS_FILE).unlink()
    with pytest.raises(ValueError, match="fingerprint: None"):
        here(SONGS[:1], HALF, TWO, tmp_path, fast=True)


def test_failed_tracks_are_named_and_the_others_scored(tmp_path):
    def separate(mixture, rate):
        estimates = half(mixture, rate)
        if mixture.equal(SONGS[1].mixture_and_groups(TWO)[0]):
            del estimates["vocals"]
        if mixture.equal(SONGS[2].mixture_and_groups(TWO)[0]):
            estimates["vocals"] = estimates["vocals"][:, 1:]
        return estimates

    stores = {"it": ScoreStore(Separator(separate), tmp_path, fast=True)}
    found = scoring.score_tracks(SONGS, stores, TWO, jobs=0, progress=False)
    assert [scores["track"] for scores in found.scores["it"]] == ["A. B. - one"]
    assert list(found.failures) == ["C - two", "D - three"]
    assert found.failures["C - two"] == "no estimate of vocals; there are accompaniment"
    assert "estimate of vocals has (channels, time) (2, 4299)" in found.failures["D - three"]
    assert [p.name for p in (tmp_path / "test").iterdir()] == ["A. B. - one.json"]


@pytest.mark.parametrize(("source", "complement"), [("vocals", "accompaniment"), ("bass", "rest")])
def test_single_target_is_scored_with_its_complement(tmp_path, source, complement):
    song = SONGS[0]
    mixture, groups, rate = song.mixture_and_groups([source])
    alone = Separator(lambda m, r: {source: 0.3 * m})
    (scores,) = here([song], alone, (source,), tmp_path, fast=True)
    assert [target["name"] for target in scores["targets"]] == [source]
    assert scores["protocol"] == [source, complement]
    references = {source: groups[source], complement: groups["rest"]}
    pair = {source: 0.3 * mixture, complement: mixture - 0.3 * mixture}
    expected = score_track(references, pair, rate, song.name, fast=True)
    np.testing.assert_allclose(windows(scores)[:, 0], windows(expected)[:, 0], atol=1e-9)
    shorter = {"it": ScoreStore(Separator(lambda m, r: {source: m[:, 1:]}), tmp_path, fast=True)}
    found = scoring.score_tracks([SONGS[1]], shorter, (source,), jobs=0, progress=False)
    assert re.search("4299 samples .* 4300", found.failures["C - two"])


def test_four_sources_are_summed_to_two_targets(tmp_path):
    song = SONGS[0]
    mixture, groups, rate = song.mixture_and_groups(STEMS)
    four = Separator(lambda m, r: {s: 0.5 * groups[s] + 0.1 * m for s in STEMS})
    (scores,) = here([song], four, TWO, tmp_path, fast=True)
    _, two, _ = song.mixture_and_groups(TWO)
    estimates = {
        "accompaniment": 0.5 * two["accompaniment"] + 0.3 * mixture,
        "vocals": 0.5 * two["vocals"] + 0.1 * mixture,
    }
    expected = score_track(two, estimates, rate, song.name, fast=True)
    np.testing.assert_allclose(windows(scores)[0], windows(expected)[0], atol=1e-4)


def test_saved_estimates_score_the_same(tmp_path):
    saved = tmp_path / "estimates"
    first = here(SONGS[:1], HALF, TWO, tmp_path / "a", fast=True, save=saved)
    file = saved / "test" / SONGS[0].name / "vocals.wav"
    torch.testing.assert_close(audio_io.read(file)[0], 0.5 * SONGS[0].mixture_and_groups(TWO)[0])
    again = here(SONGS[:1], Folder.find(saved, SONGS), TWO, tmp_path / "b", fast=True)
    np.testing.assert_allclose(windows(again[0])[0], windows(first[0])[0], rtol=0, atol=1e-9)
    file.unlink()
    here(SONGS[:1], HALF, TWO, tmp_path / "a", fast=True, save=saved)
    assert file.is_file(), "scores exist, but the estimate is missing"
    assert not list(tmp_path.glob("b/**/*.wav"))


def test_changed_estimates_are_scored_again(tmp_path):
    saved = tmp_path / "estimates"
    here(SONGS[:1], HALF, TWO, tmp_path / "a", fast=True, save=saved)
    folder = Folder.find(saved, SONGS)
    (before,) = here(SONGS[:1], folder, TWO, tmp_path / "b", fast=True)
    mixture, _, _ = SONGS[0].mixture_and_groups(TWO)
    file = saved / "test" / SONGS[0].name / "vocals.wav"
    audio_io.write(file, 0.25 * mixture, RATE)
    os.utime(file, (1.0, 1.0))  # as from an archive: older than the scores
    (after,) = here(SONGS[:1], folder, TWO, tmp_path / "b", fast=True)
    assert (windows(before)[0, 0] == windows(after)[0, 0]).all(), "accompaniment unchanged"
    assert (windows(before)[0, 1] != windows(after)[0, 1]).all()


def test_worker_processes_give_the_same_scores_and_import_no_networks(tmp_path):
    """Results, a worker that dies and the imports of a worker, all from one pool."""
    *others, dies = SONGS
    stores = {
        "separated": ScoreStore(HALF, tmp_path / "separated", fast=True),
        "probe": ScoreStore(Probe((dies.name,)), tmp_path / "probe", fast=True),
    }
    found = scoring.score_tracks(SONGS, stores, TWO, jobs=1, progress=False)
    assert "scoring process died" in found.failures[dies.name]
    names = {path.name for path in (tmp_path / "separated" / "test").iterdir()}
    assert names == {f"{song.name}.json" for song in others}
    alone = here(others, HALF, TWO, tmp_path / "alone", fast=True)
    np.testing.assert_allclose(
        [windows(s) for s in found.scores["separated"]],
        [windows(s) for s in alone],
        rtol=0,
        atol=1e-5,
    )


def test_memory_needed_grows_with_length_and_sources():
    song = Extent(2, 240 * 44100, 44100)
    needs = [scoring.memory_needed(song, 4, n, engine="museval") for n in (2, 4)]
    assert 4 < needs[0] < needs[1] < 10, "some 6 GB were measured with four sources"
    minute = song._replace(frames=60 * 44100)
    assert scoring.memory_needed(minute, 4, 4, engine="museval") < needs[1] / 2
    assert scoring.memory_needed(song, 4, 4) < needs[1] / 2
    assert scoring.memory_needed(song, 4, 4, fast=True) < needs[1] / 2
    assert scoring.memory_needed(song, 12, 4) > scoring.memory_needed(song, 4, 4)


def test_track_above_the_memory_limit_warns(tmp_path):
    with pytest.warns(UserWarning, match=r"A. B. - one .* 0\.4 GB .* 0\.1 GB"):
        here(SONGS[:1], HALF, TWO, tmp_path, fast=True, memory=0.1)


def test_changed_or_corrupt_files_are_scored_again(tmp_path):
    @dataclass(frozen=True)
    class OnDisk(Song):
        def files(self):
            return [tmp_path / "vocals.wav"]

    song = OnDisk("song")
    song.files()[0].write_text("before")
    here([song], HALF, TWO, tmp_path / "out", fast=True)
    file = tmp_path / "out" / "test" / "song.json"
    written = file.stat().st_mtime_ns
    here([song], HALF, TWO, tmp_path / "out", fast=True)
    assert file.stat().st_mtime_ns == written
    song.files()[0].write_text("after")
    here([song], HALF, TWO, tmp_path / "out", fast=True)
    assert file.stat().st_mtime_ns > written
    file.write_text("{")
    (scores,) = here([song], HALF, TWO, tmp_path / "out", fast=True)
    assert scores["track"] == "song", "a corrupt score file is replaced"


def test_track_is_read_once_for_all_estimators(tmp_path):
    reads = []

    @dataclass(frozen=True)
    class Counted(Song):
        def mixture_and_groups(self, sources):
            reads.append(self.name)
            return super().mixture_and_groups(sources)

    song = Counted("song")
    stores = {
        "mixture": ScoreStore(Mixture(), tmp_path / "mixture", fast=True),
        "oracle": ScoreStore(IdealRatioMask(), tmp_path / "oracle", fast=True),
    }
    found = scoring.score_tracks([song], stores, TWO, jobs=0, progress=False)
    assert list(found.scores) == ["mixture", "oracle"] and reads == ["song"]
    for name, store in stores.items():
        (alone,) = here([Song("song")], store.estimator, TWO, tmp_path / "alone" / name, fast=True)
        assert str(found.scores[name]) == str([alone])
    stores["oracle"].score_file(song).unlink()
    kept = stores["mixture"].score_file(song)
    written = kept.stat().st_mtime_ns
    again = scoring.score_tracks([song], stores, TWO, jobs=0, progress=False)
    assert kept.stat().st_mtime_ns == written
    assert list(again.scores) == list(found.scores)
