"""The published folder: whole, loadable every way, and truthful about itself."""

from __future__ import annotations

import json
import platform
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment.data import splits
from asteroid_waveunet.experiment.publishing import package
from asteroid_waveunet.experiment.settings import Evaluation
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights import serialization
from helpers.models import SYSTEMS, assert_same_model, tiny
from helpers.scores import RATE, STEMS, TWO
from helpers.songs import write_song
from helpers.trained import experiment, score


def pack(tmp_path, **how):
    """An experiment, packed as stage 4 and a dry run of `waveunet publish` do it."""
    configuration, places = experiment(tmp_path, **how)
    package.publish(configuration, places, dry_run=True)
    return configuration, places


def card_of(places) -> ModelCard:
    return ModelCard.load(places.published / "README.md")


def test_the_folder_holds_weights_configuration_scores_card_notice_page_and_pieces(tmp_path):
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
    assert infos["software_versions"] == trained["software_versions"], "those it was trained with"
    page = (places.published / "report" / "index.html").read_text()
    assert trained["software_versions"]["torch_version"] in page and platform.platform() not in page
    assert "audio/" not in page and "Tracks to look at</h2>" in page
    assert configuration.as_yaml() == (places.published / "conf.yml").read_text()


@pytest.mark.parametrize("build", SYSTEMS.values(), ids=SYSTEMS)
def test_every_architecture_is_published_under_its_own_name(tmp_path, build):
    _, places = pack(tmp_path, build=build)
    model = SourceModel.from_pretrained(places.best_model)
    kind = type(model)
    assert_same_model(kind.from_pretrained(places.published), model, torch.randn(2, 100))
    text = card_of(places).text
    assert f"model = {kind.__name__}.from_pretrained(" in text
    assert f'"{kind.__name__.lower()}", "USER/MODEL"' in text, "the entry of torch.hub"
    assert "WaveUNet" not in text.replace(kind.__name__, "")
    assert f"- {next(reversed(model.get_model_args()))}:".replace("_", " ") in text


def test_the_same_model_is_the_same_folder_byte_for_byte(tmp_path):
    configuration, places = pack(tmp_path)
    files = package.files_of(places.published)
    before = {file: (places.published / file).read_bytes() for file in files}
    package.publish(configuration, places)
    assert package.files_of(places.published) == files
    assert all((places.published / f).read_bytes() == content for f, content in before.items())


def test_the_card_is_valid_and_holds_every_sdr_with_its_protocol_and_aggregation(tmp_path):
    configuration, places = pack(tmp_path)
    card = card_of(places)
    data = card.data
    assert (data.library_name, data.pipeline_tag, data.license) == (
        "asteroid", "audio-to-audio", "mit",
    )  # fmt: skip
    assert {"asteroid", "audio", "audio-source-separation"} <= set(data.tags)
    scores = json.loads((places.published / "scores.json").read_text())
    results = {result.metric_name: result for result in data.eval_results}
    together = "two-source (accompaniment, vocals)"
    for source in TWO:
        for key, title in {
            "median": "median over all windows",
            "median_of_medians": "median over tracks of their medians",
        }.items():
            result = results.pop(f"SDR {source} ({title}; {together}; dB)")
            assert result.metric_value == round(scores[source]["SDR"][key], 3)
            assert result.metric_args["aggregation"] == key
            assert together in result.metric_args["protocol"]
            assert (result.dataset_split, result.metric_type) == ("test", "sdr")
    assert not results, "baselines are in the table only"
    assert (places.scores / "scores.md").read_text().strip() in card.content
    assert "Only the SDR was computed" in card.content
    assert configuration.as_yaml().strip() in card.content
    for heading in ("Use", "Scores", "Architecture", "Data", "Training", "Intended use", "Limits"):
        assert f"\n## {heading}\n" in card.content
    assert "stoller2018waveunet" in card.content and "levels: 2, 4 filters" in card.content


@pytest.mark.parametrize(
    ("dataset", "said", "license_id", "says"),
    [
        ("demo", {}, "mit", "licensed under [the MIT licence]"),
        ("musdb18hq", {}, "cc-by-nc-sa-4.0", "non-commercial use only"),
        ("musdb18", {"license": "other"}, "other", "@misc{musdb18,"),
        ("songs", {}, "unknown", "No license is stated"),
        ("songs", {"license": "cc0-1.0"}, "cc0-1.0", "licensed under [CC0 1.0]"),
        ("songs", {"data_name": "My Songs"}, "unknown", "trained on My Songs"),
    ],
)
def test_the_licence_follows_the_data(tmp_path, dataset, said, license_id, says):
    if dataset == "songs":
        write_song(tmp_path / "songs" / "train" / "one")
        dataset = str(tmp_path / "songs")
    _, places = pack(tmp_path, dataset=dataset, **said)
    card = card_of(places)
    assert card.data.license == license_id
    assert says in card.content
    notice = (places.published / "NOTICE.md").read_text()
    licence = card.content.split("## Licence\n\n")[1].split("\n\n")[0]
    assert licence in notice and card.data.to_dict().get("license_link") in (None, "NOTICE.md")
    assert str(tmp_path) not in card.content + (places.published / "conf.yml").read_text()
    pieces = [*places.published.glob("examples/*/*.flac")]
    assert len(pieces) == (3 if dataset == "demo" else 0)
    assert ("## Examples" in card.content) == ("licensed" in notice.split("\n\n")[2])


def songs_of_musdb18(root: Path, excerpt: str = "") -> str:
    write_song(root / "train" / (min(splits.OFFICIAL_VALIDATION) + excerpt))
    return str(root)


