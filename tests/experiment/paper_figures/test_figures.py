"""Shared parts of the figures, and the recipe's command that draws them."""

from __future__ import annotations

import importlib.util
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import score_store, scoring
from asteroid_waveunet.experiment.evaluation.estimators import Mixture
from asteroid_waveunet.experiment.paper_figures import common
from asteroid_waveunet.weights import serialization
from helpers.models import tiny
from helpers.paths import RECIPE
from helpers.scores import TWO, Song
from helpers.songs import RATE, write_song

SCRIPT = RECIPE / "figures.py"


def drawn(title="energy"):
    figure = common.new_figure(200)
    figure.subplots().set_title(title)
    return figure


def test_figures_are_reproducible_and_have_a_white_background(tmp_path):
    for name in ("one", "other"):
        common.save(drawn, tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    picture = Image.open(tmp_path / "one.png")
    assert picture.size == (1800, 400) and picture.convert("RGB").getpixel((0, 0)) == (255,) * 3
    assert not {"Software", "Creation Time"} & set(picture.info)


def test_failed_figure_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "one.png"
    common.save(drawn, path)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        common.save(lambda: 1 / 0, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["one.png"]


def test_track_is_loaded_at_the_rate_and_channels_of_the_model():
    model = tiny(sources=TWO, sample_rate=500)
    song = Song("song")
    mixture, sources = common.load_track(song, model)
    assert mixture.shape == (1, 2150) and sources.shape == (2, 1, 2150)
    torch.testing.assert_close(sources.sum(0), mixture, atol=1e-5, rtol=0)


def test_incomplete_sources_are_rejected_on_request():
    model = tiny(sources=("vocals",), in_channels=2)
    assert common.load_track(Song("song"), model)[1].shape[0] == 1
    with pytest.raises(ValueError, match="vocals do not sum to the mixture of song"):
        common.load_track(Song("song"), model, complete=True)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Return a folder of two songs, models of each kind, and scores of the mixture."""
    root = tmp_path_factory.mktemp("figures")
    for name, seconds in {"A - one": 2.5, "B - two": 1.2}.items():
        write_song(root / "data" / "test" / name, seconds=seconds)
    models = {
        "same": dict(context=False),
        "context": dict(context=True, output="difference"),
        "direct": dict(output="direct", upsampling="learned"),
    }
    for name, arguments in models.items():
        model = tiny(sources=TWO, in_channels=2, sample_rate=RATE, levels=3, **arguments)
        serialization.write(model.serialize(), root / name / "best_model.pth")
    mixture = score_store.ScoreStore(Mixture(), root / "scores", fast=True)
    tracks = musdb.tracks(root / "data", "test")
    scoring.score_tracks(tracks, {"mixture": mixture}, TWO, jobs=0, progress=False)
    return root


@pytest.fixture
def recipe(workspace, monkeypatch):
    """Load the recipe's script and change to the workspace."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the script changes it
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.chdir(workspace)
    spec = importlib.util.spec_from_file_location("recipe_figures", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


MODEL = "{}/best_model.pth".format
BORDERS = ["--same", MODEL("same"), "--context", MODEL("context"), "--output_length", "800"]
COMMANDS = {
    "borders": [*BORDERS, "--data", "data"],
    "additivity": ["--direct", MODEL("direct"), "--difference", MODEL("context"), "--data", "data"],
    "outliers": ["--scores", "scores", "--data", "data"],
    "aliasing": ["--model", MODEL("direct")],
}
EXPECTED_ROWS = {
    "borders": "| same padding, segments of 800 | 33 |",
    "additivity": "| direct, mixture consistency | -14",
    "outliers": "| vocals | 3 |",
    "aliasing": "| learned, trained (direct) |",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_draws_each_figure_and_prints_its_table(name, recipe, capsys):
    recipe.main(recipe.parser().parse_args([name, *COMMANDS[name], "--out", "out"]))
    output = capsys.readouterr().out
    assert EXPECTED_ROWS[name] in output and f"out/{name}.png" in output
    pixels = np.asarray(Image.open(f"out/{name}.png").convert("L"))
    assert pixels.shape[1] == 1800 and 0.01 < (pixels < 200).mean() < 0.5


@pytest.mark.parametrize("name", ["borders", "additivity"])
def test_incomparable_models_are_rejected_before_measuring(name, recipe):
    arguments = COMMANDS[name]
    other = tiny(sources=("drums", "vocals"), in_channels=2, context=True)
    serialization.write(other.serialize(), "other.pth")
    for second, says in {
        MODEL("same" if name == "borders" else "direct"): "is a model with .* expected one with",
        "other.pth": "separates accompaniment, vocals, the other drums, vocals; use two models",
    }.items():
        with pytest.raises(ValueError, match=says):
            recipe.main(
                recipe.parser().parse_args([name, *arguments[:3], second, "--data", "none"])
            )


def test_trained_model_is_named_by_its_experiment(recipe, workspace, monkeypatch):
    monkeypatch.chdir(workspace / "direct")
    for path in (MODEL("../direct"), "best_model.pth", "user/direct"):
        assert recipe.tag_of(path) == "direct"


def test_main_exits_with_one_line_for_a_model_of_the_other_kind(recipe, capsys):
    arguments = ["borders", "--same", MODEL("context"), *COMMANDS["borders"][2:], "--out", "none"]
    options = recipe.parser().parse_args(arguments)
    with pytest.raises(SystemExit) as error:
        recipe.exit_on_error(lambda: recipe.main(options))
    assert error.value.code == 1
    assert capsys.readouterr().err == (
        "error: context/best_model.pth is a model with context=True; expected one with False.\n"
    )
