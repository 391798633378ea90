"""The recipe from nothing to a model on the Hub, interrupted once, as users run it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest
import soundfile
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.audio import io as audio_io
from helpers.hub_server import Hub
from helpers.paths import RECIPE
from helpers.recipe import command, options, run, run_script
from helpers.songs import write_song

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the recipe is a bash script")

ENDLESS = {"max_epochs": 100_000, "schedule": "constant", "patience": 100_000}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Stages 0 to 2, interrupted after the first checkpoint: storage, exit status and stderr.

    The signal goes to the process group, DataLoader workers included, as Ctrl-C does.
    """
    storage = tmp_path_factory.mktemp("storage")
    process = subprocess.Popen(
        command(storage, *options(**ENDLESS, num_workers=1)), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not (storage / "exp" / "demo" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < deadline, "no checkpoint after 5 minutes"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    return storage, process.returncode, stderr


@pytest.fixture(scope="module")
def finished(interrupted, tmp_path_factory):
    """The experiment resumed for an epoch, scored and uploaded.

    Returns:
        Storage, the finished process, epochs before the interruption, and the Hub.
    """
    storage, *_ = interrupted
    checkpoint = storage / "exp" / "demo" / "checkpoints" / "last.ckpt"
    epochs = torch.load(checkpoint, weights_only=True)["epoch"]
    resumed = options(**{**ENDLESS, "max_epochs": epochs + 2})
    with Hub() as hub:
        result = run(
            storage, *resumed, "--stage", "2", "--resume", "--repo_id", "user/model", "--revision",
            "v1", **hub.client(tmp_path_factory.mktemp("home"), "hf_test"),
        )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return storage, result, epochs, hub


def test_interrupted_training_saves_a_checkpoint_and_says_how_to_resume(interrupted):
    _, status, stderr = interrupted
    # The script exits with 130 or, rarely, ends by the signal itself: a shell shows 130 for both.
    assert status in (130, -signal.SIGINT), stderr[-3000:]
    assert "interrupted by" in stderr and "Run the same command again" in stderr
    assert "Traceback" not in stderr and "failed" not in stderr


def test_resumed_training_continues_with_the_next_epoch(finished):
    storage, result, epochs, _ = finished
    assert (storage / "exp" / "demo" / "best_model.pth").exists()
    assert f"Epoch {epochs + 1}" in result.stdout + result.stderr
    assert "Epoch 0:" not in result.stdout + result.stderr


def test_full_run_prints_scores_and_paths(finished):
    storage, result, *_ = finished
    exp = storage / "exp" / "demo"
    table = (exp / "scores" / "scores.md").read_text()
    assert table in result.stdout
    for source in ("bass", "drums", "other", "vocals", "average"):
        assert f"| model | {source} |" in table
    assert "| ideal ratio mask | average |" in table and "SDR by track" in table
    assert str(exp / "published") in result.stdout
    page = exp / "report" / "index.html"
    assert str(page) in result.stdout
    assert "Training" in page.read_text() and "demo_train_songs: 2" in page.read_text()
    assert "--conf m4 --data musdb18hq" in result.stdout


def test_full_run_writes_only_data_and_exp(finished):
    storage, *_ = finished
    assert sorted(path.name for path in storage.iterdir()) == ["data", "exp"]
    assert not list(storage.rglob("*partial*"))
    saved = (storage / "exp" / "demo" / "conf.yml").read_text()
    assert "levels: 3" in saved and "patience:" in saved


def test_published_model_separates_a_file(finished, tmp_path):
    storage, *_ = finished
    song = next((storage / "data").glob("demo_*/test/*/mixture.wav"))
    model = WaveUNet.from_pretrained(storage / "exp" / "demo" / "published")
    mixture, rate = audio_io.read(song)
    paths = model.file_separate(song, tmp_path)
    total = sum(audio_io.read(path)[0] for path in paths.values())
    assert soundfile.info(paths["vocals"]).samplerate == rate
    torch.testing.assert_close(total, mixture, atol=1e-5, rtol=0)


def test_model_is_uploaded_with_its_tag_and_examples(finished):
    storage, result, _, hub = finished
    assert f"{hub.url}/user/model (tagged v1; " in result.stdout
    assert 'WaveUNet.from_pretrained("user/model@v1")' in result.stdout
    files = hub.repos["user/model"].commits[hub.repos["user/model"].tags["v1"]]
    published = storage / "exp" / "demo" / "published"
    assert files["README.md"] == (published / "README.md").read_bytes()
    assert any(path.startswith("examples/") for path in files), "excerpts of generated songs"


def test_second_run_skips_finished_work(finished):
    storage, *_ = finished
    patterns = ("*.wav", "*.npy", "best_model.pth", "scores/test/*.json", "demo/report/index.html")
    kept = [path for pattern in patterns for path in storage.rglob(pattern)]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert len(before) > 10
    exp = storage / "exp" / "demo"
    folders = ("--exp_dir", exp, "--data_dir", storage / "data")
    run_script("configure", *folders, "--conf", exp / "conf.yml", "--cluster=auto")
    for name in ("data", "prepare", "train", "evaluate"):
        run_script(name, *folders)
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_own_songs_of_any_names_and_stems_are_trained_on(tmp_path, monkeypatch):
    """Stems that are not MUSDB18's, and names whose bytes are no UTF-8."""
    for subset, names in {"train": (b"caf\xe9", b"b"), "test": (b"\xff <b> &",)}.items():
        for name in map(os.fsdecode, names):
            write_song(tmp_path / "mine" / subset / name, stems=("piano", "voice"), seconds=2)
    monkeypatch.chdir(tmp_path)
    folders = ("--exp_dir", "here/exp/small_mine", "--data_dir", "here/data")
    run_script(
        "configure", *folders, "--conf", RECIPE / "conf" / "small.yml", "--dataset", "mine",
        "--sources", "[voice]", "--output", "direct", "--preset", "null", "--in_channels", "1",
        *options(),
    )  # fmt: skip
    for name in ("data", "prepare", "train", "evaluate", "publish"):
        run_script(name, *folders)
    exp = tmp_path / "here" / "exp" / "small_mine"
    for page in ("report/index.html", "published/report/index.html"):
        assert "\\udcff &lt;b&gt; &amp;" in (exp / page).read_text("utf-8")
    model = WaveUNet.from_pretrained("here/exp/small_mine/best_model.pth")
    assert model.sources == ("voice",) and model.in_channels == 1
