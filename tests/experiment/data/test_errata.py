"""Known faults of songs; what follows from the one that matters for scores."""

from __future__ import annotations

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data import errata, musdb, splits
from asteroid_waveunet.experiment.evaluation import estimators, scoring
from asteroid_waveunet.experiment.evaluation.score_store import System
from helpers.songs import RATE, STEMS, noise


def test_songs_are_known_by_name_and_their_excerpts_too():
    assert errata.notes(["Leaf - Summerghost"]) == []
    assert len(errata.notes([f"{song} 030s" for song in errata.ERRATA])) == len(errata.ERRATA) == 8
    assert errata.ERRATA.keys().isdisjoint(splits.OFFICIAL_VALIDATION), "none of them validates"


@pytest.fixture
def oh_no(tmp_path):
    """A test song whose sources do not sum to the mixture in the left channel."""
    folder = tmp_path / "test" / "PR - Oh No"
    stems = {name: noise(2, 2 * RATE, seed) for seed, name in enumerate(STEMS)}
    mixture = torch.stack([*stems.values()]).sum(0)
    mixture[0] += 5 * noise(1, 2 * RATE, 99)[0]
    for name, samples in {**stems, "mixture": mixture}.items():
        audio_io.write(folder / f"{name}.wav", samples, RATE, "FLOAT")
    return musdb.tracks(tmp_path)[0], mixture, stems


def test_the_mixture_is_the_one_released_and_the_references_are_the_stems(oh_no):
    track, mixture, stems = oh_no
    given, groups, _ = track.mixture_and_groups(["vocals"])
    torch.testing.assert_close(given, mixture)
    torch.testing.assert_close(groups["vocals"], stems["vocals"])
    surplus = given - sum(groups.values())
    assert surplus[0].abs().max() > 0.1 and surplus[1].abs().max() < 1e-6


def test_scores_are_of_what_is_separated_from_that_mixture(oh_no, tmp_path):
    """An estimate that is the true source is perfect, though the rest is not."""
    track, mixture, stems = oh_no
    seen = []

    def separate(given, rate):
        seen.append(given)
        return {"vocals": stems["vocals"] + 0.01 * noise(2, 2 * RATE, 7)}

    system = System(estimators.Separator(separate), tmp_path / "scores", fast=True)
    found = scoring.evaluate([track], {"it": system}, ["vocals"], fingerprint="f", progress=False)
    torch.testing.assert_close(seen[0], mixture)
    (scores,) = found.scores["it"]
    sdr = [
        w["metrics"]["SDR"] for t in scores["targets"] if t["name"] == "vocals" for w in t["frames"]
    ]
    assert min(sdr) > 35
