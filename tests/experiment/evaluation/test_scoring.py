"""A data set's scores: every track once, in processes, in memory's bounds, killed and resumed."""

import json
import os
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.track import Extent
from asteroid_waveunet.experiment.evaluation import scoring
from asteroid_waveunet.experiment.evaluation.bss_eval import score_track
from asteroid_waveunet.experiment.evaluation.estimators import (
    Folder,
    IdealRatioMask,
    Mixture,
    Separator,
)
from asteroid_waveunet.experiment.evaluation.score_store import CLAIM, System
from helpers.scores import RATE, SONGS, STEMS, TWO, Deadly, Song, windows


def evaluate(songs, estimator, targets, out, *, fast=False, save=None, **how):
    """The scores of one system, as if there were no other."""
    systems = {"it": System(estimator, out, fast, save)}
    found = scoring.evaluate(songs, systems, targets, progress=False, **how)
    assert not found.failures, found.failures
    return found.scores["it"]


here = partial(evaluate, jobs=0)


def half(mixture, rate):
    return dict.fromkeys(TWO, 0.5 * mixture)


HALF = Separator(half)


def test_every_track_is_scored_once_and_kept(tmp_path):
    asked = []

    def separate(mixture, rate):
        asked.append(rate)
        return half(mixture, rate)

    run = partial(here, fingerprint="m", fast=True)
    first = run(SONGS[:2], Separator(separate), TWO, tmp_path)
    again = run(SONGS, Separator(separate), TWO, tmp_path)
    assert len(asked) == 3
    assert [s["track"] for s in again] == [song.name for song in SONGS]
    np.testing.assert_array_equal([windows(s) for s in again[:2]], [windows(s) for s in first])
    mixture, groups, rate = SONGS[0].mixture_and_groups(TWO)
    expected = score_track(groups, half(mixture, rate), rate, SONGS[0].name, fast=True)
    np.testing.assert_array_equal(windows(again[0]), windows(expected))
    kept = json.loads((tmp_path / "test" / "A. B. - one.json").read_text())
    assert kept.pop("made_from") and str(kept) == str(expected)


@pytest.mark.parametrize("estimator", [HALF, Mixture()])
def test_processes_give_the_same_scores(tmp_path, estimator):
    alone = here(SONGS[:2], estimator, TWO, tmp_path / "a")
    processes = evaluate(SONGS[:2], estimator, TWO, tmp_path / "b", jobs=2)
    np.testing.assert_allclose(
        [windows(s) for s in alone], [windows(s) for s in processes], rtol=0, atol=1e-5
    )


def test_a_folder_of_other_scores_is_refused(tmp_path):
    here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="old", fast=True)
    with pytest.raises(ValueError, match="made otherwise .fingerprint: 'old', not 'new'"):
        here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="new", fast=True)
    with pytest.raises(ValueError, match=r"metrics: 'SDR only \(--fast\)', not 'all'"):
        here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="old")
    assert here(SONGS[:1], HALF, TWO[::-1], tmp_path, fingerprint="old", fast=True)
    (tmp_path / CLAIM).write_text("{")
    with pytest.raises(ValueError, match="evaluation.json is corrupt .*; delete"):
        here(SONGS[:1], HALF, TWO, tmp_path, fast=True)
    (tmp_path / CLAIM).unlink()
    with pytest.raises(ValueError, match="fingerprint: None"):
        here(SONGS[:1], HALF, TWO, tmp_path, fast=True)


def test_a_track_that_fails_is_named_and_the_others_are_scored(tmp_path):
    def separate(mixture, rate):
        estimates = half(mixture, rate)
        if mixture.equal(SONGS[1].mixture_and_groups(TWO)[0]):
            del estimates["vocals"]
        if mixture.equal(SONGS[2].mixture_and_groups(TWO)[0]):
            estimates["vocals"] = estimates["vocals"][:, 1:]
        return estimates

    systems = {"it": System(Separator(separate), tmp_path, fast=True)}
    found = scoring.evaluate(SONGS, systems, TWO, jobs=0, progress=False)
    assert [scores["track"] for scores in found.scores["it"]] == ["A. B. - one"]
    assert list(found.failures) == ["C - two", "D - three"]
    assert found.failures["C - two"] == "no estimate of vocals; there are accompaniment"
    assert "estimate of vocals has (channels, time) (2, 4299)" in found.failures["D - three"]
    assert [p.name for p in (tmp_path / "test").iterdir()] == ["A. B. - one.json"]


@pytest.mark.parametrize(("source", "beside"), [("vocals", "accompaniment"), ("bass", "rest")])
def test_one_source_is_scored_beside_the_rest_of_the_mixture(tmp_path, source, beside):
    song = SONGS[0]
    mixture, groups, rate = song.mixture_and_groups([source])
    alone = Separator(lambda m, r: {source: 0.3 * m})
    (scores,) = here([song], alone, (source,), tmp_path, fast=True)
    assert [target["name"] for target in scores["targets"]] == [source]
    assert scores["protocol"] == [source, beside]
    references = {source: groups[source], beside: groups["rest"]}
    pair = {source: 0.3 * mixture, beside: mixture - 0.3 * mixture}
    expected = score_track(references, pair, rate, song.name, fast=True)
    np.testing.assert_allclose(windows(scores)[:, 0], windows(expected)[:, 0], atol=1e-9)
    shorter = {"it": System(Separator(lambda m, r: {source: m[:, 1:]}), tmp_path, fast=True)}
    found = scoring.evaluate([SONGS[1]], shorter, (source,), jobs=0, progress=False)
    assert "has 4299 samples, the mixture 4300" in found.failures["C - two"]


