"""The comparison script: one small comparison with a failing system, an interrupt, the plan."""

from __future__ import annotations

import contextlib
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
import time
from pathlib import Path

import pytest
import torch

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.config import load, parse_overrides
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import model_cost
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.report import benchmark_table
from asteroid_waveunet.weights import serialization
from helpers import trained
from helpers.paths import RECIPE
from helpers.recipe import calls, run_python, run_script, stand_in

SETTINGS = {
    "demo_train_songs": 2, "demo_test_songs": 1, "demo_seconds": 3, "demo_sample_rate": 8000,
    "valid": 0.5, "levels": 3, "initial_filters": 4, "segment_length": 2048, "max_epochs": 1,
    "jobs": 1,
}  # fmt: skip
MINUTES = 0.06

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the recipe is a bash script")


def command(storage, systems, *arguments, python):
    """Return the command line of a small comparison."""
    words = ["bash", str(RECIPE / "compare.sh"), "--storage", str(storage), "--systems", systems]
    words += ["--python_path", str(python), f"--minutes={MINUTES}"]
    return [*words, *(f"--{name}={value}" for name, value in SETTINGS.items()), *arguments]


def rows_of(folder, *arguments):
    """Return the rows "name conf options" that compare.sh passes to its plan."""
    python = stand_in(folder, f'cat > "{folder}/rows"; exit 1\n')
    words = ["bash", str(RECIPE / "compare.sh"), "--python_path", str(python), *arguments]
    assert subprocess.run(words, check=False).returncode == 1, "a failed plan ends the comparison"
    return (folder / "rows").read_text().splitlines()


def configuration_of(row, **overrides):
    """Return a row's name and configuration."""
    name, conf, *options = shlex.split(row)
    return name, load(RECIPE / "conf" / f"{conf}.yml", {**parse_overrides(options), **overrides})


def write_scored_experiment(row, exp_dir, data_dir):
    """Write an experiment as an earlier comparison leaves it, with scores."""
    _, configuration = configuration_of(row, dataset="demo", **SETTINGS)
    training = dataclasses.replace(
        configuration.training, epoch_length=benchmark_table.epoch_length(configuration, MINUTES)
    )
    configuration = dataclasses.replace(configuration, training=training)
    experiment = ExperimentDir(exp_dir, data_dir)
    stages.obtain_data(configuration, experiment)
    model = configuration.make_model().eval()
    serialization.write(model.serialize(), experiment.best_model)
    configuration.save(experiment.conf)
    experiment.curves.parent.mkdir(parents=True)
    experiment.curves.write_text("epoch,step,loss\n0,20,0.5\n")
    tracks = musdb.tracks(experiment.dataset(configuration.data), "test")
    trained.score(configuration, experiment, model, tracks)


def planned(epoch_length):
    """Return shell code that plans this many segments per epoch for each system."""
    return f'case "$2" in plan) sed "s/$/ --epoch_length {epoch_length}/" ;; esac\n'


# Fails to configure m4 and leaves empty scores.
FAIL_M4 = """
case "$1 $3" in
*configure.py*_m4) exit 1 ;;
*evaluate.py*) mkdir -p "$3/scores"; touch "$3/scores/summary.json" "$3/scores/scores.md" ;;
esac
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison in which one system fails; the Python scripts then run in this process.

    Returns:
        Storage, the finished compare.sh, its calls of Python, and what the scripts printed.
    """
    folder = tmp_path_factory.mktemp("comparison")
    storage = folder / "a storage"
    (row,) = rows_of(folder, "--systems", "m4_same")
    write_scored_experiment(row, storage / "exp" / "a tag_m4_same", storage / "data")
    configuration = load(storage / "exp" / "a tag_m4_same" / "conf.yml")
    Path(f"{stand_in(folder)}.calls").unlink()
    python = stand_in(folder, planned(configuration.training.epoch_length) + FAIL_M4)
    words = command(storage, "m4, m4_same_seamless", "--tag", "a tag", python=python)
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(model_cost.subprocess, "run", run_python)
        for script, *arguments in calls(python):
            if not arguments[1].endswith("_m4"):
                patch.setattr(sys, "stdin", io.StringIO(row))
                run_script(Path(script).stem, *arguments)
    return storage, result, calls(python), printed.getvalue()


