"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch

import asteroid_waveunet

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(asteroid_waveunet.__path__, "asteroid_waveunet.")
)


@pytest.mark.parametrize("name", ["asteroid_waveunet", *MODULES])
def test_examples_in_docstrings_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np, "torch": torch, "Path": Path})
    assert result.failed == 0
    assert os.listdir(tmp_path) == []
