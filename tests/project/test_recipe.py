"""The recipe from nothing to a published folder, as users run it."""

from __future__ import annotations

import shutil

import pytest
import soundfile
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.audio import io as audio_io
from helpers.hub_server import Hub
from helpers.recipe import options, run
from helpers.songs import write_song

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the recipe is a bash script")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """All stages of the smallest experiment, started from another folder."""
    storage = tmp_path_factory.mktemp("storage")
    result = run(storage, *options(), cwd=tmp_path_factory.mktemp("elsewhere"))
    assert result.returncode == 0, result.stderr[-3000:]
    return storage, result


def test_full_run_prints_scores_and_paths(finished):
    storage, result = finished
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
    storage, _ = finished
    assert sorted(path.name for path in storage.iterdir()) == ["data", "exp"]
    assert not list(storage.rglob("*partial*"))
    saved = (storage / "exp" / "demo" / "conf.yml").read_text()
    assert "levels: 3" in saved and "patience:" in saved


def test_published_model_separates_a_file(finished, tmp_path):
    storage, _ = finished
    song = next((storage / "data").glob("demo_*/test/*/mixture.wav"))
    model = WaveUNet.from_pretrained(storage / "exp" / "demo" / "published")
    mixture, rate = audio_io.read(song)
    paths = model.file_separate(song, tmp_path)
    total = sum(audio_io.read(path)[0] for path in paths.values())
    assert soundfile.info(paths["vocals"]).samplerate == rate
    torch.testing.assert_close(total, mixture, atol=1e-5, rtol=0)


def test_second_run_by_tag_skips_finished_work_and_uploads(finished, tmp_path):
    storage, _ = finished
    patterns = ("*.wav", "*.npy", "best_model.pth", "scores/test/*.json", "demo/report/index.html")
    kept = [path for pattern in patterns for path in storage.rglob(pattern)]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert len(before) > 10
    with Hub() as hub:
        named = ["--repo_id", "user/model", "--revision", "v1"]
        result = run(storage, "--tag", "demo", *named, **hub.client(tmp_path, "hf_test"))
        assert result.returncode == 0, result.stderr[-3000:]
        assert f"{hub.url}/user/model (tagged v1; " in result.stdout
        assert 'WaveUNet.from_pretrained("user/model@v1")' in result.stdout
        files = hub.repos["user/model"].commits[hub.repos["user/model"].tags["v1"]]
    published = storage / "exp" / "demo" / "published"
    assert files["README.md"] == (published / "README.md").read_bytes()
    assert any(path.startswith("examples/") for path in files), "excerpts of generated songs"
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_own_songs_with_other_stem_names_are_trained_on(tmp_path):
    for subset, names in {"train": ("a", "b"), "test": ("c",)}.items():
        for name in names:
            write_song(tmp_path / "mine" / subset / name, stems=("piano", "voice"), seconds=2)
    result = run(
        "here", "--data", "mine", "--sources", "[voice]", "--output", "direct", "--preset", "null",
        "--in_channels", "1", *options(), "--stop_stage", "2", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    model = WaveUNet.from_pretrained(tmp_path / "here" / "exp" / "small_mine" / "best_model.pth")
    assert model.sources == ("voice",) and model.in_channels == 1
