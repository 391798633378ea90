"""The published folder: whole, loadable every way, and truthful about itself."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import assert_same_model, tiny
from huggingface_hub import ModelCard

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment.configuration import Configuration, Data, Publishing
from asteroid_waveunet.experiment.publishing import pack

SUMMARY = {
    source: {"SDR": {"median": 3.21, "median_of_medians": None, "windows": 7}}
    for source in ("bass", "vocals")
}
TABLE = "| Source | SDR |\n|---|---:|\n| bass | 3.21 |\n"


def packed(tmp_path, dataset="demo", **publishing):
    model = tiny(sources=("bass", "vocals"), in_channels=2)
    configuration = Configuration(
        {"preset": "M4"}, data=Data(dataset=dataset), publishing=Publishing(**publishing)
    )
    return model, pack(model, tmp_path / "published", configuration, SUMMARY, TABLE)


def test_the_folder_holds_weights_configuration_and_card(tmp_path):
    model, folder = packed(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "pytorch_model.bin", "model.safetensors", "config.json", "conf.yml", "scores.json",
        "README.md",
    }  # fmt: skip
    loaded = WaveUNet.from_pretrained(folder)
    mixture = torch.randn(2, 100)
    assert_same_model(loaded, model, mixture)
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["bass"]["SDR"]["windows"] == 7
    config = json.loads((folder / "config.json").read_text())
    assert config["infos"]["final_metrics"]["bass"]["SDR"]["median"] == 3.21
    assert config["infos"]["final_metrics"]["bass"]["SDR"]["median_of_medians"] is None


def test_the_card_is_valid_and_holds_the_scores(tmp_path):
    _, folder = packed(tmp_path)
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "asteroid"
    assert card.data.license == "mit"
    results = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert results["SDR bass (pooled median, BSS Eval v4, dB)"] == 3.21
    assert len(results) == 2, "a figure that is NaN is none"
    assert TABLE.strip() in card.content


@pytest.mark.parametrize(
    ("dataset", "publishing", "license_id", "says"),
    [
        ("musdb18hq", {}, "cc-by-nc-sa-4.0", "non-commercial use only"),
        ("/my/songs", {}, "unknown", "has stated no licence"),
        ("/my/songs", {"license": "cc0-1.0"}, "cc0-1.0", "licensed under cc0-1.0"),
        ("/my/songs", {"data_name": "My Songs"}, "unknown", "trained on My Songs"),
    ],
)
def test_the_licence_follows_the_data(tmp_path, dataset, publishing, license_id, says):
    _, folder = packed(tmp_path, dataset, **publishing)
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == license_id
    assert says in card.content


def test_packing_again_replaces_its_own_files_only(tmp_path):
    _, folder = packed(tmp_path)
    (folder / "mine").write_text("")
    (folder / "conf.yml").write_text("")
    packed(tmp_path)
    assert (folder / "mine").exists()
    assert (folder / "conf.yml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["published"]


def test_a_folder_of_musdb18_is_bound_by_its_licence(tmp_path):
    model = tiny(sources=("bass", "vocals"))
    configuration = Configuration({"preset": "M3"}, data=Data(dataset="/somewhere/songs"))
    folder = pack(model, tmp_path / "published", configuration, SUMMARY, TABLE, data="musdb18")
    assert ModelCard.load(folder / "README.md").data.license == "cc-by-nc-sa-4.0"
