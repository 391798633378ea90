"""Fixtures of all tests: a fixed seed, a small data set, real music where there is some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from helpers.songs import write_song

# The files that take longest are started first: a worker that began one late would be the last.
LONGEST = (
    "project/test_recipe.py",
    "project/test_bench.py",
    "catalogue/test_cluster.py",
    "experiment/web/test_page.py",
    "experiment/training/callbacks/test_checkpointing.py",
    "project/test_readme.py",
    "cli/test_cli.py",
    "docs/test_notebooks.py",
    "experiment/training/test_fit.py",
    "experiment/report/test_page.py",
    "test_asteroid.py",
    "experiment/evaluation/test_worker_pool.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.fixture
def real_music() -> Path:
    """A folder of real music in MUSDB18's layout, named by WAVEUNET_TEST_MUSIC."""
    folder = os.environ.get("WAVEUNET_TEST_MUSIC")
    if not folder:
        pytest.skip("WAVEUNET_TEST_MUSIC names no folder of real music in MUSDB18's layout")
    return Path(folder)


@pytest.fixture
def data(tmp_path) -> Path:
    """Three songs to train on, of 1, 2 and 0.5 s, and one to test."""
    root = tmp_path / "data"
    for name, seconds in {"B - two": 2.0, "A - one": 1.0, "M.E.R.C. - Half 1.5": 0.5}.items():
        write_song(root / "train" / name, seconds=seconds, mixture=name != "A - one")
    write_song(root / "test" / "T - test")
    return root
