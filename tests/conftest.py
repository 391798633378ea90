"""Fixtures of all tests: a fixed seed, a small data set, real music where there is some."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import torch

from helpers.paths import LONGEST, TESTS
from helpers.songs import write_song

# Nothing depends on how fast a machine is.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def same_path(monkeypatch):
    """Undo what `find_ffmpeg` adds to PATH, so that tests find the same programs in any order."""
    monkeypatch.setenv("PATH", os.environ["PATH"])


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
