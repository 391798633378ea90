"""`waveunet publish --space` with the real client, over HTTP to a local server."""

from __future__ import annotations

import json

import huggingface_hub
import pytest

from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment.web import folder, server
from asteroid_waveunet.weights import serialization
from helpers import hub_server
from helpers.hub_server import Hub
from helpers.models import tiny, write_placeholder
from helpers.trained import experiment


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with Hub() as hub:
        hub_server.connect(hub, tmp_path, monkeypatch)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield hub


@pytest.fixture(autouse=True)
def quick_export(monkeypatch):
    """Bytes of real exports are repeatable: see tests/streaming/test_export.py."""
    monkeypatch.setattr(folder, "export_step", write_placeholder)


@pytest.fixture
def model(tmp_path):
    place = tmp_path / "my_model"
    serialization.save(tiny(levels=1, sample_rate=8000, sources=("a", "b")).serialize(), place)
    return str(place)


def files_of(hub, space: str) -> dict[str, bytes]:
    repo = hub.repos[f"spaces/{space}"]
    return repo.commits[repo.branches["main"]]


def test_page_of_a_model_becomes_a_static_isolated_space(hub, model, capsys):
    words = ["publish", model, "--space", "user/stems", "--license", "cc-by-4.0"]
    assert main([*words, "--private", "--revision", "v1"]) == 0
    assert f"{hub.url}/spaces/user/stems (private; tagged v1" in capsys.readouterr().out
    files = files_of(hub, "user/stems")
    local = {*folder.CONTENTS, "README.md", ".gitattributes"} - {"runtime"}
    assert files.keys() == local
    card = huggingface_hub.RepoCard(files["README.md"].decode()).data.to_dict()
    assert (card["sdk"], card["license"], card.get("models")) == ("static", "cc-by-4.0", None)
    headers = {name.lower(): value for name, value in server.ISOLATION.items()}
    assert card["custom_headers"] == headers
    assert json.loads(files["model.json"])["license"] == "cc-by-4.0"
    assert "CC BY 4.0" in files["README.md"].decode()

    written = len(hub.written)
    assert main([*words, "--private", "--revision", "v1"]) == 0  # the same page: no commit
    assert "no changes" in capsys.readouterr().out and len(hub.written) == written


def test_dry_run_lists_the_page_and_sends_nothing(hub, model, capsys):
    assert main(["publish", model, "--space", "user/stems", "--dry-run"]) == 0
    assert "model.onnx" in capsys.readouterr().out and hub.requests == []


def test_page_of_an_experiment_states_its_terms(hub, tmp_path, capsys):
    exp = experiment(tmp_path)[1].exp_dir
    assert main(["publish", str(exp), "--space", "band/stems"]) == 0, capsys.readouterr().err
    files = files_of(hub, "band/stems")
    facts = json.loads(files["model.json"])
    assert facts["name"] == exp.name and "trained on" in facts["about"]
    assert (
        "License" in files["README.md"].decode() or "licensed under" in files["README.md"].decode()
    )
    assert not any(name.startswith("band/") for name in hub.repos)  # the model is not published


def test_spaces_of_others_and_missing_rights_are_refused(hub, model, capsys):
    words = ["publish", model, "--space"]
    hub.commit("spaces/user/app", {"app.py": b"print()"})
    for space, message in {
        "user/app": "already holds other files (app.py)",
        "stranger/stems": "may not write to stranger/stems",
    }.items():
        assert main([*words, space]) == 1
        assert message in capsys.readouterr().err
    assert main(["publish", model, "--space", "user/x", "--repo-id", "user/model"]) == 1
    assert "--repo-id only apply to an experiment" in capsys.readouterr().err
    assert hub.written == []