@pytest.mark.parametrize("excerpt", ["", " 030s"])
def test_a_folder_of_musdb18_is_bound_by_its_licence(tmp_path, excerpt):
    _, places = pack(tmp_path, dataset=songs_of_musdb18(tmp_path / "mine", excerpt))
    card = card_of(places)
    assert card.data.license == "cc-by-nc-sa-4.0" and card.data.datasets == ["musdb18"]


def test_a_folder_beside_one_of_musdb18_keeps_its_name_and_its_songs(tmp_path):
    write_song(tmp_path / "songs" / "train" / "one")
    _, places = pack(
        tmp_path,
        dataset=str(tmp_path / "songs"),
        extra=[songs_of_musdb18(tmp_path / "more")],
        license="cc-by-nc-4.0",
        examples=True,
        examples_license="cc-by-4.0",
    )
    card = card_of(places)
    assert card.data.datasets is None and card.data.license == "cc-by-nc-4.0"
    assert "songs. A private collection" in (places.published / "NOTICE.md").read_text()
    assert "also trained on MUSDB18" in card.content
    assert len([*places.published.glob("examples/*/*.flac")]) == 3


@pytest.mark.parametrize(
    ("dataset", "said", "says"),
    [
        ("mine", {"license": "mit"}, "license is 'mit', and MUSDB18 is for non-commercial use"),
        ("mine", {"examples": True}, "songs of MUSDB18 may not be published"),
        ("gone", {}, "gone is gone, so that nothing tells under which licence"),
        ("gone", {"license": "mit", "examples": True}, "examples_license, such as"),
        ("gone", {"license": "mit", "examples_license": "mit"}, "but examples is not true"),
    ],
)
def test_what_may_not_be_published_is_not(tmp_path, dataset, said, says):
    songs_of_musdb18(tmp_path / "mine")
    configuration, places = experiment(tmp_path, dataset=str(tmp_path / dataset), **said)
    with pytest.raises((ValueError, OSError), match=re.escape(says)):
        package.publish(configuration, places)
    assert not places.published.exists()


def test_pieces_of_ones_own_songs_go_along_where_their_licence_is_stated(tmp_path):
    said = {"license": "mit", "examples": True, "examples_license": "cc-by-4.0"}
    _, places = pack(tmp_path, dataset=str(tmp_path / "gone"), **said)
    assert (
        "`examples/` are licensed under [CC BY 4.0]" in (places.published / "NOTICE.md").read_text()
    )
    assert len([*places.published.glob("examples/*/*.flac")]) == 3


def test_packing_again_replaces_its_own_files_only(tmp_path):
    configuration, places = pack(tmp_path)
    (places.published / "mine").write_text("")
    (places.published / "conf.yml").write_text("")
    (places.published / "examples" / "stale.flac").write_text("")
    package.publish(configuration, places)
    assert (places.published / "mine").exists()
    assert (places.published / "conf.yml").read_text()
    assert not (places.published / "examples" / "stale.flac").exists()
    assert "mine" not in package.files_of(places.published)
    assert not list(tmp_path.rglob("*partial*"))


def test_scores_that_are_not_the_models_are_not_published(tmp_path):
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


def test_how_estimates_were_scored_is_said_where_it_is_not_how_they_are_made(tmp_path):
    configuration, places = pack(tmp_path)
    assert "lines above give" not in card_of(places).content
    odd = replace(
        configuration,
        training=replace(configuration.training, loss="neg_sisdr"),
        evaluation=Evaluation(prediction="segments", fit_levels=True),
    )
    with pytest.raises(ValueError, match=r"another model.* way of separating \(.*, not .*fitted"):
        package.publish(odd, places)
    shutil.rmtree(places.scores)
    score(odd, places, WaveUNet.from_pretrained(places.best_model))
    package.publish(odd, places)
    card = card_of(places)
    how = "in segments of 16384 samples, levels fitted to the mixture"
    assert f"not what the lines above give: {how}." in card.content
    assert how.replace(",", ";") in card.data.eval_results[0].metric_name
    assert "leaves levels and signs open" in card.content


@pytest.mark.parametrize("channels", [1, 2])
def test_mono_models_are_scored_as_the_papers_and_that_is_said(tmp_path, channels):
    _, places = pack(tmp_path, build=lambda **of: tiny(**{**of, "in_channels": channels}))
    assert ("the mean of a song's channels" in card_of(places).content) == (channels == 1)


def test_scores_of_some_tracks_only_are_not_published(tmp_path):
    configuration, places = experiment(tmp_path)
    summary = places.scores / "summary.json"
    summary.write_text(summary.read_text().replace('"tracks": 1,', '"tracks": 2,', 1))
    with pytest.raises(ValueError, match="lacks scores of some of its 2 tracks"):
        package.publish(configuration, places)
    next(places.scores.glob("test/*.json")).unlink()
    with pytest.raises(FileNotFoundError, match="There are no scores in"):
        package.publish(configuration, places)


def test_four_sources_are_another_protocol(tmp_path):
    _, places = pack(tmp_path, sources=STEMS)
    names = [result.metric_name for result in card_of(places).data.eval_results]
    assert len(names) == 8 and all("four-source (bass, drums, other, vocals)" in n for n in names)


def test_the_command_says_what_is_no_experiment_and_asks_for_a_name(tmp_path, capsys):
    _, places = experiment(tmp_path)
    assert main(["publish", str(places.exp_dir)]) == 1
    assert "--repo-id user/name" in capsys.readouterr().err
    assert main(["publish", str(tmp_path), "--dry-run"]) == 1
    assert "has no conf.yml" in capsys.readouterr().err
    assert not places.published.exists()
