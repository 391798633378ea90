"""The page of an evaluation: its excerpts, and when it is rewritten."""

import dataclasses

import numpy as np

from asteroid_waveunet.experiment.evaluation import evaluate
from asteroid_waveunet.experiment.evaluation.estimators import Mixture
from asteroid_waveunet.experiment.report import evaluation_page, plots
from helpers.scores import SONGS, TWO


def evaluated(out, songs=SONGS):
    return evaluate.evaluate(
        songs, Mixture(), TWO, out, title="This on that", fingerprint="m", fast=True, jobs=0,
        progress=False,
    )  # fmt: skip


def test_page_has_excerpts_of_the_best_median_and_worst_track(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        evaluation_page.report_page, "write", lambda page, folder: written.append(page) or folder
    )
    evaluation = evaluated(tmp_path)
    evaluation_page.write_page(evaluation, SONGS, Mixture(), tmp_path / "page", command="c")
    (page,) = written
    assert page.title == "This on that" and page.protocol == evaluation.protocol
    assert list(page.excerpts) == ["best", "median", "worst"]
    assert {piece.track for piece in page.excerpts.values()} == {song.name for song in SONGS}
    for piece in page.excerpts.values():
        assert set(piece.references) == set(piece.estimates) == set(TWO)
        assert np.array_equal(piece.estimates["vocals"], piece.mixture)
        total = sum(piece.references.values())
        np.testing.assert_allclose(total, piece.mixture, atol=1e-5)


def test_page_is_rewritten_only_for_other_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "save", lambda *_: [])

    def write(evaluation):
        return evaluation_page.write_page(
            evaluation, SONGS[:1], Mixture(), tmp_path / "page", command="c"
        )

    evaluation = evaluated(tmp_path / "scores", SONGS[:1])
    page = write(evaluation)
    written = page.stat().st_mtime_ns
    assert write(evaluated(tmp_path / "scores", SONGS[:1])) == page
    assert page.stat().st_mtime_ns == written
    write(dataclasses.replace(evaluation, title="Other"))
    assert page.stat().st_mtime_ns > written and "<h1>Other" in page.read_text()
