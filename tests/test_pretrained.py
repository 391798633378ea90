"""Weights that come with the package: registered, small, documented, loaded by name and offline."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from asteroid_waveunet import WaveUNet, pretrained
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.weights import serialization
from helpers.models import assert_same_model
from helpers.paths import ROOT

LARGEST = 12_000_000  # bytes


@pytest.mark.parametrize("name", pretrained.names())
def test_weights_have_a_card_and_stay_small(name):
    weights, folder = pretrained.WEIGHTS[name], pretrained.folder(name)
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert files.keys() >= {"model.safetensors", "README.md", "sources.json"}
    assert sum(files.values()) <= LARGEST
    card = (folder / "README.md").read_text()
    assert weights.license in card
    for figure in ("vocals", "accompaniment", "mixture", "ideal ratio mask"):
        assert figure in card, "scores with baselines"


def test_names_load_without_a_network(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    model = WaveUNet.from_pretrained("free")
    assert (model.sources, model.in_channels) == (("accompaniment", "vocals"), 2)
    assert not model.training
    by_path = WaveUNet.from_pretrained(pretrained.folder("free"))
    assert_same_model(model, by_path, 0.1 * torch.randn(2, 5000))
    if (ROOT / "hubconf.py").exists():
        loaded = torch.hub.load(str(ROOT), "waveunet", source="local", pretrained="free")
        assert_same_model(loaded, model, 0.1 * torch.randn(2, 5000))


def test_existing_folder_takes_precedence_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = WaveUNet(("a", "b"), levels=2, initial_filters=3)
    serialization.save(own.serialize(), tmp_path / "free")
    assert WaveUNet.from_pretrained("free").sources == ("a", "b")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'paid'.*free"):
        pretrained.folder("paid")
    with pytest.raises(FileNotFoundError, match="'paid'.*free.*user/model"):
        WaveUNet.from_pretrained("paid")


def test_hub_entry_refuses_two_sources_of_weights(monkeypatch):
    if (ROOT / "hubconf.py").exists():
        with pytest.raises(ValueError, match="'model'.*'free'.*not both"):
            torch.hub.load(str(ROOT), "waveunet", "model", source="local", pretrained="free")


def test_separate_uses_the_default_weights_and_says_how_good_they_are(tmp_path, capsys):
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    song = np.stack((tone, -tone), axis=1)
    soundfile.write(tmp_path / "song.wav", song, 44100, "PCM_16")
    assert main(["separate", str(tmp_path / "song.wav"), "-o", str(tmp_path / "out")]) == 0
    err = capsys.readouterr().err
    assert f"weights: {pretrained.DEFAULT}" in err
    assert pretrained.WEIGHTS[pretrained.DEFAULT].scores in err and "dB" in err
    stems = {p.stem: soundfile.read(p) for p in (tmp_path / "out" / "song").glob("*.wav")}
    assert stems.keys() == {"accompaniment", "vocals"}
    for samples, rate in stems.values():
        assert samples.shape == (44100, 2) and rate == 44100
    total = sum(samples for samples, _ in stems.values())
    assert np.abs(total - song)[1000:-1000].max() < 1e-3, "stems sum to the song"
