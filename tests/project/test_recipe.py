"""The recipe as people run it: from nothing to a published folder, killed and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import soundfile
import torch

from asteroid_waveunet import WaveUNet, separate
from asteroid_waveunet.audio import io as audio_io
from helpers.hub_server import Hub
from helpers.paths import RECIPE
from helpers.songs import write_song

SETTINGS = {
    "demo_train_songs": 2, "demo_test_songs": 1, "demo_seconds": 3, "demo_sample_rate": 8000,
    "valid": 0.5, "sample_rate": 8000, "levels": 3, "initial_filters": 4, "segment_length": 2048,
    "batch_size": 2, "epoch_length": 4, "max_epochs": 1, "num_workers": 0, "jobs": 1,
}  # fmt: skip


def smallest(**changed):
    """The command line of the smallest experiment."""
    return [f"--{name}={value}" for name, value in {**SETTINGS, **changed}.items()]


pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the recipe is a bash script")


def command(storage, *arguments):
    python = ["--python_path", sys.executable]
    return ["bash", str(RECIPE / "run.sh"), "--storage", str(storage), *python, *arguments]


def run(storage, *arguments, cwd=None, **environment):
    return subprocess.run(
        command(storage, *arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Storage of the whole recipe at its smallest, started from a folder that is not its own."""
    storage = tmp_path_factory.mktemp("storage")
    result = run(storage, *smallest(), cwd=tmp_path_factory.mktemp("elsewhere"))
    assert result.returncode == 0, result.stderr[-3000:]
    return storage, result


def test_it_prints_the_table_the_places_and_what_comes_next(finished):
    storage, result = finished
    table = (storage / "exp" / "demo" / "scores" / "scores.md").read_text()
    assert table in result.stdout
    assert all(
        f"| model | {source} |" in table
        for source in ("bass", "drums", "other", "vocals", "average")
    )
    assert "| ideal ratio mask | average |" in table and "SDR by track" in table
    assert str(storage / "exp" / "demo" / "published") in result.stdout
    page = storage / "exp" / "demo" / "report" / "index.html"
    assert str(page) in result.stdout
    assert "Training" in page.read_text() and "demo_train_songs: 2" in page.read_text()
    assert "--conf m4 --data musdb18hq" in result.stdout


def test_it_writes_under_data_and_exp_only(finished):
    storage, _ = finished
    assert sorted(path.name for path in storage.iterdir()) == ["data", "exp"]
    assert not list(storage.rglob("*partial*"))


def test_the_published_folder_separates_a_file(finished, tmp_path):
    storage, _ = finished
    song = next((storage / "data").glob("demo_*/test/*/mixture.wav"))
    model = WaveUNet.from_pretrained(storage / "exp" / "demo" / "published")
    mixture, rate = audio_io.read(song)
    paths = model.file_separate(song, tmp_path)
    total = sum(audio_io.read(path)[0] for path in paths.values())
    assert soundfile.info(paths["vocals"]).samplerate == rate
    torch.testing.assert_close(total, mixture, atol=1e-5, rtol=0)
    torch.testing.assert_close(separate(model, song)[0], audio_io.read(paths["bass"])[0])


def test_the_configuration_used_is_saved(finished):
    storage, _ = finished
    saved = (storage / "exp" / "demo" / "conf.yml").read_text()
    assert "levels: 3" in saved and "patience:" in saved


def test_running_again_skips_what_is_done(finished):
    storage, _ = finished
    patterns = ("*.wav", "*.npy", "best_model.pth", "scores/test/*.json", "demo/report/index.html")
    kept = [path for pattern in patterns for path in storage.rglob(pattern)]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert len(before) > 10
    result = run(storage, *smallest())
    assert result.returncode == 0, result.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_other_settings_under_the_same_name_are_refused(finished):
    storage, _ = finished
    result = run(storage, *smallest(lr=0.5))
    assert result.returncode == 1
    assert "lr: 0.5, not" in result.stderr and "--tag" in result.stderr


def test_an_experiment_that_has_begun_is_named_by_its_tag_alone(finished):
    storage, _ = finished
    before = (storage / "exp" / "demo" / "conf.yml").read_text()
    result = run(storage, "--tag", "demo", "--stage", "4")
    assert result.returncode == 0, result.stderr[-3000:]
    assert (storage / "exp" / "demo" / "conf.yml").read_text() == before


def test_stage_4_uploads_where_the_experiment_has_a_name_on_the_hub(finished, tmp_path):
    storage = tmp_path / "copy"
    shutil.copytree(finished[0], storage)
    with Hub() as hub:
        named = ["--repo_id", "user/model", "--revision", "v1"]
        result = run(
            storage, "--tag", "demo", "--stage", "4", *named, **hub.client(tmp_path, "hf_test")
        )
        assert result.returncode == 0, result.stderr[-3000:]
        assert f"{hub.url}/user/model (tagged v1; " in result.stdout
        assert 'WaveUNet.from_pretrained("user/model@v1")' in result.stdout
        files = hub.repos["user/model"].commits[hub.repos["user/model"].tags["v1"]]
        published = storage / "exp" / "demo" / "published"
        assert files["README.md"] == (published / "README.md").read_bytes()
        assert any(path.startswith("examples/") for path in files), "of generated songs"
        hub.requests.clear()
        result = run(storage, "--tag", "demo", "--stage", "4", **hub.client(tmp_path, "hf_test"))
        assert "it was there already" in result.stdout and hub.written == []


