"""Known faults of songs, and the scores of the one that they affect."""

from __future__ import annotations

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data import errata, musdb, splits
from asteroid_waveunet.experiment.evaluation import scoring, separator
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore
from helpers.songs import RATE, STEMS, noise


def test_songs_and_their_excerpts_have_notes():
    assert errata.notes(["Leaf - Summerghost"]) == []
    assert len(errata.notes([f"{song} 030s" for song in errata.ERRATA])) == len(errata.ERRATA) == 8
    assert errata.ERRATA.keys().isdisjoint(splits.OFFICIAL_VALIDATION)


@pytest.fixture
def oh_no(tmp_path):
    """Write a test song whose sources do not sum to the mixture in the left channel."""
    folder = tmp_path / "test" / "PR - Oh No"
    stems = {name: noise(2, 2 * RATE, seed) for seed, name in enumerate(STEMS)}
    mixture = torch.stack([*stems.values()]).sum(0)
    mixture[0] += 5 * noise(1, 2 * RATE, 99)[0]
    for name, samples in {**stems, "mixture": mixture}.items():
        audio_io.write(folder / f"{name}.wav", samples, RATE, "FLOAT")
    return musdb.tracks(tmp_path)[0], mixture, stems


def test_released_mixture_and_stems_are_used(oh_no):
    track, mixture, stems = oh_no
    given, groups, _ = track.mixture_and_groups(["vocals"])
    torch.testing.assert_close(given, mixture)
    torch.testing.assert_close(groups["vocals"], stems["vocals"])
    surplus = given - sum(groups.values())
    assert surplus[0].abs().max() > 0.1 and surplus[1].abs().max() < 1e-6


def test_scores_compare_estimates_with_the_released_stems(oh_no, tmp_path):
    """An estimate close to the source scores well although the rest does not sum up."""
    track, mixture, stems = oh_no
    seen = []

    def separate(given, rate):
        seen.append(given)
        return {"vocals": stems["vocals"] + 0.01 * noise(2, 2 * RATE, 7)}

    system = ScoreStore(separator.Separator(separate), tmp_path / "scores", fast=True)
    found = scoring.score_tracks([track], {"it": system}, ["vocals"], jobs=0, progress=False)
    torch.testing.assert_close(seen[0], mixture)
    (scores,) = found.scores["it"]
    sdr = [
        w["metrics"]["SDR"] for t in scores["targets"] if t["name"] == "vocals" for w in t["frames"]
    ]
    assert min(sdr) > 35
