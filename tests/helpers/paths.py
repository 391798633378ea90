"""Paths of the source tree."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
RECIPE = ROOT / "recipes" / "musdb18"

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
