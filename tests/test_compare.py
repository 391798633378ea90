"""The comparison as people run it: small systems, one that fails, one asked to end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[1] / "recipes" / "musdb18"
SETTINGS = {
    "demo_train_songs": 2, "demo_test_songs": 1, "demo_seconds": 3, "demo_sample_rate": 8000,
    "valid": 0.5, "levels": 3, "initial_filters": 4, "segment_length": 2048, "max_epochs": 1,
    "minutes": 0.06, "jobs": 1,
}  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the recipe is a bash script")


def start(storage, systems, *arguments):
    command = ["bash", str(RECIPE / "compare.sh"), "--storage", str(storage), "--systems", systems]
    command += ["--python_path", sys.executable, *(f"--{k}={v}" for k, v in SETTINGS.items())]
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A comparison in which one system has no way to go on, and what it printed."""
    storage = tmp_path_factory.mktemp("storage")
    (storage / "exp" / "compare_m4").mkdir(parents=True)
    (storage / "exp" / "compare_m4" / "best_model.pth").touch()  # whose settings are lost
    process = start(storage, "m4, m4_same, m4_same_seamless")
    said, complaints = process.communicate()
    return storage, process.returncode, said, complaints


def test_a_system_that_fails_is_named_and_the_others_are_in_the_table(done):
    storage, status, said, complaints = done
    assert status == 1
    *_, last = complaints.splitlines()
    assert last.startswith("error: these systems failed") and "not in the table: m4;" in last
    assert "Traceback" not in complaints
    table = (storage / "exp" / "compare" / "table.md").read_text()
    assert table in said
    systems = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    assert systems[2:] == ["| m4_same", "| m4_same_seamless", "| mixture", "| ideal ratio mask"]
    assert not list(storage.rglob("*partial*"))


def test_the_same_weights_are_scored_both_ways_and_all_costs_are_there(done):
    storage, _, _, complaints = done
    table = (storage / "exp" / "compare" / "table.md").read_text()
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| m4_same")]
    assert len(rows) == 2, complaints[-3000:]
    joined, seamless = rows
    exp = storage / "exp"
    assert (exp / "compare_m4_same_seamless" / "best_model.pth").samefile(
        exp / "compare_m4_same" / "best_model.pth"
    )
    assert "prediction: segments" in (exp / "compare_m4_same" / "conf.yml").read_text()
    assert joined[1] == "22050 Hz stereo" and joined[2] == seamless[2] != "0.0"
    scores = [
        next((exp / f"compare_{name}" / "scores" / "test").glob("*.json")).read_text()
        for name in ("m4_same", "m4_same_seamless")
    ]
    assert scores[0] != scores[1], "borders make a difference"
    assert joined[7:9] == seamless[7:9] and "–" not in joined[:10]


def test_one_that_is_asked_to_end_does_not_begin_the_next_system(done):
    process = start(done[0], "m4_same m4_same_seamless")
    for line in process.stdout:
        if "== stage 1" in line:
            break
    os.kill(process.pid, signal.SIGTERM)
    said, complaints = process.communicate(timeout=60)
    assert process.returncode == 143, complaints[-3000:]
    assert "===" not in said and "not in the table" not in complaints


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--systems", "m4 m9"], r"there is no system 'm9'; known are m4 m5 m4_transposed .* u7a"),
        (["--tag", "a"], r"--tag is run\.sh's"),
        (["--systems", "tasnet"], "tasnet: A TasNet has no .*initial_filters"),
        (["--minutes", "0"], "minutes is 0; expected a number above 0"),
        (["m4"], "'m4' is no option"),
        (["--data", "nowhere"], "there is no data folder nowhere"),
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
