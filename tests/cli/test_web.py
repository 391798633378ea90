"""`waveunet demo` and `waveunet export --format web`."""

from __future__ import annotations

import json
import threading
import urllib.request
import webbrowser

import pytest

from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment.web import folder, runtime, server
from asteroid_waveunet.weights import serialization
from helpers.models import tiny, write_placeholder
from helpers.paths import ROOT


@pytest.fixture(autouse=True)
def quick_export(monkeypatch):
    monkeypatch.setattr(folder, "export_step", write_placeholder)


@pytest.fixture
def saved(tmp_path):
    serialization.save(tiny(levels=1, sample_rate=8000).serialize(), tmp_path / "my_model")
    return str(tmp_path / "my_model")


@pytest.fixture
def running(monkeypatch):
    """Return the list of servers that a command has started."""
    servers, make = [], server.make_server

    def remembered(*args, **settings):
        servers.append(make(*args, **settings))
        return servers[-1]

    monkeypatch.setattr(server, "make_server", remembered)
    return servers


def test_demo_serves_an_isolated_page_and_opens_the_browser(saved, running, monkeypatch, capsys):
    opened = threading.Event()
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.set())
    statuses = []
    command = threading.Thread(target=lambda: statuses.append(main(["demo", saved])))
    command.start()
    assert opened.wait(120)
    address = server.url(running[0])
    with urllib.request.urlopen(f"{address}model.json") as response:
        facts = json.load(response)
        assert response.headers["Content-Type"] == "application/json"
        assert server.ISOLATION.items() <= dict(response.headers).items()
    assert (facts["name"], facts["license"], facts["sample_rate"]) == ("my_model", None, 8000)
    assert facts["runtime"]["folder"] == runtime.CDN
    with urllib.request.urlopen(address + facts["network"]["name"]) as response:
        assert len(response.read()) == facts["network"]["bytes"]
    running[0].shutdown()
    command.join()
    assert statuses == [0] and address in capsys.readouterr().out


def test_demo_on_a_port_in_use_is_refused(saved, capsys):
    with server.make_server(".") as other:
        assert main(["demo", saved, "--no-browser", "--port", str(other.server_port)]) == 1
    assert f"Port {other.server_port} is in use" in capsys.readouterr().err
    assert main(["demo", saved, "--no-browser", "--port", "70000"]) == 1
    assert "70000" in capsys.readouterr().err


def test_pages_replace_only_earlier_pages(saved, tmp_path, capsys):
    page = tmp_path / "page"
    words = ["export", saved, "--format", "web", "-o", str(page)]
    assert main([*words, "--runtime", str(tmp_path)]) == 1
    assert not page.exists()
    assert main([*words, "--hop", "1024"]) == 0
    assert str(page / "index.html") in capsys.readouterr().out
    assert {path.name for path in page.iterdir()} == {*folder.CONTENTS} - {runtime.LOCAL}
    (page / "thesis.tex").touch()
    assert main(words) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert main(["export", saved, "--format", "web", "-o", str(page / "index.html")]) == 1
    assert "expected a folder" in capsys.readouterr().err


def test_runtimes_of_another_version_are_refused(saved, tmp_path, capsys):
    other = tmp_path / "runtime" / "dist"
    other.mkdir(parents=True)
    words = ["export", saved, "--format", "web", "-o", str(tmp_path / "page")]
    assert main([*words, "--runtime", str(tmp_path)]) == 1
    assert f"npm pack onnxruntime-web@{runtime.VERSION}" in capsys.readouterr().err
    for name, _ in runtime.FILES.values():
        (other / name).write_text("another version")
    assert main([*words, "--runtime", str(other.parent)]) == 1
    assert f"is not of onnxruntime-web {runtime.VERSION}" in capsys.readouterr().err
    assert main(["export", saved, "-o", str(tmp_path / "x.onnx"), "--runtime", "x"]) == 1
    assert main([*words, "--batch-size", "2"]) == 1
    assert not (tmp_path / "page").exists()


def test_pinned_runtime_is_the_one_that_tests_use():
    lock = json.loads((ROOT / "tools/web/package-lock.json").read_text())
    assert lock["packages"]["node_modules/onnxruntime-web"]["version"] == runtime.VERSION
    assert f"onnxruntime-web@{runtime.VERSION}" in (ROOT / "docs/web.md").read_text("utf-8")
