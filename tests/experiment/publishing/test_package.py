"""The published package: complete, loadable, and true to its model and data."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.data import splits
from asteroid_waveunet.experiment.publishing import package
from asteroid_waveunet.experiment.settings import Data, Evaluation, Training
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights import serialization
from helpers.models import SYSTEMS, assert_same_model, tiny
from helpers.scores import RATE, STEMS, TWO
from helpers.songs import write_song
from helpers.trained import experiment, score


def pack(tmp_path, **settings):
    """Package a new experiment with a dry run."""
    configuration, places = experiment(tmp_path, **settings)
    package.publish(configuration, places, dry_run=True)
    return configuration, places


def card_of(places) -> ModelCard:
    return ModelCard.load(places.published / "README.md")


def notice_of(places) -> str:
    return (places.published / "NOTICE.md").read_text()


def excerpts_of(places) -> list[Path]:
    return [*places.published.glob("examples/*/*.flac")]


def test_package_has_weights_configuration_scores_card_notice_page_and_excerpts(tmp_path):
    configuration, places = pack(tmp_path)
    names = {path.name for path in places.published.iterdir()}
    assert names == set(package.CONTENTS)
    model = WaveUNet.from_pretrained(places.best_model)
    assert_same_model(WaveUNet.from_pretrained(places.published), model, torch.randn(2, 100))
    scores = json.loads((places.published / "scores.json").read_text())
    summary = json.loads((places.scores / "summary.json").read_text())
    assert scores == summary["systems"]["model"]
    assert (places.published / "scores.md").read_text() == (places.scores / "scores.md").read_text()
    infos = json.loads((places.published / "config.json").read_text())["infos"]
    assert infos["final_metrics"] == scores
    trained = serialization.read(places.best_model)["infos"]
    assert infos["software_versions"] == trained["software_versions"], "those of the training"
    page = (places.published / "report" / "index.html").read_text()
    assert trained["software_versions"]["torch_version"] in page and platform.platform() not in page
    assert "audio/" not in page and "Tracks to look at</h2>" in page
    assert configuration.as_yaml() == (places.published / "conf.yml").read_text()


def test_every_architecture_has_a_card_of_its_own(tmp_path):
    for name, build in SYSTEMS.items():
        _, places = pack(tmp_path / name, build=build)
        model = SourceModel.from_pretrained(places.best_model)
        kind = type(model)
        assert_same_model(kind.from_pretrained(places.published), model, torch.randn(2, 100))
        text = card_of(places).text
        assert f"model = {kind.__name__}.from_pretrained(" in text
        assert f'"{kind.__name__.lower()}", "USER/MODEL"' in text, "the entry of torch.hub"
        assert "WaveUNet" not in text.replace(kind.__name__, ""), name
        assert f"- {next(reversed(model.get_model_args()))}:".replace("_", " ") in text, name


def test_package_is_reproducible_byte_for_byte(tmp_path, monkeypatch):
    monkeypatch.undo()  # real plots
    configuration, places = pack(tmp_path)
    files = package.packaged_files(places.published)
    before = {file: (places.published / file).read_bytes() for file in files}
    package.publish(configuration, places)
    assert package.packaged_files(places.published) == files
    assert all((places.published / f).read_bytes() == content for f, content in before.items())


def test_card_has_valid_metadata_and_every_sdr_with_its_protocol_and_aggregation(tmp_path):
    configuration, places = pack(tmp_path)
    card = card_of(places)
    data = card.data
    assert (data.library_name, data.pipeline_tag, data.license) == (
        "asteroid", "audio-to-audio", "mit",
    )  # fmt: skip
    assert {"asteroid", "audio", "audio-source-separation"} <= set(data.tags)
    scores = json.loads((places.published / "scores.json").read_text())
    results = {result.metric_name: result for result in data.eval_results}
    targets = "two-source (accompaniment, vocals)"
    for source in TWO:
        for key, title in {
            "median": "median over all windows",
            "median_of_medians": "median over tracks of their medians",
        }.items():
            result = results.pop(f"SDR {source} ({title}; {targets}; dB)")
            assert result.metric_value == round(scores[source]["SDR"][key], 3)
            assert result.metric_args["aggregation"] == key
            assert targets in result.metric_args["protocol"]
            assert (result.dataset_split, result.metric_type) == ("test", "sdr")
    assert not results, "baselines are in the table only"
    assert (places.scores / "scores.md").read_text().strip() in card.content
    assert "Only the SDR was computed" in card.content
    assert configuration.as_yaml().strip() in card.content
    for heading in ("Use", "Scores", "Architecture", "Data", "Training", "Intended use", "Limits"):
        assert f"\n## {heading}\n" in card.content
    assert "stoller2018waveunet" in card.content and "levels: 2, 4 filters" in card.content


@pytest.mark.parametrize(
    ("dataset", "settings", "license", "expected"),
    [
        ("demo", {}, "mit", "licensed under [the MIT license]"),
        ("musdb18hq", {}, "cc-by-nc-sa-4.0", "non-commercial use only"),
        ("musdb18", {"license": "other"}, "other", "@misc{musdb18,"),
        ("songs", {}, "unknown", "No license is stated"),
        ("songs", {"license": "cc0-1.0"}, "cc0-1.0", "licensed under [CC0 1.0]"),
        ("songs", {"data_name": "My Songs"}, "unknown", "trained on My Songs"),
    ],
)
def test_license_follows_from_the_data(tmp_path, dataset, settings, license, expected):
    if dataset == "songs":
        write_song(tmp_path / "songs" / "train" / "one")
        dataset = str(tmp_path / "songs")
    _, places = pack(tmp_path, dataset=dataset, **settings)
    card, notice = card_of(places), notice_of(places)
    assert card.data.license == license
    assert expected in card.content
    section = card.content.split("## License\n\n")[1].split("\n\n")[0]
    assert section in notice and card.data.to_dict().get("license_link") in (None, "NOTICE.md")
    assert str(tmp_path) not in card.content + (places.published / "conf.yml").read_text()
    assert len(excerpts_of(places)) == (3 if dataset == "demo" else 0)
    assert ("## Examples" in card.content) == ("licensed" in notice.split("\n\n")[2])


def write_musdb18_song(root: Path, suffix: str = "") -> str:
    """Write a song with a name of MUSDB18's validation set; return its data set."""
    write_song(root / "train" / (min(splits.OFFICIAL_VALIDATION) + suffix))
    return str(root)