def test_failed_system_is_reported_and_the_others_are_in_the_table(compared):
    storage, result, called, printed = compared
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert re.match(r"error: .*failed.* not in the table: m4;", last), result.stderr
    exps = [str(storage / "exp" / f"a tag_{name}") for name in ("m4", "m4_same_seamless")]
    data = ["--data_dir", str(storage / "data")]
    plan, failed, configured, evaluated, tabulated = called
    assert plan[:4] == ["compare.py", "plan", "--minutes", str(MINUTES)]
    assert failed[:5] == ["configure.py", "--exp_dir", exps[0], *data]
    assert configured[:5] == ["configure.py", "--exp_dir", exps[1], *data]
    assert evaluated == ["evaluate.py", "--exp_dir", exps[1], *data]
    assert tabulated[:2] == ["compare.py", "table"]
    assert tabulated[-2:] == ["m4_same", "m4_same_seamless"]
    table = (storage / "exp" / "a tag" / "table.md").read_text()
    assert table in printed
    systems = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    assert systems[2:] == ["| m4_same", "| m4_same_seamless", "| mixture", "| ideal ratio mask"]
    assert not list(storage.rglob("*partial*"))


def test_plan_is_printed_with_the_epoch_length(compared):
    printed = compared[-1].splitlines()[0]
    _, configuration = configuration_of(printed, **SETTINGS)
    length = benchmark_table.epoch_length(configuration, MINUTES)
    assert configuration.training.epoch_length == length


def test_seamless_system_shares_weights_and_has_its_own_scores_and_costs(compared):
    storage, *_ = compared
    table = (storage / "exp" / "a tag" / "table.md").read_text()
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| m4_same")]
    segments, seamless = rows
    exp = storage / "exp"
    assert (exp / "a tag_m4_same_seamless" / "best_model.pth").samefile(
        exp / "a tag_m4_same" / "best_model.pth"
    )
    assert "prediction: segments" in (exp / "a tag_m4_same" / "conf.yml").read_text()
    assert segments[1] == "22050 Hz stereo" and segments[2] == seamless[2] != "0.0"
    scores = [
        next((exp / f"a tag_{name}" / "scores" / "test").glob("*.json")).read_text()
        for name in ("m4_same", "m4_same_seamless")
    ]
    assert scores[0] != scores[1], "segment borders change the scores"
    against, weights = slice(7, 9), slice(9, 11)
    assert segments[against] == ["", ""] and all("(" in cell for cell in seamless[against])
    assert segments[weights] == seamless[weights] and "–" not in segments[:12]
    assert re.search(r"- m4_same: .*in segments of 2048 samples\n", table)


def test_interrupted_comparison_does_not_start_the_next_system(tmp_path):
    waiting = "*data.py) trap 'exit 143' TERM; touch \"$0.waiting\"; while :; do sleep 0.1; done"
    python = stand_in(tmp_path, f'{planned(7)}case "$1" in {waiting} ;; esac\n')
    words = command(tmp_path, "m4_transposed m5", "--tag", "a tag", python=python)  # m5 is first
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not Path(f"{python}.waiting").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert stdout.count("===") == 1 and "not in the table" not in stderr
    _, (script, *configured), (last, *_) = calls(python)
    assert (script, last) == ("configure.py", "data.py")
    given = parse_overrides(configured)
    assert given.pop("exp_dir").endswith("/a tag_m5") and given.pop("data_dir")
    begun = load(given.pop("conf"), given)
    assert begun.model["preset"] == "M5" and begun.model["filter_growth"] == 8
    assert begun.training.augmentation == ["wide_gains", "swap_channels", "flip_signs"]
    assert begun.training.epoch_length == 7


def test_invalid_command_lines_are_refused_before_anything_is_written(tmp_path):
    python = stand_in(tmp_path)
    for arguments, message in {
        ("--systems", "m4 m9"): r"unknown system 'm9'; known are m4 m5 m4_transposed .* u7a",
        ("--systems", ","): r"--systems is empty; known are m4",
        ("--stage", "2"): r"--stage is an option of run\.sh only",
        ("--tag", "a/b"): "--tag 'a/b' cannot name a folder",
        ("m4",): "'m4' is not an option",
    }.items():
        words = command(tmp_path / "storage", "m4", *arguments, python=python)
        result = subprocess.run(words, capture_output=True, text=True, check=False)
        assert result.returncode == 1, arguments
        assert re.search(f"^error: {message}", result.stderr, re.MULTILINE), result.stderr
        assert not (tmp_path / "storage").exists() and calls(python) == [], arguments


