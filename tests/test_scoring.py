"""A data set's scores: every track once, in processes, in memory's bounds, killed and resumed."""

import json
import os
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from scores import RATE, SONGS, STEMS, TWO, Song, windows

from asteroid_waveunet import audio
from asteroid_waveunet.experiment import scoring
from asteroid_waveunet.experiment.estimates import Folder, IdealRatioMask, Mixture, Separator
from asteroid_waveunet.experiment.evaluation import score_track
from asteroid_waveunet.experiment.musdb import Extent


def evaluate(songs, estimator, targets, out, *, fast=False, save=None, **how):
    """The scores of one system, as if there were no other."""
    systems = {"it": scoring.System(estimator, out, fast, save)}
    return scoring.evaluate(songs, systems, targets, progress=False, **how)["it"]


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
    assert str(again[:2]) == str(first)
    mixture, groups, rate = SONGS[0].mixture_and_groups(TWO)
    expected = score_track(groups, half(mixture, rate), rate, SONGS[0].name, fast=True)
    assert str(again[0]) == str(expected)
    assert str(json.loads((tmp_path / "test" / "A. B. - one.json").read_text())) == str(expected)


@pytest.mark.parametrize("estimator", [HALF, Mixture()])
def test_processes_give_the_same_scores(tmp_path, estimator):
    alone = here(SONGS[:2], estimator, TWO, tmp_path / "a")
    processes = evaluate(SONGS[:2], estimator, TWO, tmp_path / "b", jobs=2)
    np.testing.assert_allclose(
        [windows(s) for s in alone], [windows(s) for s in processes], rtol=0, atol=1e-5
    )


def test_a_folder_of_other_scores_is_refused(tmp_path):
    here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="old", fast=True)
    with pytest.raises(ValueError, match="fingerprint 'old', not 'new'"):
        here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="new", fast=True)
    with pytest.raises(ValueError, match="metrics 'SDR', not 'all'"):
        here(SONGS[:1], HALF, TWO, tmp_path, fingerprint="old")
    (tmp_path / scoring.CLAIM).unlink()
    with pytest.raises(ValueError, match="fingerprint None"):
        here(SONGS[:1], HALF, TWO, tmp_path, fast=True)


def test_a_track_that_fails_is_named_and_the_others_are_scored(tmp_path):
    def separate(mixture, rate):
        estimates = half(mixture, rate)
        if mixture.equal(SONGS[1].mixture_and_groups(TWO)[0]):
            del estimates["vocals"]
        if mixture.equal(SONGS[2].mixture_and_groups(TWO)[0]):
            estimates["vocals"] = estimates["vocals"][:, 1:]
        return estimates

    with pytest.raises(ValueError, match="2 of 3 tracks could not be scored") as error:
        here(SONGS, Separator(separate), TWO, tmp_path, fast=True)
    assert "C - two: no estimate of vocals; there are accompaniment" in str(error.value)
    assert "D - three: the estimate of vocals has (channels, time) (2, 4299)" in str(error.value)
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
    shorter = Separator(lambda m, r: {source: m[:, 1:]})
    with pytest.raises(ValueError, match="has 4299 samples, the mixture 4300"):
        here([SONGS[1]], shorter, (source,), tmp_path, fast=True)


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
    torch.testing.assert_close(audio.read(file)[0], 0.5 * SONGS[0].mixture_and_groups(TWO)[0])
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
    audio.write(file, 0.25 * mixture, RATE)
    later = (tmp_path / "b" / "test" / f"{SONGS[0].name}.json").stat().st_mtime + 1
    os.utime(file, (later, later))
    (after,) = here(SONGS[:1], folder, TWO, tmp_path / "b", fast=True)
    assert (windows(before)[0, 0] == windows(after)[0, 0]).all(), "the accompaniment's is the same"
    assert (windows(before)[0, 1] != windows(after)[0, 1]).all()


@dataclass(frozen=True)
class Deadly:
    """Ends its process at some songs, as a system without memory does."""

    names: tuple[str, ...]

    def __call__(self, track, parts):
        if track.name in self.names:
            os._exit(9)
        time.sleep(0.2)  # beside a process that dies
        return Mixture()(track, parts)


def test_a_process_that_dies_costs_nobody_else_its_scores(tmp_path):
    deadly = Deadly((SONGS[0].name,))
    with pytest.raises(ValueError, match="1 of 3 tracks could not be scored") as error:
        evaluate(SONGS, deadly, TWO, tmp_path, fast=True, jobs=2)
    assert "A. B. - one: its scoring process died" in str(error.value)
    assert {p.name for p in (tmp_path / "test").iterdir()} == {"C - two.json", "D - three.json"}


def test_a_longer_track_with_more_sources_needs_more_memory():
    song = Extent(2, 240 * 44100, 44100)
    needs = [scoring.gigabytes(song, n) for n in (2, 4)]
    assert 4 < needs[0] < needs[1] < 9, "some 6 GB were measured with four sources"
    assert scoring.gigabytes(song._replace(frames=60 * 44100), 4) < needs[1] / 2
    assert scoring.gigabytes(song, 4, fast=True) < needs[1] / 2


def test_a_track_is_read_once_for_all_systems(tmp_path):
    reads = []

    @dataclass(frozen=True)
    class Counted(Song):
        def mixture_and_groups(self, sources):
            reads.append(self.name)
            return super().mixture_and_groups(sources)

    song = Counted("song")
    systems = {
        "mixture": scoring.System(Mixture(), tmp_path / "mixture", fast=True),
        "oracle": scoring.System(IdealRatioMask(), tmp_path / "oracle", fast=True),
    }
    found = scoring.evaluate([song], systems, TWO, jobs=0, progress=False)
    assert list(found) == ["mixture", "oracle"] and reads == ["song"]
    for name, system in systems.items():
        (alone,) = here([Song("song")], system.estimator, TWO, tmp_path / "alone" / name, fast=True)
        assert str(found[name]) == str([alone])
    systems["oracle"].file(song).unlink()
    systems["mixture"].file(song).write_text('{"not": "touched"}')
    again = scoring.evaluate([song], systems, TWO, jobs=0, progress=False)
    assert again["mixture"] == [{"not": "touched"}] and str(again["oracle"]) == str(found["oracle"])