def test_folder_with_songs_or_excerpts_of_musdb18_has_its_license(tmp_path):
    for suffix in ("", " 030s"):
        folder = tmp_path / f"case{suffix}"
        _, places = pack(folder, dataset=write_musdb18_song(folder / "mine", suffix))
        data = card_of(places).data
        assert (data.license, data.datasets) == ("cc-by-nc-sa-4.0", ["musdb18"]), suffix


def test_data_set_combined_with_musdb18_keeps_its_name_and_excerpts(tmp_path):
    write_song(tmp_path / "songs" / "train" / "one")
    _, places = pack(
        tmp_path,
        dataset=str(tmp_path / "songs"),
        extra=[write_musdb18_song(tmp_path / "more")],
        license="cc-by-nc-4.0",
        examples=True,
        examples_license="cc-by-4.0",
    )
    card = card_of(places)
    assert card.data.datasets is None and card.data.license == "cc-by-nc-4.0"
    assert "songs. A private collection" in notice_of(places)
    assert "also trained on MUSDB18" in card.content
    assert len(excerpts_of(places)) == 3


def test_unlicensed_weights_and_excerpts_are_refused(tmp_path):
    write_musdb18_song(tmp_path / "mine")
    for dataset, settings, expected in (
        ("mine", {"license": "mit"}, "license is 'mit'.*MUSDB18.*non-commercial"),
        ("mine", {"examples": True}, "MUSDB18 may not be published.*examples must be false"),
        ("gone", {}, "gone is missing.*--license"),
        ("gone", {"license": "mit", "examples": True}, "examples_license, such as cc-by"),
        ("gone", {"license": "mit", "examples_license": "mit"}, "but examples is not true"),
    ):
        folder = tmp_path / f"{dataset} {settings}"
        configuration, places = experiment(folder, dataset=str(tmp_path / dataset), **settings)
        with pytest.raises((ValueError, OSError), match=expected):
            package.publish(configuration, places)
        assert not places.published.exists(), expected


def test_excerpts_of_own_songs_are_included_under_their_stated_license(tmp_path):
    settings = {"license": "mit", "examples": True, "examples_license": "cc-by-4.0"}
    _, places = pack(tmp_path, dataset=str(tmp_path / "gone"), **settings)
    assert "`examples/` are licensed under [CC BY 4.0]" in notice_of(places)
    assert len(excerpts_of(places)) == 3


def test_packing_again_keeps_files_that_are_not_of_the_package(tmp_path):
    configuration, places = pack(tmp_path)
    (places.published / "mine").write_text("")
    (places.published / "folder").mkdir()
    (places.published / "folder" / "mine").write_text("")
    (places.published / "conf.yml").write_text("")
    (places.published / "examples" / "stale.flac").write_text("")
    package.publish(configuration, places)
    assert (places.published / "mine").exists() and (places.published / "folder" / "mine").exists()
    assert (places.published / "conf.yml").read_text()
    assert not (places.published / "examples" / "stale.flac").exists()
    assert "mine" not in package.packaged_files(places.published)
    assert not list(tmp_path.rglob("*partial*"))


