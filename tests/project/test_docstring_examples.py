"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

import asteroid_waveunet

ROOMS: dict[str, list[str]] = defaultdict(list)  # package -> its modules
for _module in pkgutil.walk_packages(asteroid_waveunet.__path__, "asteroid_waveunet."):
    ROOMS[_module.name if _module.ispkg else _module.name.rpartition(".")[0]].append(_module.name)
ROOMS["asteroid_waveunet"].append("asteroid_waveunet")


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_docstring_examples_run_and_write_no_files(room, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ROOMS[room]:
        module = importlib.import_module(name)
        result = doctest.testmod(module, extraglobs={"np": np, "torch": torch, "Path": Path})
        assert result.failed == 0, name
        assert os.listdir(tmp_path) == [], name