def test_systems_are_small_or_full_size_with_fitting_segments(tmp_path):
    for full in (False, True):
        rows = rows_of(tmp_path, *["--full"] * full)
        assert len(rows) == 12
        for row in rows:
            name, configuration = configuration_of(row)
            with torch.device("meta"):
                model = configuration.make_model()
            length = configuration.training.segment_length
            assert length <= model.geometry.fit(length).output <= 1.05 * length, (name, full)
            n_weights = sum(p.numel() for p in model.parameters())
            assert full or 0.4e6 < n_weights < 0.7e6, name


# --- shared.sh ---


def shell(script):
    """Run a script that sources shared.sh; return the words that it prints."""
    sourced = f'set -euo pipefail; . "{RECIPE}/shared.sh"; {script}'
    return subprocess.run(
        ["bash", "-c", sourced], capture_output=True, text=True, check=True
    ).stdout.split()


def test_interrupts_are_distinguished_from_failures():
    statuses = (0, 1, 2, 129, 130, 137, 138, 139, 143)
    numbers = " ".join(map(str, statuses))
    found = shell(f"for n in {numbers}; do ! was_interrupted $n || echo $n; done")
    signals = (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)
    assert sorted(map(int, found)) == sorted(128 + number for number in signals)


def test_gpus_of_id_are_used_together():
    script = 'unset CUDA_VISIBLE_DEVICES; use_gpus; echo "${CUDA_VISIBLE_DEVICES-none}"'
    for variables, printed in {
        "id=2,3 settings=()": ["2,3", "--devices", "2"],
        "id=2,3,4 settings=(--devices 1)": ["2,3,4", "--devices", "1"],
        "id=-1 settings=()": ["-1"],
        "id= settings=()": ["none"],
    }.items():
        assert shell(f'{variables}; {script} ${{settings[@]+"${{settings[@]}}"}}') == printed


# --- compare.py plan, in this process ---

ROWS = "m4 m4 --levels 3 --max_epochs 2\nu7 u7 --initial_filters 1 --max_epochs 2\n"


@pytest.fixture
def plan(monkeypatch, tmp_path):
    """`compare.plan` of `ROWS`, for experiments in `tmp_path`."""
    monkeypatch.syspath_prepend(str(RECIPE))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    compare = importlib.import_module("compare")

    def planned(minutes=5.0, rows=ROWS, **overrides):
        monkeypatch.setattr(sys, "stdin", io.StringIO(rows))
        compare.plan(
            minutes,
            lambda name: ExperimentDir(tmp_path / "exp" / name, tmp_path / "data"),
            {"dataset": "demo", **overrides},
        )

    return planned


def test_plan_gives_every_system_the_same_amount_of_music(plan, capsys):
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


def test_plan_refuses_invalid_settings(plan):
    for message, arguments in {
        "minutes is 0; expected a number above 0": {"minutes": 0.0},
        "minutes is inf": {"minutes": math.inf},
        "minutes is nan": {"minutes": math.nan},
        "--minutes determines epoch_length": {"epoch_length": "5"},
        "tasnet: A TasNet has no setting levels": {"rows": "tasnet tasnet\n", "levels": "3"},
        "u7: levels is 0": {"rows": "u7 u7\n", "levels": "0"},
    }.items():
        with pytest.raises(ValueError, match=message):
            plan(**arguments)


def test_plan_refuses_to_change_experiments_that_have_begun(plan, tmp_path):
    begun = tmp_path / "exp" / "u7"
    begun.mkdir(parents=True)
    (begun / "best_model.pth").touch()
    shutil.copy(RECIPE / "conf" / "u7.yml", begun / "conf.yml")
    with pytest.raises(ValueError, match=r"u7: .* other settings \(dataset: 'demo', .* --tag"):
        plan()
