"""The comparison as people run it: small systems, one that fails, one asked to end."""

from __future__ import annotations

import dataclasses
import importlib
import io
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.config import load, parse_overrides
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.report import benchmark_table
from asteroid_waveunet.weights import serialization
from helpers import trained
from helpers.paths import RECIPE

SETTINGS = {
    "demo_train_songs": 2, "demo_test_songs": 1, "demo_seconds": 3, "demo_sample_rate": 8000,
    "valid": 0.5, "levels": 3, "initial_filters": 4, "segment_length": 2048, "max_epochs": 1,
    "jobs": 1,
}  # fmt: skip
MINUTES = 0.06

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the recipe is a bash script")


def start(storage, systems, *arguments):
    command = ["bash", str(RECIPE / "compare.sh"), "--storage", str(storage), "--systems", systems]
    command += ["--python_path", sys.executable, f"--minutes={MINUTES}"]
    command += [f"--{name}={value}" for name, value in SETTINGS.items()]
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rows_of(folder, *arguments):
    """The rows "name configuration options" of compare.sh, as its plan gets them."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\ncat > "{folder}/rows"\nexit 1\n')
    python.chmod(0o755)
    command = ["bash", str(RECIPE / "compare.sh"), "--python_path", str(python), *arguments]
    assert subprocess.run(command, check=False).returncode == 1, "no plan, no comparison"
    return (folder / "rows").read_text().splitlines()


def configured(row, **overrides):
    """A row's name, and the configuration that it is."""
    name, conf, *options = shlex.split(row)
    return name, load(RECIPE / "conf" / f"{conf}.yml", {**parse_overrides(options), **overrides})


