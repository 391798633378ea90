"""Paths of the source tree."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
RECIPE = ROOT / "recipes" / "musdb18"
