"""The benchmarks at their smallest sizes: every part runs, and results keep their places."""

from __future__ import annotations

import argparse
import functools
import importlib
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
import torch

from asteroid_waveunet import presets
from helpers.browser import skip_or_fail
from helpers.models import tiny
from helpers.paths import ROOT
from helpers.recipe import run_python
from helpers.scores import score_in_this_process
from helpers.songs import write_song

MODULES = (
    "cluster",
    "evaluate",
    "filters",
    "loading",
    "measure",
    "others",
    "phases",
    "precision",
    "processes",
    "separate",
    "stage3",
    "train",
    "web",
)


def small(make, name, **arguments):
    """Make a preset with few levels."""
    return make(name, **{"levels": 3, **arguments})


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Return a function that runs a benchmark in this process and returns its results page."""
    folder = tmp_path_factory.mktemp("bench")
    write_song(folder / "music" / "test" / "song", stems=("accompaniment", "vocals"))
    write_song(folder / "music" / "train" / "song", seconds=4)
    threads, flags = torch.get_num_threads(), torch.backends.cudnn.flags()
    with pytest.MonkeyPatch.context() as patch, flags:
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        patch.syspath_prepend(ROOT / "bench")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(subprocess, "run", run_python)
        patch.setattr(presets, "make", functools.partial(small, presets.make))

        def run(name: str, **options: object) -> str:
            output = folder / f"{name}.md"
            output.write_text(
                "notes\n<!-- begin speed cpu -->\nstale figures\n<!-- end speed cpu -->\nmore\n"
            )
            module = importlib.import_module(name)
            options |= {"threads": 1, "repeats": 0, "music": folder / "music", "output": output}
            words = " ".join(f"--{option} {value}" for option, value in options.items()).split()
            patch.setattr(sys, "argv", [f"{name}.py", *words])
            module.main(*([module.arguments()] if name == "separate" else []))
            return output.read_text()

        yield run
        for name in MODULES:
            sys.modules.pop(name, None)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def separation(bench):
    parts = "speed padding rounding share memory album"
    return bench("separate", seconds=0.2, minutes=0.01, album=0.01, only=parts)


def test_scoring_is_measured(bench, monkeypatch):
    score_in_this_process(monkeypatch)
    parts = "scoring metrics tracks scoring_memory"
    text = bench("evaluate", lengths=1, targets=2, only=parts, **{"track-lengths": 1})
    assert "## Tracks per minute" in text and "| bss_eval, 2 processes |" in text
    (row,) = [
        line for line in text.splitlines() if line.startswith("| bss_eval |") and "yes" in line
    ]
    differences = row.split("|")[4].split(",")
    assert len(differences) == 4 and all(float(each) < 1e-6 for each in differences)
    assert "| museval | 1 |" in text  # of `tracks`
    assert "| museval | 2 | 1 |" in text  # of `memory`


def test_manifests_are_measured(bench):
    text = bench("cluster", only="manifest", rows=40)
    rows = [line.split("|")[1:] for line in text.splitlines() if "| all songs |" in line]
    assert [row[0].strip() for row in rows] == ["jsonl", "parquet"]
    assert all(0 <= float(row[2]) <= float(row[4]) for row in rows)


def test_steps_of_stage_3_are_measured(bench, monkeypatch, tmp_path):
    from asteroid_waveunet.experiment.report import plots, spectrogram_images

    monkeypatch.setattr(plots, "WIDTHS", {"wide": 960})
    monkeypatch.setattr(spectrogram_images, "IMAGE_SIZE", (100, 20, 40))
    stage3, evaluate = map(importlib.import_module, ("stage3", "evaluate"))
    write_song(tmp_path / "test" / "song", stems=("accompaniment", "vocals"))
    before = stage3.processor_seconds()
    steps = stage3.evaluate(str(tmp_path), "bss_eval", "2")
    assert sum(steps.values()) == pytest.approx(stage3.processor_seconds() - before, abs=0.1)
    within = ("decode", "separate", "all metrics", "oracle", "baselines", "plots", "images")
    for step in within:
        (seconds,) = [steps[name] for name in steps if step in name]
        assert seconds > 0, step
    table = evaluate.steps_table(steps, steps)
    assert "100% |" in table and all(name in table for name in steps)


def test_precisions_are_compared_on_the_same_training(bench, monkeypatch, tmp_path):
    train, precision = map(importlib.import_module, ("train", "precision"))
    conf = tmp_path / "tiny.yml"
    conf.write_text(
        "model: {levels: 2, initial_filters: 2, filter_growth: 1, sample_rate: 8000, "
        "in_channels: 2}\n"
        "training: {batch_size: 1, segment_length: 1000, num_workers: 0, fine_tuning: false}\n"
    )
    monkeypatch.setattr(precision, "RECIPE", conf)
    for song in ("a", "b"):
        write_song(tmp_path / "train" / song)
    words = f"train.py --music {tmp_path} --curve-steps 2 --seeds 1 --repeats 1"
    monkeypatch.setattr(sys, "argv", words.split())
    options = train.arguments()
    options.output = tmp_path / "results" / "R.md"
    text = precision.curves(options)
    (row,) = [line for line in text.splitlines() if line.startswith("| 1 |")]
    exact, rounded = map(float, row.split("|")[2:4])
    assert exact == pytest.approx(rounded, rel=0.05) and 0 < exact < 1
    assert (tmp_path / "results" / "precision.png").read_bytes().startswith(b"\x89PNG")


def test_training_is_measured(bench, monkeypatch):
    loading, train, filters = map(importlib.import_module, ("loading", "train", "filters"))
    monkeypatch.setattr(filters, "LENGTH", 4889)
    first = next(iter(loading.WAYS))
    ways = {name: loading.WAYS[name] for name in (first, "`Segments`, 2 workers")}
    monkeypatch.setattr(loading, "WAYS", ways)  # each is measured in a new process
    two = ("full convolutions, float32", "ours, bfloat16")
    monkeypatch.setattr(train, "WAYS", {name: train.WAYS[name] for name in two})
    sizes = dict(segments=4, batch_size=1, steps=1, warm_up=0, workers=0, filters=1, levels=3)
    text = bench("train", only="loader filters step whole", **sizes)
    assert "## Segments per second from the store" in text and "1 songs of a folder" in text
    assert "| `Segments`, 2 workers |" in text
    assert "| full convolutions, float32 |" in text and "| ours, bfloat16 |" in text
    assert "| ours, float32, `store: gpu` |" in text and "mixed anew; 1 steps" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| 1 |")]
    *_, direct, by_fft, _ = row.split("|")
    assert float(direct) == pytest.approx(float(by_fft), abs=2e-6), "losses of the same network"


def test_separation_measures_every_part(bench, separation):
    for expected in (
        "| M5-HighSR | 44100 | `Stream`, bfloat16 |",
        "| float32 | learned |",
        "| M4, random weights | vocals |",
        "| float32 | product, 4096 |",
        "k per sample, nominal",
        "| 0.01 min |",
        "| growth | 0 | 0 |",
        "## Duration of separating an album",
        f"torch {metadata.version('torch')}",
    ):
        assert expected in separation
    whole = presets.make("M4", levels=12)  # the table has small ones, see `small`
    assert f"{importlib.import_module('separate').nominal(whole) / 1e3:.0f} k" == "150 k"


def test_command_is_measured_from_start_to_exit(bench, monkeypatch):
    processes = importlib.import_module("processes")
    monkeypatch.setattr(processes, "COMMAND_PRESETS", ("M4",))
    monkeypatch.setattr(processes, "FORMATS", ("flac",))
    text = bench("separate", **{"song-seconds": 0.5, "levels": 3}, only="command policy")
    (row,) = [line for line in text.splitlines() if line.startswith("| M4 | flac |")]
    *parts, total = map(float, row.split("|")[3:12])
    assert sum(parts) == pytest.approx(total, abs=0.1) and parts[4] > 0
    assert "| separating 10 s |" in text


def test_section_replaces_the_earlier_one(separation):
    assert separation.startswith("notes\n<!-- begin speed cpu -->\n")
    assert "stale figures" not in separation
    assert separation.count("## Speed compared with the reference") == 1
    end = separation.index("<!-- end speed cpu -->\nmore\n")
    assert end < separation.index("begin rounding cpu")


def test_missing_separators_are_left_out(bench, monkeypatch):
    separate = importlib.import_module("separate")
    clip = torch.zeros(2, 1000)
    assert callable(separate.OTHERS["Asteroid's Conv-TasNet"][1](clip))
    absent = {"Absent": ("its-wheel", lambda clip: importlib.import_module("absent_separator"))}
    monkeypatch.setattr(separate, "OTHERS", absent)
    text = separate.others(argparse.Namespace(seconds=0.2, repeats=0, device="cpu"))
    assert "| Absent | not installed: `pip install its-wheel` |" in text
    assert "| M5-HighSR, float32 |" in text


def test_page_is_measured(bench, monkeypatch):
    if shutil.which("chromium") is None or not (ROOT / "tools/web/node_modules").is_dir():
        skip_or_fail("needs chromium, and onnxruntime-web: bash tools/check_js.sh")
    web = importlib.import_module("web")
    monkeypatch.setattr(web, "MODELS", {"free": lambda: tiny(in_channels=2, sample_rate=22050)})
    monkeypatch.setattr(web, "THREADS", (1,))
    text = bench("web", seconds=1, minutes=0.02)
    for way in (
        "page | 1 | 22050",
        "page | 1 | 44100",
        "ONNX Runtime | 1",
        "PyTorch, `Stream` | 1",
    ):
        assert f"| free | {way}" in text
    for song in ("wav", "mp3"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| 0.02 min, {song} |")]
        page, other, peak, other_peak = map(float, row.split("|")[2:6])
        assert 10 < page <= peak and 10 < other <= other_peak
