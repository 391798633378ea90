"""The page of an evaluation: its excerpts, and when it is rewritten."""

import dataclasses

import numpy as np

from asteroid_waveunet.experiment.evaluation import evaluate
from asteroid_waveunet.experiment.evaluation.estimators import Mixture
from asteroid_waveunet.experiment.report import evaluation_page
from helpers.scores import SONGS, TWO


def assess(out, targets, estimator):
    return evaluate.evaluate(
        SONGS, estimator, targets, out, title="This on that", fingerprint="m", fast=True, jobs=0,
        progress=False,
    )  # fmt: skip


def test_page_has_excerpts_of_the_best_median_and_worst_track(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        evaluation_page.report_page, "write", lambda page, folder: written.append(page) or folder
    )
    estimator = Mixture()
    found = assess(tmp_path, TWO, estimator)
    evaluation_page.write_page(found, SONGS, estimator, tmp_path / "page", command="c")
    (page,) = written
    assert page.title == "This on that" and page.protocol == found.protocol
    assert list(page.excerpts) == ["best", "median", "worst"]
    assert {piece.track for piece in page.excerpts.values()} == {song.name for song in SONGS}
    for piece in page.excerpts.values():
        assert set(piece.references) == set(piece.estimates) == set(TWO)
        assert np.array_equal(piece.estimates["vocals"], piece.mixture)
        total = sum(piece.references.values())
        np.testing.assert_allclose(total, piece.mixture, atol=1e-5)


def test_page_is_rewritten_only_for_other_scores(tmp_path, monkeypatch):
    plots = evaluation_page.report_page.plots
    monkeypatch.setattr(plots, "THEMES", {"light": plots.THEMES["light"]})
    monkeypatch.setattr(plots, "WIDTHS", {"wide": plots.WIDTHS["wide"]})

    def page_of(found):
        return evaluation_page.write_page(found, SONGS, Mixture(), tmp_path / "page", command="c")

    found = assess(tmp_path / "scores", TWO, Mixture())
    page = page_of(found)
    written = page.stat().st_mtime_ns
    assert page_of(assess(tmp_path / "scores", TWO, Mixture())) == page
    assert page.stat().st_mtime_ns == written
    page_of(dataclasses.replace(found, title="Other"))
    assert page.stat().st_mtime_ns > written and "<h1>Other" in page.read_text()
