"""The benchmark at its smallest: every part runs, and results keep their places."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from importlib import metadata

import pytest
import torch

from helpers.paths import ROOT
from helpers.songs import write_song

BENCH = ROOT / "bench"
SMALLEST = {"--threads": 1, "--repeats": 0, "--seconds": 0.2, "--minutes": 0.01, "--album": 0.01}
PARTS = ("speed", "rounding", "share", "memory", "album")


def results_of(script, folder, options) -> str:
    """What a benchmark writes over older results and somebody's notes."""
    output = folder / "RESULTS.md"
    output.write_text(
        "notes\n<!-- begin speed cpu -->\nstale figures\n<!-- end speed cpu -->\nmore\n"
    )
    command = [sys.executable, BENCH / script, "--output", output, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return output.read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    write_song(folder / "music" / "test" / "song")
    options = {**SMALLEST, "--music": folder / "music"}
    return results_of("separate.py", folder, [*sum(options.items(), ()), "--only", *PARTS])


def test_scoring_is_measured(tmp_path):
    write_song(tmp_path / "music" / "test" / "song", stems=("bass", "vocals"))
    smallest = {"--threads": 1, "--repeats": 0, "--lengths": 1, "--targets": 2}
    options = {**smallest, "--music": tmp_path / "music"}
    text = results_of("evaluate.py", tmp_path, sum(options.items(), ()))
    assert "## Tracks per minute" in text and "| `--fast`, 2 processes |" in text
    assert "windows without a score are the same (0 of 1)" in text
    assert "| museval | 2 | 1 |" in text


def test_loading_is_measured(tmp_path):
    write_song(tmp_path / "music" / "train" / "song", seconds=4)
    smallest = {"--threads": 1, "--repeats": 0, "--segments": 4, "--batch_size": 2}
    options = {**smallest, "--music": tmp_path / "music", "--only": "loader"}
    text = results_of("train.py", tmp_path, sum(options.items(), ()))
    assert "## Segments per second from the store" in text and "1 songs of a folder" in text
    assert "| `Segments`, 2 workers |" in text and "| 1 |" in text


def test_long_filters_are_measured(tmp_path):
    options = ["--threads", "1", "--repeats", "0", "--only", "filters", "--filters", "1"]
    text = results_of("train.py", tmp_path, options)
    (row,) = [line for line in text.splitlines() if line.startswith("| 1 |")]
    *_, one, other, _ = row.split("|")
    assert float(one) == pytest.approx(float(other), abs=2e-6), "the same network both ways"


def test_training_is_measured(tmp_path):
    write_song(tmp_path / "music" / "train" / "song", seconds=4)
    smallest = {"--threads": 1, "--repeats": 0, "--batch_size": 1, "--steps": 1, "--warm_up": 0}
    options = {**smallest, "--music": tmp_path / "music", "--workers": 0}
    text = results_of("train.py", tmp_path, [*sum(options.items(), ()), "--only", "step", "whole"])
    assert "| full convolutions, float32 |" in text and "| ours, bfloat16 |" in text
    assert "| ours, float32, `store: gpu` |" in text and "mixed anew; 1 steps" in text


@pytest.mark.parametrize(
    "what",
    [
        "| M5-HighSR | 44100 | `Stream`, bfloat16 |",
        "| M4, random weights | vocals |",
        "| float32 | product, 4096 |",
        "150 k per sample, nominal",
        "| 0.01 min |",
        "| growth | 0 | 0 |",
        "## An album",
        f"torch {metadata.version('torch')}",
    ],
)
def test_every_part_has_its_section(page, what):
    assert what in page


def test_a_section_takes_the_place_of_the_one_before(page):
    assert page.startswith("notes\n<!-- begin speed cpu -->\n")
    assert "stale figures" not in page and page.count("## Speed beside the reference") == 1
    assert page.index("<!-- end speed cpu -->\nmore\n") < page.index("begin rounding cpu")


def test_separators_that_are_not_installed_are_left_out(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    separate = importlib.import_module("separate")
    clip = torch.zeros(2, 1000)
    assert callable(separate.OTHERS["Asteroid's Conv-TasNet"][1](clip))
    absent = {"Absent": ("its-wheel", lambda clip: importlib.import_module("absent_separator"))}
    monkeypatch.setattr(separate, "OTHERS", absent)
    text = separate.others(argparse.Namespace(seconds=0.2, repeats=0, device="cpu"))
    assert "| Absent | not installed: `pip install its-wheel` |" in text
    assert "| M5-HighSR, float32 |" in text
