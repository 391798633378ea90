"""tools/try_versions.py asks pip for the right versions; docs/versions.md states the bounds."""

from __future__ import annotations

import re

import pytest

import try_versions as versions


def test_oldest_newest_and_single_packages():
    assert versions.pip_arguments(["torch==2.13.0"]) == {"torch": "torch==2.13.0"}
    oldest = versions.pip_arguments(["oldest", "torch==2.13.0"])
    assert oldest["torch"] == "torch==2.13.0"
    for name in versions.PACKAGES[1:]:
        least = versions.bounds(name).split(",")[0].removeprefix(">=")
        assert oldest[name] == f"{name}=={least}"
    assert versions.pip_arguments(["newest"])["huggingface_hub"].startswith("huggingface_hub>=")
    with pytest.raises(SystemExit, match="numpy: expected oldest, newest or torch"):
        versions.pip_arguments(["numpy==2"])


def test_tests_to_run_exist():
    assert all((versions.ROOT / path).exists() for path in versions.TESTS)


def test_versions_page_matches_the_bounds():
    page = (versions.ROOT / "docs" / "versions.md").read_text()
    rows = {
        cells[0]: cells[1:]
        for line in page.splitlines()
        if len(cells := re.findall(r"[^|]+(?=\|)", line.replace(" ", ""))) == 4
    }
    for name in versions.PACKAGES:
        allowed, oldest, newest = rows[name]
        assert allowed == versions.bounds(name)
        assert re.match(r"\d+\.\d+\.\d+", oldest) and re.match(r"\d+\.\d+\.\d+", newest)