def test_four_sources_are_scored_as_two_where_that_is_asked(tmp_path):
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


def test_estimates_are_written_when_asked_and_score_the_same_again(tmp_path):
    saved = tmp_path / "estimates"
    first = here(SONGS[:1], HALF, TWO, tmp_path / "a", fast=True, save=saved)
    file = saved / "test" / SONGS[0].name / "vocals.wav"
    torch.testing.assert_close(audio_io.read(file)[0], 0.5 * SONGS[0].mixture_and_groups(TWO)[0])
    again = here(SONGS[:1], Folder.of(saved, SONGS), TWO, tmp_path / "b", fast=True)
    np.testing.assert_allclose(windows(again[0])[0], windows(first[0])[0], rtol=0, atol=1e-9)
    file.unlink()
    here(SONGS[:1], HALF, TWO, tmp_path / "a", fast=True, save=saved)
    assert file.is_file(), "scores alone are not all that was asked for"
    assert not list(tmp_path.glob("b/**/*.wav"))


def test_estimates_that_changed_are_scored_again(tmp_path):
    saved = tmp_path / "estimates"
    here(SONGS[:1], HALF, TWO, tmp_path / "a", fast=True, save=saved)
    folder = Folder.of(saved, SONGS)
    (before,) = here(SONGS[:1], folder, TWO, tmp_path / "b", fast=True)
    mixture, _, _ = SONGS[0].mixture_and_groups(TWO)
    file = saved / "test" / SONGS[0].name / "vocals.wav"
    audio_io.write(file, 0.25 * mixture, RATE)
    os.utime(file, (1.0, 1.0))  # as from an archive: older than the scores
    (after,) = here(SONGS[:1], folder, TWO, tmp_path / "b", fast=True)
    assert (windows(before)[0, 0] == windows(after)[0, 0]).all(), "the accompaniment's is the same"
    assert (windows(before)[0, 1] != windows(after)[0, 1]).all()


def test_a_process_that_dies_costs_nobody_else_its_scores(tmp_path):
    systems = {"it": System(Deadly((SONGS[0].name,)), tmp_path, fast=True)}
    found = scoring.evaluate(SONGS, systems, TWO, jobs=2, progress=False)
    assert "its scoring process died" in found.failures["A. B. - one"]
    assert {p.name for p in (tmp_path / "test").iterdir()} == {"C - two.json", "D - three.json"}


def test_a_longer_track_with_more_sources_needs_more_memory():
    song = Extent(2, 240 * 44100, 44100)
    needs = [scoring.gigabytes(song, 4, n) for n in (2, 4)]
    assert 4 < needs[0] < needs[1] < 10, "some 6 GB were measured with four sources"
    assert scoring.gigabytes(song._replace(frames=60 * 44100), 4, 4) < needs[1] / 2
    assert scoring.gigabytes(song, 4, 4, fast=True) < needs[1] / 2
    assert scoring.gigabytes(song, 12, 4) > needs[1]


def test_a_track_that_needs_more_than_was_given_is_said_to(tmp_path):
    with pytest.warns(UserWarning, match="A. B. - one may take 0.4 GB .* the 0.1 given"):
        here(SONGS[:1], HALF, TWO, tmp_path, fast=True, memory=0.1)


def test_scores_of_other_data_of_the_same_name_are_not_taken(tmp_path):
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
    assert scores["track"] == "song", "what is not legible is scored again"


def test_a_track_is_read_once_for_all_systems(tmp_path):
    reads = []

    @dataclass(frozen=True)
    class Counted(Song):
        def mixture_and_groups(self, sources):
            reads.append(self.name)
            return super().mixture_and_groups(sources)

    song = Counted("song")
    systems = {
        "mixture": System(Mixture(), tmp_path / "mixture", fast=True),
        "oracle": System(IdealRatioMask(), tmp_path / "oracle", fast=True),
    }
    found = scoring.evaluate([song], systems, TWO, jobs=0, progress=False)
    assert list(found.scores) == ["mixture", "oracle"] and reads == ["song"]
    for name, system in systems.items():
        (alone,) = here([Song("song")], system.estimator, TWO, tmp_path / "alone" / name, fast=True)
        assert str(found.scores[name]) == str([alone])
    systems["oracle"].file(song).unlink()
    kept = systems["mixture"].file(song)
    written = kept.stat().st_mtime_ns
    again = scoring.evaluate([song], systems, TWO, jobs=0, progress=False)
    assert kept.stat().st_mtime_ns == written
    assert list(again.scores) == list(found.scores)
