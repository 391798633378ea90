"""torch.hub from a checkout."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
from pathlib import Path

import pytest
import torch
from conftest import assert_same_model

import asteroid_waveunet
from asteroid_waveunet import presets, weights

CHECKOUT = Path(asteroid_waveunet.__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "hubconf.py").exists(), reason="hubconf.py comes with a checkout only"
)


def load(entry, *args, **kwargs):
    return torch.hub.load(str(CHECKOUT), entry, *args, source="local", **kwargs)


@pytest.fixture
def hubconf(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT)
    return importlib.import_module("hubconf")


def entries(hubconf):
    """What torch.hub.list() lists: every callable whose name has no underscore in front."""
    return {name: f for name, f in vars(hubconf).items() if callable(f) and name[0] != "_"}


def test_there_is_one_entry_a_preset_and_the_general_one(hubconf):
    slugs = {name.lower().replace("-", "_") for name in presets.names()}
    assert entries(hubconf).keys() == {"waveunet", *slugs}


def test_entries_build_fresh_models():
    assert load("waveunet", levels=2, sources=("a",), output="direct").sources == ("a",)
    model = load("m5_highsr", levels=2)
    assert (model.sample_rate, model.in_channels) == (44100, 2)


@pytest.mark.parametrize("entry", ["waveunet", "m4"])
def test_entries_load_trained_weights(tmp_path, entry):
    model = presets.make("M4", levels=2, initial_filters=3).eval()
    weights.save(model.serialize(), tmp_path)
    mixture = torch.randn(2, 100)
    assert_same_model(load(entry, str(tmp_path)), model, mixture)


def test_examples_of_the_entries_run(hubconf, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    for name, entry in entries(hubconf).items():
        (example,) = doctest.DocTestFinder().find(entry, name, module=False, globs={})
        assert example.examples
        assert doctest.DocTestRunner().run(example).failed == 0, name


def test_dependencies_are_importable_names(hubconf):
    """torch.hub looks for them by find_spec before it imports hubconf."""
    assert all(importlib.util.find_spec(name) for name in hubconf.dependencies)
