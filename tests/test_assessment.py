"""A system beside its baselines: the figures, the files, what the page is made of."""

import json

import numpy as np
import pytest
import torch
from scores import SONGS, STEMS, TWO

from asteroid_waveunet.experiment import assessment
from asteroid_waveunet.experiment.estimates import Mixture, Separator
from asteroid_waveunet.experiment.evaluation import window_sdr

QUARTER = Separator(lambda mixture, rate: dict.fromkeys((*STEMS, "accompaniment"), mixture / 4))


def assess(out, targets, estimator=QUARTER, **how):
    return assessment.assess(
        SONGS, estimator, targets, out, fingerprint="m", fast=True, jobs=0, progress=False, **how
    )


@pytest.mark.parametrize("targets", [TWO, ("vocals",), STEMS])
def test_the_mixture_has_its_own_sdr_and_the_oracle_a_better_one(tmp_path, targets):
    found = assess(tmp_path, targets)
    mixture, oracle = (found.summaries[name] for name in ("mixture", "ideal ratio mask"))
    per_song = []
    for song in SONGS:
        whole, groups, rate = song.mixture_and_groups(targets)
        references = torch.stack([*groups.values()])
        per_song.append(window_sdr(references, whole.expand_as(references), rate))
    for i, source in enumerate(targets):
        expected = np.median(np.concatenate([sdr[i] for sdr in per_song]))
        assert abs(mixture[source]["SDR"]["median"] - expected) < 1e-9
        assert oracle[source]["SDR"]["median"] > expected + 1
        assert mixture[source]["SDR"]["windows"] == 12
    assert set(mixture) == set(oracle) == set(targets)


def test_a_quarter_of_the_mixture_in_files_and_words(tmp_path):
    found = assess(tmp_path, STEMS, name="quarter")
    text = (tmp_path / "scores.md").read_text()
    assert text == found.as_text()
    assert text.startswith("SDR of BSS Eval v4, windows of 1 s, four-source (bass, drums, other")
    assert "| quarter | average |" in text and "| mixture | bass |" in text
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["systems"]) == ["quarter", "mixture", "ideal ratio mask"]
    assert summary["fingerprint"] == "m" and summary["tracks"] == 3
    windows = summary["systems"]["quarter"]["vocals"]["SDR"]["windows"]
    assert windows == 12 and summary["protocol"] == found.protocol


def test_what_a_reader_should_know_is_said(tmp_path):
    silent = Separator(lambda mixture, rate: {"accompaniment": mixture, "vocals": 0 * mixture})
    found = assess(tmp_path, TWO, silent)
    assert found.remarks == ["in 12 windows the estimate of vocals is silent"]
    assert found.summaries["model"]["vocals"]["SDR"]["median"] == 0
    assert "- in 12 windows the estimate of vocals is silent" in found.as_text()


def test_the_page_shows_the_best_the_median_and_the_worst_song(tmp_path):
    estimator = Mixture()
    found = assess(tmp_path, TWO, estimator)
    pieces = assessment.excerpts(found, SONGS, estimator)
    page = assessment.report(found, excerpts=pieces, title="t", command="c")
    assert list(page.excerpts) == ["best", "median", "worst"]
    assert {piece.track for piece in page.excerpts.values()} == {song.name for song in SONGS}
    for piece in page.excerpts.values():
        assert set(piece.references) == set(piece.estimates) == set(TWO)
        assert np.array_equal(piece.estimates["vocals"], piece.mixture)
        total = sum(piece.references.values())
        np.testing.assert_allclose(total, piece.mixture, atol=1e-5)
