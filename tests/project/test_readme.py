"""The pages' examples and commands run; the table of models matches the presets."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import webbrowser
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import site_hooks
from asteroid_waveunet import presets
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment import config
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation.metrics import track_metrics
from asteroid_waveunet.experiment.report import plots, spectrogram_images
from asteroid_waveunet.experiment.web import folder as web_folder
from asteroid_waveunet.weights import serialization
from helpers import recipe, trained
from helpers.models import write_placeholder
from helpers.paths import GOLDEN, ROOT
from helpers.scores import score_in_this_process
from helpers.songs import write_song

START = ROOT / "README.md"
PYTHON = ROOT / "docs" / "python.md"
PROGRAMS = ROOT / "docs" / "other_programs.md"
# All pages of the site; test_open_project checks CONTRIBUTING.md.
INCLUDED = [ROOT / path for path in site_hooks.INCLUDED.values() if path != "CONTRIBUTING.md"]
PAGES = [*INCLUDED, *sorted((ROOT / "docs").glob("*.md"))]


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
    for experiment in ("demo", "small_my_songs"):
        serialization.save(
            model.serialize(), tmp_path / f"recipes/musdb18/exp/{experiment}/published"
        )
    write_song(
        tmp_path / "my_songs" / "test" / "song", channels=1
    )  # museval: an eighth of the time
    for source in model.sources:
        audio_io.write(
            tmp_path / "stems" / "song" / f"{source}.wav", torch.randn(1, 8000) / 9, 8000
        )
    for system, seed in {"first": 1, "second": 2}.items():
        torch.manual_seed(seed)
        _, references, rate = musdb.tracks(tmp_path / "my_songs")[0].mixture_and_groups(["vocals"])
        estimates = {name: samples.cumsum(-1) for name, samples in references.items()}
        scores = track_metrics.score_track(references, estimates, rate, "song", fast=True)
        file = tmp_path / "scores" / system / "test" / "song.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(scores))
    for song in ("song.wav", "album/song.wav", "more/another.flac"):
        audio_io.write(tmp_path / song, 0.1 * torch.randn(2, 22050), 44100, "PCM_16")
    checkpoint = tmp_path / "checkpoints" / "baseline_stereo" / "baseline_stereo-186093"
    checkpoint.parent.mkdir(parents=True)
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copy(
            GOLDEN / "checkpoints" / "tiny_m4" / f"tiny_m4-1{suffix}", f"{checkpoint}{suffix}"
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


PYTHON_PAGES = [page for page in PAGES if blocks(page, "python") and page != PROGRAMS]


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=str)
def test_python_examples_run(page, checkout):
    for example in blocks(page, "python"):
        exec(compile(example, page.name, "exec"), {})
    if page == START:
        stems = sorted(path.name for path in (checkout / "stems").glob("*.wav"))
        assert stems == [f"song_{s}.wav" for s in ("accompaniment", "vocals")]


@pytest.fixture
def exported(checkout):
    """The example of the exported hop in Python: its model, song and stems."""
    (example,) = blocks(PROGRAMS, "python")
    variables = {}
    exec(compile(example, PROGRAMS.name, "exec"), variables)
    return variables


def test_exported_hops_equal_the_model_in_python_and_cpp(exported, checkout):
    """C++ with the library of Python's wheel, and the headers of Debian's package or of .ci/run."""
    song = torch.from_numpy(exported["song"].T)
    expected = exported["model"].eval()(song).detach().numpy()
    np.testing.assert_allclose(exported["stems"], expected, atol=1e-5)
    folder = os.environ.get("WAVEUNET_TEST_ONNXRUNTIME", "/usr/include/onnxruntime")
    if not Path(folder, "onnxruntime_cxx_api.h").is_file():
        pytest.skip("ONNX Runtime's headers are missing (Debian 13: libonnxruntime-dev)")
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    Path("libonnxruntime.so.1").symlink_to(library)
    (program,) = blocks(PROGRAMS, "cpp")
    Path("separate.cpp").write_text(program)
    compiler = ["g++", "-std=c++17", "-Wall", "-Werror", "-I", folder, "separate.cpp"]
    subprocess.run([*compiler, "libonnxruntime.so.1", "-o", "separate"], check=True)
    for n_samples in (song.shape[-1], exported["hop"], 1, 0):
        samples = song[:, :n_samples]
        result = subprocess.run(
            ["./separate", "model.onnx"],
            input=samples.T.contiguous().numpy().tobytes(),
            env={**os.environ, "LD_LIBRARY_PATH": str(checkout)},
            capture_output=True,
            check=True,
        )
        found = np.frombuffer(result.stdout, np.float32).reshape(n_samples, 4, 2)
        if n_samples:
            expected = exported["model"](samples).detach().permute(2, 0, 1)
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture
def quick_scoring(monkeypatch):
    """Score in this process."""
    score_in_this_process(monkeypatch)


@pytest.fixture
def quick_pages(monkeypatch):
    """Draw small, export no network for pages, and end `waveunet demo` at once, by Ctrl-C."""

    def interrupt(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(plots, "WIDTHS", {"wide": 960})
    monkeypatch.setattr(spectrogram_images, "IMAGE_SIZE", (100, 20, 40))
    monkeypatch.setattr(web_folder, "export_step", write_placeholder)
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", interrupt)
    monkeypatch.setattr(webbrowser, "open", lambda address: None)


@pytest.mark.usefixtures("quick_scoring", "quick_pages")
@pytest.mark.filterwarnings("ignore:.*asteroid_waveunet.infer.*:RuntimeWarning")  # already imported
def test_waveunet_commands_run(checkout, monkeypatch):
    """One after another, as a reader types them; each writes files."""
    for line in OF_THE_PACKAGE:
        for folder in ("separated", "album/separated"):
            shutil.rmtree(checkout / folder, ignore_errors=True)
        before = {path for path in checkout.rglob("*") if path.is_file()}
        command, *words = shlex.split(line)
        if command == "waveunet":
            assert main(words) == 0, line
        else:
            assert words[0] == "-m", line
            monkeypatch.setattr(sys, "argv", words[1:])
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        made = {path for path in checkout.rglob("*") if path.is_file()} - before
        assert made or re.search("compare|demo|--dry-run|--version", line), line


OTHERS = [line for line in COMMANDS if line not in OF_THE_PACKAGE]


@pytest.mark.parametrize("line", [line for line in OTHERS if line.startswith("bash")])
def test_recipe_commands_have_valid_options_and_settings(line, tmp_path):
    """The scripts parse each command; settings are then checked here, and nothing is trained."""
    python = recipe.stand_in(tmp_path, 'test "$2" != plan\n')
    words = [*shlex.split(line), "--python-path", python, "--storage", tmp_path]
    dataset = re.search(r"--data (\S+)", line)
    if Path(words[1]).name == "compare.sh":  # ends when its plan fails
        subprocess.run(words, cwd=ROOT, check=False, capture_output=True)
        ((script, part, *plan),) = recipe.calls(python)
        assert (script, part) == ("compare.py", "plan")
        assert plan[plan.index("--data") + 1] == dataset[1]
        return
    subprocess.run([*words, "--stop-stage", "0"], cwd=ROOT, check=True, capture_output=True)
    first, second = recipe.calls(python)
    assert first[0] == "configure.py" and second[0] == "data.py"
    given = config.parse_overrides(first[1:])
    del given["exp_dir"], given["data_dir"]
    loaded = config.load(given.pop("conf"), given)
    assert loaded.data.dataset == (dataset[1] if dataset else "demo")


# Each other command, with options that make it do nothing.
DRY_RUNS = {
    "make": ["--dry-run"],
    "pip install": ["--dry-run", "--no-deps", "--no-build-isolation", "--quiet"],
}


@pytest.mark.parametrize("line", [line for line in OTHERS if not line.startswith("bash")])
def test_other_commands_run(line):
    start = next(s for s in DRY_RUNS if line.startswith(s))
    words = shlex.split(line) + DRY_RUNS[start]
    if start == "pip install":
        words[:1] = [sys.executable, "-m", "pip"]
    subprocess.run(words, cwd=ROOT, capture_output=True, check=True)


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
