"""What the README says is so: its examples run, its commands exist, its table is the presets'."""

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

import asteroid_waveunet.experiment
from asteroid_waveunet import presets
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import bss_eval
from asteroid_waveunet.weights import serialization
from helpers import trained
from helpers.paths import GOLDEN, ROOT
from helpers.songs import write_song

READMES = [ROOT / "README.md", ROOT / "recipes" / "musdb18" / "README.md"]


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(), re.DOTALL)


COMMANDS = [
    line
    for readme in READMES
    for block in blocks(readme, "bash")
    for line in block.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


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


@pytest.mark.parametrize("number", range(len(blocks(READMES[0], "python"))))
def test_examples_run(number, checkout):
    exec(compile(blocks(READMES[0], "python")[number], "README.md", "exec"), {})
    if number == 0:
        stems = sorted(path.name for path in (checkout / "stems").glob("*.wav"))
        assert stems == [f"song_{s}.wav" for s in ("bass", "drums", "other", "vocals")]


@pytest.mark.parametrize("line", OF_THE_PACKAGE)
def test_commands_of_the_package_run(line, checkout):
    before = {path for path in checkout.rglob("*") if path.is_file()}
    command, *words = shlex.split(line)
    if command == "waveunet":
        assert main(words) == 0
    else:
        subprocess.run([sys.executable, *words], check=True)
    made = {path for path in checkout.rglob("*") if path.is_file()} - before
    assert made or "compare" in line, "stems, scores or a model"


@pytest.mark.parametrize("line", [line for line in COMMANDS if line not in OF_THE_PACKAGE])
def test_commands_run(line, tmp_path):
    """Each command as it stands, at the smallest it can do: settings checked, nothing trained."""
    words = shlex.split(line, comments=True)
    words = [word for word in words if word != "--accept_license"]  # nothing of 22 GB
    smallest = {
        "bash recipes/musdb18/run.sh": ["--python_path", sys.executable, "--stop_stage", "0"],
        "bash recipes/musdb18/compare.sh": ["--python_path", sys.executable],
        "make": ["--dry-run"],
        "pip install": ["--dry-run", "--no-deps", "--no-build-isolation", "--quiet"],
    }
    start = next(s for s in smallest if line.startswith(s))
    words += smallest[start]
    if start.startswith("bash"):
        words += ["--storage", str(tmp_path), "--demo_seconds", "2", "--demo_sample_rate", "8000"]
    if start == "pip install":
        words[:1] = [sys.executable, "-m", "pip"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if "musdb18hq" in line or "my_songs" in line:  # data that is not here: said so, nothing else
        assert re.search("musdb18hq.zip|no data folder", result.stderr), result.stderr
    else:
        assert result.returncode == 0, result.stderr


def test_the_table_of_models_is_the_presets():
    rows = re.findall(r"^\| (M\S+) \| (.+?) \|$", READMES[0].read_text(), re.MULTILINE)
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


@pytest.mark.parametrize("package", [asteroid_waveunet, asteroid_waveunet.experiment])
def test_the_map_in_a_package_names_every_module(package):
    folder = Path(package.__file__).parent
    modules = {path.stem for path in folder.glob("[a-z]*.py")}
    assert all(re.search(rf"\b{module}\b", package.__doc__) for module in modules)
