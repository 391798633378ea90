"""The pages' examples and commands run; the table of models matches the presets."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asteroid_waveunet import presets
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment import config
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import bss_eval
from asteroid_waveunet.weights import serialization
from helpers import trained
from helpers.paths import GOLDEN, ROOT
from helpers.songs import write_song

START = ROOT / "README.md"
PYTHON = ROOT / "docs" / "python.md"
PAGES = [START, ROOT / "recipes" / "musdb18" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> list[str]:
    """The page's commands, with the variables that it sets filled in."""
    variables, found = {}, []
    for line in "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        if assignment := re.fullmatch(r"([A-Z]+)=(\S+)", line):
            variables[f"${assignment[1]}"] = assignment[2]
        elif line and not line.startswith("#"):
            found.append(re.sub(r"\$[A-Z]+", lambda name: variables[name[0]], line))
    return found


COMMANDS = list(dict.fromkeys(line for page in PAGES for line in commands(page)))
OF_THE_PACKAGE = [
    line for line in COMMANDS if re.match("waveunet|python -m asteroid_waveunet", line)
]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """The checkout after the recipe, and a song: where a reader of the README stands."""
    for name in ("asteroid_waveunet", "hubconf.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    trained.experiment(tmp_path / "recipes" / "musdb18")
    model = presets.make("M6", levels=2, initial_filters=3)
    serialization.save(model.serialize(), tmp_path / "recipes/musdb18/exp/demo/published")
    write_song(tmp_path / "my_songs" / "test" / "song")
    for source in model.sources:
        audio_io.write(
            tmp_path / "stems" / "song" / f"{source}.wav", torch.randn(2, 8000) / 9, 8000
        )
    for system, seed in {"first": 1, "second": 2}.items():
        torch.manual_seed(seed)
        _, references, rate = musdb.tracks(tmp_path / "my_songs")[0].mixture_and_groups(["vocals"])
        estimates = {name: samples.cumsum(-1) for name, samples in references.items()}
        scores = bss_eval.score_track(references, estimates, rate, "song", fast=True)
        file = tmp_path / "scores" / system / "test" / "song.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(scores))
    for song in ("song.wav", "album/song.wav", "more/another.flac"):
        audio_io.write(tmp_path / song, 0.1 * torch.randn(2, 4410), 44100, "PCM_16")
    checkpoint = tmp_path / "checkpoints" / "baseline_stereo" / "baseline_stereo-186093"
    checkpoint.parent.mkdir(parents=True)
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copy(
            GOLDEN / "checkpoints" / "tiny_m4" / f"tiny_m4-1{suffix}", f"{checkpoint}{suffix}"
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=str)
def test_python_examples_run(page, checkout):
    for example in blocks(page, "python"):
        exec(compile(example, page.name, "exec"), {})
    if page == START:
        stems = sorted(path.name for path in (checkout / "stems").glob("*.wav"))
        assert stems == [f"song_{s}.wav" for s in ("bass", "drums", "other", "vocals")]


def test_waveunet_commands_run(checkout):
    """One after another, as a reader types them; each writes files."""
    for line in OF_THE_PACKAGE:
        for folder in ("separated", "album/separated"):
            shutil.rmtree(checkout / folder, ignore_errors=True)
        before = {path for path in checkout.rglob("*") if path.is_file()}
        command, *words = shlex.split(line)
        if command == "waveunet":
            assert main(words) == 0, line
        else:
            subprocess.run([sys.executable, *words], check=True)
        made = {path for path in checkout.rglob("*") if path.is_file()} - before
        assert made or "compare" in line or "--dry-run" in line, line


OTHERS = [line for line in COMMANDS if line not in OF_THE_PACKAGE]

# Stands in for Python in run.sh: writes down what it is called with.
RECORDER = """#!/bin/sh
for word; do printf '%s\\n' "$word"; done >> "$0.calls"
echo "--end" >> "$0.calls"
"""


@pytest.mark.parametrize("line", [line for line in OTHERS if "run.sh" in line])
def test_recipe_commands_have_valid_settings(line, tmp_path):
    """run.sh parses each command; its settings are then checked here, and nothing is trained."""
    recorder = tmp_path / "python"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    words = [*shlex.split(line), "--python-path", recorder, "--stop-stage", "0"]
    subprocess.run([*words, "--storage", tmp_path], cwd=ROOT, check=True, capture_output=True)
    calls = (tmp_path / "python.calls").read_text().split("--end\n")
    script, *options = calls[0].splitlines()
    assert Path(script).name == "configure.py" and Path(calls[1].splitlines()[0]).name == "data.py"
    given = config.parse_overrides(options)
    del given["exp_dir"], given["data_dir"]
    loaded = config.load(given.pop("conf"), given)
    dataset = re.search(r"--data (\S+)", line)
    assert loaded.data.dataset == (dataset[1] if dataset else "demo")


# Each other command, at the smallest it can do.
SMALLEST = {
    "bash recipes/musdb18/compare.sh": ["--python-path", sys.executable],
    "make": ["--dry-run"],
    "pip install": ["--dry-run", "--no-deps", "--no-build-isolation", "--quiet"],
}


@pytest.mark.parametrize("line", [line for line in OTHERS if "run.sh" not in line])
def test_other_commands_run(line, tmp_path):
    words = [word for word in shlex.split(line) if word != "--accept-license"]  # nothing of 22 GB
    start = next(s for s in SMALLEST if line.startswith(s))
    words += SMALLEST[start]
    if start.startswith("bash"):
        words += ["--storage", str(tmp_path)]
    if start == "pip install":
        words[:1] = [sys.executable, "-m", "pip"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if start.startswith("bash"):  # absent data is reported, nothing else
        assert re.search("musdb18hq.zip|no data folder", result.stderr), result.stderr
    else:
        assert result.returncode == 0, result.stderr


def test_table_of_models_matches_the_presets():
    rows = re.findall(r"^\| (M\S+) \| (.+?) \|$", PYTHON.read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == list(presets.names())
    for name, cells in rows:
        arguments = presets.make(name).get_model_args()
        assert cells.split(" | ") == [
            ", ".join(arguments["sources"]),
            str(arguments["in_channels"]),
            str(arguments["sample_rate"]),
            arguments["output"],
            "yes" if arguments["context"] else "no",
            arguments["upsampling"],
        ]