def scored_earlier(row, exp_dir, data_dir):
    """Leaves what an earlier command would have: an experiment that is trained and scored."""
    _, configuration = configured(row, dataset="demo", **SETTINGS)
    training = dataclasses.replace(
        configuration.training, epoch_length=benchmark_table.epoch_length(configuration, MINUTES)
    )
    configuration = dataclasses.replace(configuration, training=training)
    places = ExperimentDir(exp_dir, data_dir)
    stages.obtain_data(configuration, places)
    model = configuration.make_model().eval()
    serialization.write(model.serialize(), places.best_model)
    configuration.save(places.conf)
    places.curves.parent.mkdir(parents=True)
    places.curves.write_text("epoch,step,loss\n0,20,0.5\n")
    tracks = musdb.tracks(places.dataset(configuration.data), "test")
    trained.score(configuration, places, model, tracks)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A comparison in which one system has no way to go on, and what it printed."""
    folder = tmp_path_factory.mktemp("comparison")
    storage = folder / "a storage"
    (row,) = rows_of(folder, "--systems", "m4_same")
    scored_earlier(row, storage / "exp" / "a tag_m4_same", storage / "data")
    (storage / "exp" / "a tag_m4").mkdir(parents=True)
    (storage / "exp" / "a tag_m4" / "best_model.pth").touch()  # whose settings are lost
    process = start(storage, "m4, m4_same_seamless", "--tag", "a tag")
    said, complaints = process.communicate()
    return storage, process.returncode, said, complaints


def test_a_system_that_fails_is_named_and_the_others_are_in_the_table(done):
    storage, status, said, complaints = done
    assert status == 1
    *_, last = complaints.splitlines()
    assert last.startswith("error: these systems failed") and "not in the table: m4;" in last
    assert "Traceback" not in complaints
    table = (storage / "exp" / "a tag" / "table.md").read_text()
    assert table in said
    systems = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    assert systems[2:] == ["| m4_same", "| m4_same_seamless", "| mixture", "| ideal ratio mask"]
    assert not list(storage.rglob("*partial*"))


def test_the_same_weights_are_scored_both_ways_and_all_costs_are_there(done):
    storage, _, _, complaints = done
    table = (storage / "exp" / "a tag" / "table.md").read_text()
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| m4_same")]
    assert len(rows) == 2, complaints[-3000:]
    joined, seamless = rows
    exp = storage / "exp"
    assert (exp / "a tag_m4_same_seamless" / "best_model.pth").samefile(
        exp / "a tag_m4_same" / "best_model.pth"
    )
    assert "prediction: segments" in (exp / "a tag_m4_same" / "conf.yml").read_text()
    assert joined[1] == "22050 Hz stereo" and joined[2] == seamless[2] != "0.0"
    scores = [
        next((exp / f"a tag_{name}" / "scores" / "test").glob("*.json")).read_text()
        for name in ("m4_same", "m4_same_seamless")
    ]
    assert scores[0] != scores[1], "borders make a difference"
    assert joined[7:9] == seamless[7:9] and "–" not in joined[:10]
    assert "- m4_same: scored otherwise: in segments of 2048 samples\n" in table


def test_one_that_is_asked_to_end_does_not_begin_the_next_system(done):
    process = start(done[0], "m4_transposed m5", "--tag", "a tag")  # m5 is the first
    for line in process.stdout:
        if "== stage 0" in line:
            break
    os.kill(process.pid, signal.SIGTERM)
    said, complaints = process.communicate(timeout=60)
    assert process.returncode == 143, complaints[-3000:]
    assert "===" not in said and "not in the table" not in complaints
    begun = load(done[0] / "exp" / "a tag_m5" / "conf.yml")
    assert begun.model["preset"] == "M5" and begun.model["filter_growth"] == 8
    assert begun.training.augmentation == ["wide_gains", "swap_channels", "flip_signs"]
    assert begun.training.epoch_length == benchmark_table.epoch_length(begun, MINUTES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--systems", "m4 m9"], r"there is no system 'm9'; known are m4 m5 m4_transposed .* u7a"),
        (["--systems", ","], r"--systems names none; known are m4"),
        (["--stage", "2"], r"--stage is run\.sh's"),
        (["--tag", "a/b"], "the tag 'a/b' is no name for a folder"),
        (["m4"], "'m4' is no option"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_before_anything_is_written(
    tmp_path, arguments, says
):
    process = start(tmp_path / "storage", "m4", *arguments)
    _, complaints = process.communicate()
    assert process.returncode == 1
    assert re.search(f"^error: {says}", complaints, re.MULTILINE), complaints
    assert "Traceback" not in complaints
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize("size", [[], ["--full"]], ids=["small", "full"])
def test_every_system_has_a_size_and_segments_that_fit_it(tmp_path, size):
    rows = rows_of(tmp_path, *size)
    assert len(rows) == 12
    for row in rows:
        with torch.device("meta"):
            name, configuration = configured(row)
            model = configuration.make_model()
        length = configuration.training.segment_length
        assert length <= model.geometry.fit(length).output <= 1.05 * length, name
        n_weights = sum(p.numel() for p in model.parameters())
        assert bool(size) or 0.4e6 < n_weights < 0.7e6, name


def shell(script):
    sourced = f'set -euo pipefail; . "{RECIPE}/shared.sh"; {script}'
    return subprocess.run(
        ["bash", "-c", sourced], capture_output=True, text=True, check=True
    ).stdout.split()


def test_what_was_asked_to_end_is_told_from_what_was_killed():
    statuses = (0, 1, 2, 129, 130, 137, 138, 139, 143)
    asked = shell(f"for n in {' '.join(map(str, statuses))}; do ! was_asked $n || echo $n; done")
    signals = (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)
    assert sorted(map(int, asked)) == sorted(128 + number for number in signals)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("id=2,3 settings=()", ["2,3", "--devices", "2"]),
        ("id=2,3,4 settings=(--devices 1)", ["2,3,4", "--devices", "1"]),
        ("id=-1 settings=()", ["-1"]),
        ("id= settings=()", ["none"]),
    ],
)
def test_gpus_that_are_named_are_used_together(given, said):
    script = 'unset CUDA_VISIBLE_DEVICES; use_gpus; echo "${CUDA_VISIBLE_DEVICES-none}"'
    assert shell(f'{given}; {script} ${{settings[@]+"${{settings[@]}}"}}') == said


# --- the plan, without the shell ---

ROWS = "m4 m4 --levels 3 --max_epochs 2\nu7 u7 --initial_filters 1 --max_epochs 2\n"


@pytest.fixture
def plan(monkeypatch, tmp_path):
    """`compare.plan` of `ROWS`, for experiments in `tmp_path`."""
    monkeypatch.syspath_prepend(str(RECIPE))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    compare = importlib.import_module("compare")

    def made(minutes=5.0, rows=ROWS, **overrides):
        monkeypatch.setattr(sys, "stdin", io.StringIO(rows))
        places = ExperimentDir(tmp_path / "exp", tmp_path / "data")
        compare.plan(
            minutes,
            lambda name: ExperimentDir(places.exp_dir / name, places.data_dir),
            {"dataset": "demo", **overrides},
        )

    return made


def test_every_row_is_planned_for_as_much_music(plan, capsys):
    plan(minutes=5.0, batch_size="4")
    for row, planned in zip(ROWS.splitlines(), capsys.readouterr().out.splitlines(), strict=True):
        options, length = planned.split(" --epoch_length ")
        assert options == row
        name, *_ = row.split()
        sizes = {"m4": {"levels": 3}, "u7": {"initial_filters": 1}}[name]
        settings = load(RECIPE / "conf" / f"{name}.yml", {**sizes, "batch_size": 4})
        assert int(length) * 2 % 4 == 0
        model = settings.make_model()
        segment = model.geometry.fit(settings.training.segment_length).output / model.sample_rate
        assert 0 <= int(length) * 2 * segment - 300 < 4 * 2 * segment


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"minutes": 0.0}, "minutes is 0; expected a number above 0"),
        ({"minutes": math.inf}, "minutes is inf"),
        ({"minutes": math.nan}, "minutes is nan"),
        ({"epoch_length": "5"}, "epoch_length follows from --minutes"),
        ({"rows": "tasnet tasnet\n", "levels": "3"}, "tasnet: A TasNet has no levels; "),
    ],
)
def test_settings_that_make_no_comparison_are_refused(plan, given, says):
    with pytest.raises(ValueError, match=says):
        plan(**given)


def test_a_comparison_of_other_settings_is_refused_before_any_system_begins(plan, tmp_path):
    begun = tmp_path / "exp" / "u7"
    begun.mkdir(parents=True)
    (begun / "best_model.pth").touch()
    shutil.copy(RECIPE / "conf" / "u7.yml", begun / "conf.yml")
    with pytest.raises(ValueError, match=r"u7: .* other settings \(dataset: 'demo', .* --tag"):
        plan()