def test_settings_stay_and_scores_are_the_models_own(finished, tmp_path):
    """Even where somebody has made room and deleted the checkpoints."""
    storage = tmp_path / "copy"
    shutil.copytree(finished[0], storage)
    exp = storage / "exp" / "demo"
    shutil.rmtree(exp / "checkpoints")
    result = run(storage, *smallest(levels=4))
    assert result.returncode == 1
    assert "levels: 4, not 3" in result.stderr
    other = torch.load(exp / "best_model.pth", weights_only=True)
    other["state_dict"]["bottleneck.bias"] += 1
    torch.save(other, exp / "best_model.pth")
    result = run(storage, "--tag", "demo", "--stage", "4")
    assert result.returncode == 1
    assert "scores of another model" in result.stderr
    (exp / "best_model.pth").unlink()
    result = run(storage, "--tag", "demo", "--stage", "3")
    assert result.returncode == 1
    assert "run stage 2 (train) first" in result.stderr


def test_a_training_that_is_killed_goes_on(finished, tmp_path):
    storage, _ = finished
    arguments = smallest(max_epochs=400, schedule="constant", patience=1000, tag="killed")
    exp = storage / "exp" / "killed"
    process = subprocess.Popen(
        command(storage, *arguments, "--stop_stage", "2"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.time() + 120
    while not (exp / "checkpoints" / "last.ckpt").exists() and time.time() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (exp / "best_model.pth").exists()
    done = torch.load(exp / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]

    shorter = [*arguments, "--max_epochs", str(done + 3), "--stop_stage", "2", "--resume"]
    result = run(storage, *shorter)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (exp / "best_model.pth").exists()
    assert f"Epoch {done + 1}" in result.stdout + result.stderr
    assert "Epoch 0:" not in result.stdout + result.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_training_that_is_asked_to_end_saves_first(finished, number, status):
    """To all of its processes, workers too, as a terminal's Ctrl-C and a cluster's kill are."""
    tag = f"asked_by_{status}"
    many = dict(max_epochs=4000, schedule="constant", patience=10000)
    arguments = smallest(**many, num_workers=1, tag=tag)
    process = subprocess.Popen(
        command(finished[0], *arguments, "--stage", "2", "--stop_stage", "2"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    last = finished[0] / "exp" / tag / "checkpoints" / "last.ckpt"
    deadline = time.time() + 120
    while not last.exists() and time.time() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said[-3000:]
    assert "training is saved after step" in said or "this validation begins again" in said
    assert "Run the same command again to go on." in said
    assert "Traceback" not in said and "once that is mended" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--batch_sise", "4"], "no setting 'batch_sise' (the command line). Did you mean"),
        (["--conf", "m9"], "beside it there are: demo, fast, m1"),
        (["--sources", "[bass, drums"], "which is no YAML"),
        (["--resume"], "There is nothing to resume in"),
        (["--stage", "7"], "stage '7' is none of 0, 1, 2, 3, 4"),
        (["--stage", "3", "--stop_stage", "2"], "stage 3 comes after --stop_stage 2"),
        (["--lr"], "--lr lacks its value"),
        (["lr"], "'lr' is no option"),
        (["--tag", "a/b"], "no name for a folder"),
        (["--tag", ".."], "no name for a folder"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_before_anything_is_written(
    tmp_path, arguments, says
):
    result = run(tmp_path, *arguments)
    assert result.returncode == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("musdb18hq", "musdb18hq.zip (22.7 GB)"),
        ("nowhere #1", "there is no data folder nowhere #1"),
        ("lacking", "lack the stem 'drums'"),
        ("lacking in test", "lack the stem 'bass'"),
        ("of other stems", "no stems for the source 'bass': the data has piano"),
        ("of other rates", "differ in sample rate"),
        ("of 6 channels", "has 6 channels and the model 2"),
        ("cut off", "is truncated"),
    ],
)
def test_data_that_is_not_as_it_should_be_is_named_before_the_work(tmp_path, data, says):
    root = tmp_path / data
    for name in ("train/whole", "train/other", "test/whole") if data[0] in "loc" else ():
        write_song(root / name)
    spoil = {
        "lacking": lambda: write_song(root / "train" / "half", stems=("bass", "other", "vocals")),
        "lacking in test": lambda: (root / "test" / "whole" / "bass.wav").unlink(),
        "of other stems": lambda: (shutil.rmtree(root), spoil["piano"]()),
        "piano": lambda: [
            write_song(root / name, stems=("piano",)) for name in ("train/a", "train/b", "test/c")
        ],
        "of other rates": lambda: write_song(root / "test" / "whole", stems=("bass",), rate=4000),
        "of 6 channels": lambda: write_song(root / "test" / "whole", channels=6),
        "cut off": lambda: os.truncate(root / "test" / "whole" / "mixture.wav", 20000),
    }
    spoil.get(data, lambda: None)()
    result = run("storage", "--data", data, cwd=tmp_path)
    assert result.returncode == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.npy")), "nothing is decoded yet"


def test_songs_of_ones_own_with_stems_of_other_names(tmp_path):
    for subset, names in {"train": ("a", "b"), "test": ("c",)}.items():
        for name in names:
            write_song(tmp_path / "mine" / subset / name, stems=("piano", "voice"), seconds=2)
    result = run(
        "here", "--data", "mine", "--sources", "[voice]", "--output", "direct", "--preset", "null",
        "--in_channels", "1", "--license", "cc0-1.0", *smallest(), cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    published = tmp_path / "here" / "exp" / "small_mine" / "published"
    assert WaveUNet.from_pretrained(published).sources == ("voice",)
    assert "license: cc0-1.0" in (published / "README.md").read_text()
    summary = json.loads((published.parent / "scores" / "summary.json").read_text())
    assert summary["systems"]["model"].keys() == {"voice"}


def test_help_lists_the_options():
    result = run("unused", "--help")
    assert result.returncode == 0
    assert "--stop_stage N" in result.stdout and "set -euo" not in result.stdout
