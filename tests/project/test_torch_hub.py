"""Tests of hubconf.py, loaded by torch.hub from a checkout."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import os
import subprocess
import sys
import venv
from importlib import metadata

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from asteroid_waveunet import presets
from asteroid_waveunet.experiment.architectures import ARCHITECTURES
from asteroid_waveunet.weights import serialization
from helpers.models import assert_same_model
from helpers.paths import ROOT

pytestmark = pytest.mark.skipif(
    not (ROOT / "hubconf.py").exists(), reason="hubconf.py comes with a checkout only"
)


def load(entry, *args, **kwargs):
    return torch.hub.load(str(ROOT), entry, *args, source="local", **kwargs)


@pytest.fixture
def hubconf(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("hubconf")


def entries(hubconf):
    """Return what torch.hub.list() lists: public callables."""
    return {name: f for name, f in vars(hubconf).items() if callable(f) and name[0] != "_"}


def test_each_preset_and_architecture_has_an_entry_point(hubconf):
    slugs = {name.lower().replace("-", "_") for name in presets.names()}
    assert entries(hubconf).keys() == {*map(str.lower, ARCHITECTURES), *slugs}


def test_entry_points_build_untrained_models():
    assert load("waveunet", levels=2, sources=("a",), output="direct").sources == ("a",)
    model = load("m5_highsr", levels=2)
    assert (model.sample_rate, model.in_channels) == (44100, 2)


def test_entry_points_load_trained_weights(tmp_path):
    model = presets.make("M4", levels=2, initial_filters=3).eval()
    serialization.save(model.serialize(), tmp_path)
    mixture = torch.randn(2, 100)
    for entry in ("waveunet", "m4"):
        assert_same_model(load(entry, str(tmp_path)), model, mixture)


LOADING = """
import sys
class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[3:]:
            raise ModuleNotFoundError(f"No module named {name!r}: hidden", name=name)

sys.meta_path.insert(0, Hiding())
import torch
model = torch.hub.load(sys.argv[1], "waveunet", sys.argv[2], source="local")
print(*model(torch.zeros(2, 50)).shape)
"""

# Required by Asteroid but not for loading.
OPTIONAL = {"pytorch_lightning", "torchaudio", "torch_stoi"}


def modules_of(distributions: list[str]) -> set[str]:
    """Return the importable modules of distributions and their requirements."""
    names, todo = set(), list(distributions)
    while todo:
        name = canonicalize_name(todo.pop())
        if name in names:
            continue
        names.add(name)
        with contextlib.suppress(metadata.PackageNotFoundError):
            for line in metadata.requires(name) or ():
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                    todo.append(requirement.name)
    owners = metadata.packages_distributions().items()
    return {module for module, of in owners if names & set(map(canonicalize_name, of))}


def test_loading_needs_only_the_listed_dependencies(hubconf, tmp_path):
    """All packages are hidden except the listed ones and those they require."""
    model = presets.make("M4", levels=2, initial_filters=3).eval()
    serialization.save(model.serialize(), tmp_path)
    hidden = set(metadata.packages_distributions()) - modules_of(hubconf.dependencies) | OPTIONAL
    hidden -= {"asteroid_waveunet"}
    assert {"musdb", "museval", "av", "tensorboard", "pytest"} <= hidden
    command = [sys.executable, "-W", "ignore", "-c", LOADING, str(ROOT), str(tmp_path)]
    result = subprocess.run([*command, *hidden], capture_output=True, text=True, check=False)
    assert result.stdout == "2 2 50\n", result.stderr


@pytest.mark.skipif(
    "WAVEUNET_TEST_CLEAN" not in os.environ, reason="WAVEUNET_TEST_CLEAN=1 makes an environment"
)
@pytest.mark.timeout(1800)
def test_listed_dependencies_suffice_in_a_clean_environment(hubconf, tmp_path):
    """Install only what hubconf lists, which torch.hub requires of its users."""
    model = presets.make("M4", levels=2, initial_filters=3).eval()
    serialization.save(model.serialize(), tmp_path / "model")
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*install, "torch", "setuptools<82", "wheel"], check=True)
    subprocess.run([*install, *hubconf.dependencies], check=True)
    code = (
        "import sys, torch\n"
        "model = torch.hub.load(sys.argv[1], 'm4', sys.argv[2], source='local')\n"
        "print(*model(torch.zeros(2, 50)).shape)\n"
    )
    command = [python, "-W", "ignore", "-c", code, str(ROOT), str(tmp_path / "model")]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
    )
    assert result.stdout == "2 2 50\n", result.stderr


def test_examples_of_the_entry_points_run(hubconf, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name, entry in entries(hubconf).items():
        (example,) = doctest.DocTestFinder().find(entry, name, module=False, globs={})
        assert example.examples
        assert doctest.DocTestRunner().run(example).failed == 0, name


def test_dependencies_are_importable_names(hubconf):
    """torch.hub looks them up with find_spec before it imports hubconf."""
    assert all(importlib.util.find_spec(name) for name in hubconf.dependencies)