def test_damaged_weights_leave_the_earlier_package(tmp_path, monkeypatch):
    configuration, places = pack(tmp_path)
    save = serialization.save

    def save_damaged(conf, folder):
        state = {name: x + 1 for name, x in conf["state_dict"].items()}
        save({**conf, "state_dict": state}, folder)

    monkeypatch.setattr(serialization, "save", save_damaged)
    before = (places.published / serialization.BIN).read_bytes()
    with pytest.raises(RuntimeError, match="differ from the trained model's"):
        package.publish(configuration, places)
    assert (places.published / serialization.BIN).read_bytes() == before
    assert not list(tmp_path.rglob("*partial*"))


def test_scores_of_another_model_and_missing_scores_are_refused(tmp_path):
    configuration, places = experiment(tmp_path)
    other = tiny(sources=TWO, in_channels=2, sample_rate=RATE)
    serialization.write(other.serialize(), places.best_model)
    with pytest.raises(ValueError, match="scores of another model"):
        package.publish(configuration, places)
    (places.scores / "summary.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*summary.json; score the model first"):
        package.publish(configuration, places)
    places.best_model.unlink()
    with pytest.raises(FileNotFoundError, match="run stage 2"):
        package.publish(configuration, places)


def test_incomplete_scores_are_refused(tmp_path):
    configuration, places = experiment(tmp_path)
    summary = places.scores / "summary.json"
    summary.write_text(summary.read_text().replace('"tracks": 1,', '"tracks": 2,', 1))
    with pytest.raises(ValueError, match="lacks scores of some of its 2 tracks"):
        package.publish(configuration, places)
    next(places.scores.glob("test/*.json")).unlink()
    with pytest.raises(FileNotFoundError, match="There are no scores in"):
        package.publish(configuration, places)


def test_card_states_unusual_scoring(tmp_path):
    configuration, places = pack(tmp_path)
    assert "scored estimates differ" not in card_of(places).content
    unusual = replace(
        configuration,
        training=replace(configuration.training, loss="neg_sisdr"),
        evaluation=Evaluation(prediction="segments", fit_levels=True),
    )
    with pytest.raises(ValueError, match=r"another model.* way of separating \(.*, not .*fitted"):
        package.publish(unusual, places)
    shutil.rmtree(places.scores)
    score(unusual, places, WaveUNet.from_pretrained(places.best_model))
    package.publish(unusual, places)
    card = card_of(places)
    how = "in segments of 16384 samples, levels fitted to the mixture"
    assert f"scored estimates differ from those of the code above: {how}." in card.content
    assert how.replace(",", ";") in card.data.eval_results[0].metric_name
    assert "ignores levels and signs" in card.content


def test_card_of_a_mono_model_states_how_stereo_songs_were_scored(tmp_path):
    for channels in (1, 2):
        _, places = pack(
            tmp_path / str(channels),
            build=lambda channels=channels, **of: tiny(**{**of, "in_channels": channels}),
        )
        assert ("mean of a song's channels" in card_of(places).content) == (channels == 1)


def test_card_of_four_sources_names_their_protocol(tmp_path):
    _, places = pack(tmp_path, sources=STEMS)
    names = [result.metric_name for result in card_of(places).data.eval_results]
    assert len(names) == 8 and all("four-source (bass, drums, other, vocals)" in n for n in names)


def test_command_requires_an_experiment_and_a_repository(tmp_path, capsys):
    _, places = experiment(tmp_path)
    assert main(["publish", str(places.exp_dir)]) == 1
    assert "--repo-id user/name" in capsys.readouterr().err
    assert main(["publish", str(tmp_path), "--dry-run"]) == 1
    assert "has no conf.yml" in capsys.readouterr().err
    assert not places.published.exists()


def test_published_configuration_has_no_local_paths(tmp_path):
    (tmp_path / "weights").mkdir()
    data = Data(
        str(tmp_path / "mine"), extra=[str(tmp_path / "more"), "free"],
        valid_data=str(tmp_path / "other"), soundfont=str(tmp_path / "GM.sf2"),
        voices=[str(tmp_path / "sung")],
    )  # fmt: skip
    configuration = Configuration({}, data, Training(init=str(tmp_path / "weights")))
    text = package._without_local_paths(configuration).as_yaml()
    assert str(tmp_path) not in text
    for name in ("mine", "more", "other", "GM.sf2", "sung", "init: weights"):
        assert name in text
