"""Evaluation of estimates and baselines: figures, files, failures."""

import json

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.evaluation import evaluate
from asteroid_waveunet.experiment.evaluation.metrics.windows import window_sdr
from asteroid_waveunet.experiment.evaluation.separator import Separator
from helpers.scores import SONGS, STEMS, TWO

QUARTER = Separator(lambda mixture, rate: dict.fromkeys((*STEMS, "accompaniment"), mixture / 4))


def run(out, targets, estimator=QUARTER, **options):
    return evaluate.evaluate(
        SONGS, estimator, targets, out, title="This on that", fingerprint="m", fast=True, jobs=0,
        progress=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("targets", [TWO, ("vocals",)])
def test_baselines_are_the_mixture_and_a_better_oracle(tmp_path, targets):
    found = run(tmp_path, targets)
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


def test_evaluate_writes_a_table_and_a_summary(tmp_path):
    found = run(tmp_path, STEMS, name="quarter")
    text = (tmp_path / "scores.md").read_text()
    assert text == found.as_text()
    assert text.startswith("This on that: SDR of BSS Eval v4, windows of 1 s, four-source (bass, ")
    assert "| quarter | average |" in text and "| mixture | bass |" in text
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["systems"]) == ["quarter", "mixture", "ideal ratio mask"]
    assert summary["fingerprint"] == "m" and summary["tracks"] == 3
    windows = summary["systems"]["quarter"]["vocals"]["SDR"]["windows"]
    assert windows == 12 and summary["protocol"] == found.protocol


def test_remarks_name_silent_estimates(tmp_path):
    silent = Separator(lambda mixture, rate: {"accompaniment": mixture, "vocals": 0 * mixture})
    found = run(tmp_path, TWO, silent)
    assert len(found.remarks) == 1 and "silent throughout 3 tracks" in found.remarks[0]
    assert abs(found.summaries["model"]["vocals"]["SDR"]["median"]) < 1e-12
    assert f"- {found.remarks[0]}" in found.as_text()


def test_failed_tracks_are_left_out_and_reported(tmp_path):
    def separate(mixture, rate):
        if mixture.equal(SONGS[1].mixture_and_groups(TWO)[0]):
            raise ValueError("too hard")
        return dict.fromkeys(TWO, mixture / 2)

    found = run(tmp_path, TWO, Separator(separate))
    for scores in (found.scores, *found.baselines.values()):
        assert [track["track"] for track in scores] == [SONGS[0].name, SONGS[2].name]
    assert found.remarks == ["not scored: C - two: too hard"]
    assert found.failure_message.startswith("1 of 3 tracks could not be scored")
    assert "- not scored: C - two: too hard" in (tmp_path / "scores.md").read_text()
    assert json.loads((tmp_path / "summary.json").read_text())["failures"] == {
        "C - two": "too hard"
    }
    with pytest.raises(ValueError, match="3 tracks could be scored:\n  A. B. - one: no estimate"):
        run(tmp_path / "none", TWO, Separator(lambda mixture, rate: {}))
