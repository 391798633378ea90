"""What figures share, and the recipe's command that draws them, from end to end."""

from __future__ import annotations

import importlib.util
import os
import subprocess
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
    figure = common.sheet(200)
    figure.subplots().set_title(title)
    return figure


def test_the_same_figure_is_the_same_file_on_a_white_ground(tmp_path):
    for name in ("one", "other"):
        common.save(drawn, tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    picture = Image.open(tmp_path / "one.png")
    assert picture.size == (1800, 400) and picture.convert("RGB").getpixel((0, 0)) == (255,) * 3
    assert not {"Software", "Creation Time"} & set(picture.info)


def test_a_figure_that_cannot_be_drawn_leaves_the_one_before(tmp_path):
    path = tmp_path / "one.png"
    common.save(drawn, path)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        common.save(lambda: 1 / 0, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["one.png"]


def test_a_track_is_heard_at_the_models_rate_and_channels():
    model = tiny(sources=TWO, sample_rate=500)
    song = Song("song")
    mixture, sources = common.heard(song, model)
    assert mixture.shape == (1, 2150) and sources.shape == (2, 1, 2150)
    torch.testing.assert_close(sources.sum(0), mixture, atol=1e-5, rtol=0)


def test_sources_that_leave_music_out_are_refused_where_that_matters():
    model = tiny(sources=("vocals",), in_channels=2)
    assert common.heard(Song("song"), model)[1].shape[0] == 1
    with pytest.raises(ValueError, match="vocals leave out a part of song"):
        common.heard(Song("song"), model, complete=True)


# --- the command -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """Two songs, models of each kind, and scores of the mixture as it is."""
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
def recipe(laid_out, monkeypatch):
    """The recipe's script, in the folder of what it is to draw."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which it changes
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.chdir(laid_out)
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
SAID = {
    "borders": "| same padding, segments of 800 | 33 |",
    "additivity": "| direct, mixture consistency | -14",
    "outliers": "| vocals | 3 |",
    "aliasing": "| learned, trained (direct) |",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_figure_is_drawn_and_its_table_printed(name, recipe, capsys):
    recipe.main(recipe.parser().parse_args([name, *COMMANDS[name], "--out", "out"]))
    said = capsys.readouterr().out
    assert SAID[name] in said and f"out/{name}.png" in said
    pixels = np.asarray(Image.open(f"out/{name}.png").convert("L"))
    assert pixels.shape[1] == 1800 and 0.01 < (pixels < 200).mean() < 0.5


@pytest.mark.parametrize("name", ["borders", "additivity"])
def test_models_that_cannot_be_compared_are_refused_before_anything_is_measured(name, recipe):
    arguments = COMMANDS[name]
    other = tiny(sources=("drums", "vocals"), in_channels=2, context=True)
    serialization.write(other.serialize(), "other.pth")
    for second, says in {
        MODEL("same" if name == "borders" else "direct"): "is a model with .* expected one with",
        "other.pth": "separates accompaniment, vocals, the other drums, vocals; name two of the",
    }.items():
        with pytest.raises(ValueError, match=says):
            recipe.main(
                recipe.parser().parse_args([name, *arguments[:3], second, "--data", "none"])
            )


def test_a_trained_model_is_called_by_its_experiment(recipe, laid_out, monkeypatch):
    monkeypatch.chdir(laid_out / "direct")
    for path in (MODEL("../direct"), "best_model.pth", "user/direct"):
        assert recipe.tag_of(path) == "direct"


def test_a_model_of_the_other_kind_is_refused_in_one_line(laid_out):
    arguments = ["borders", "--same", MODEL("context"), *COMMANDS["borders"][2:], "--out", "none"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        cwd=laid_out,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: context/best_model.pth is a model with context=True; expected one with False.\n"
    )
