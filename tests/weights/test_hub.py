"""Models from the Hub and from URLs: the real HTTP clients, with a local server."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.weights import serialization
from asteroid_waveunet.weights.hub import BIN, CONFIG, SAFETENSORS
from helpers import hub_server
from helpers.hub_server import Hub, Repo
from helpers.models import tiny
from helpers.paths import GOLDEN, ROOT

UNREACHABLE = "http://127.0.0.1:9"


@functools.cache
def model_files(*sources: str) -> dict[str, bytes]:
    """Return the files that `serialization.save` writes, name -> content."""
    with tempfile.TemporaryDirectory() as folder:
        serialization.save(tiny(sources=sources, output="direct").serialize(), folder)
        return {name: Path(folder, name).read_bytes() for name in (BIN, SAFETENSORS, CONFIG)}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub whose client is this process, with an empty cache."""
    with Hub() as hub:
        hub_server.connect(hub, tmp_path, monkeypatch)
        hub.commit("user/model", model_files("old"), tag="v1.0")
        hub.commit("user/model", model_files("new"))
        yield hub


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The client's pauses before its retries, which are skipped."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Run the client as with HF_HUB_OFFLINE=1."""
    with pytest.MonkeyPatch.context() as patch:
        hub_server.set_client_constants(patch, HF_HUB_OFFLINE=True)
        hub_server.close_session()
        yield
    hub_server.close_session()


@contextlib.contextmanager
def unreachable() -> Iterator[None]:
    """Run the client with a Hub that refuses connections."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, UNREACHABLE)
    with pytest.MonkeyPatch.context() as patch:
        hub_server.set_client_constants(
            patch, ENDPOINT=UNREACHABLE, HUGGINGFACE_CO_URL_TEMPLATE=template
        )
        yield


def sources(name: str) -> str:
    """Load a model and return the names of its sources."""
    return "+".join(WaveUNet.from_pretrained(name).sources)


def test_hub_names_and_page_urls_load_and_then_load_offline(hub):
    hub.commit("user/bin", {BIN: model_files("bin")[BIN]})
    hub.commit("user/alone", {SAFETENSORS: model_files("alone")[SAFETENSORS]})
    names = {"user/model": "new", "user/model@v1.0": "old", "user/bin": "bin"}
    names["user/alone"] = "alone"
    pages = {"/user/model": "new", "/user/model/tree/v1.0": "old"}
    pages[f"/user/model/resolve/v1.0/{BIN}"] = "old"
    urls = {f"{hub.url}{page}": source for page, source in pages.items()}
    assert sources("user/model") == "new"
    assert not any(BIN in request for request in hub.requests), "one format is enough"
    expected = {**names, **urls}
    assert {name: sources(name) for name in expected} == expected
    with offline():
        assert {name: sources(name) for name in expected} == expected
    with unreachable():
        assert {name: sources(name) for name in names} == names


def test_missing_hub_models_revisions_and_files_are_reported_without_retries(hub, waits):
    hub.commit("user/empty", {"README.md": b"nothing"})
    hub.repos["user/private"] = Repo(private=True)
    for name, message in {
        "user/none": "'user/none'.*Hugging Face Hub.*private.*hf auth login",
        "user/private": "'user/private'.*Hugging Face Hub.*private.*hf auth login",
        "user/model@v9": "user/model .*no revision 'v9'",
        "user/empty": "user/empty .*no model.safetensors or pytorch_model.bin",
        "user/..": "Hugging Face Hub name 'user/..'",
        "user/x.bin": "'user/x.bin'.*Hugging Face Hub",
    }.items():
        with pytest.raises(FileNotFoundError, match=message):
            sources(name)
    assert waits == []


@pytest.mark.parametrize("disconnected", [offline, unreachable])
def test_unreachable_hub_is_reported_without_retries(hub, waits, disconnected):
    message = "'user/model'.*cache.*unreachable.*Check the network"
    with disconnected(), pytest.raises(OSError, match=message):
        sources("user/model")
    assert waits == []


def test_interrupted_download_is_resumed_or_not_used(hub, waits):
    hub.cut_off = 1
    try:
        first = sources("user/model")
    except OSError as reason:  # old clients do not retry
        first = str(reason)
    assert first == "new" or "user/model cannot be downloaded" in first
    assert sources("user/model") == "new"
    hub.cut_off = 1000
    with pytest.raises(OSError, match="user/model@v1.0 cannot be downloaded"):
        sources("user/model@v1.0")
    with offline(), pytest.raises(OSError, match="user/model@v1.0.*cache has no such model"):
        sources("user/model@v1.0")
    hub.cut_off = 0
    assert sources("user/model@v1.0") == "old"


def test_damaged_download_is_deleted(hub):
    """The client compares sizes only."""
    hub.damage = True
    with pytest.raises(OSError, match="user/model is damaged: the sha256 of model.safetensors"):
        sources("user/model")
    with offline(), pytest.raises(OSError, match="user/model.*cache has no such model"):
        sources("user/model")
    hub.damage = False
    assert sources("user/model") == "new"


def test_asteroid_and_torch_hub_load_from_the_hub_in_a_fresh_process(hub, tmp_path):
    code = (
        "import sys, torch, asteroid_waveunet, asteroid\n"
        "print(*asteroid.models.BaseModel.from_pretrained('user/model').sources)\n"
        "for entry in ('waveunet', 'm4'):\n"
        "    model = torch.hub.load(sys.argv[1], entry, 'user/model@v1.0', source='local')\n"
        "    print(*model.sources)\n"
    )
    process = hub_server.client(hub, tmp_path, code, str(ROOT))
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output.splitlines()[-3:] == ["new", "old", "old"]


def test_converted_checkpoint_loads_after_a_plain_upload(hub, tmp_path):
    """The README publishes it with `hf upload`."""
    folder = tmp_path / "baseline_stereo"
    checkpoint = GOLDEN / "checkpoints" / "tiny_m4" / "tiny_m4-1"
    assert main(["convert", str(checkpoint), "-o", str(folder)]) == 0
    api = huggingface_hub.HfApi(token="hf_test")
    api.create_repo("user/baseline_stereo", exist_ok=True)
    api.upload_folder(repo_id="user/baseline_stereo", folder_path=folder)
    assert sources("user/baseline_stereo") == "accompaniment+vocals"


# Other URLs.


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server that is not the client's Hub, with two model files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "TORCH_HOME"))
    monkeypatch.setenv("NO_PROXY", "*")
    files = model_files("a", "b")
    with Hub() as server:
        server.files = {"/m/model.bin": files[BIN], "/x.safetensors": files[SAFETENSORS]}
        yield server


def cached(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.glob("TORCH_HOME/**/*") if path.is_file()]


def test_file_urls_load_and_are_cached(server, tmp_path):
    expected = hashlib.sha256(server.files["/m/model.bin"]).hexdigest()
    urls = ("/m/model.bin", "/x.safetensors", "/m/model.bin?download=1")
    for url in (*urls, f"/m/model.bin#sha256={expected}"):
        assert sources(server.url + url) == "a+b", url
    assert len(cached(tmp_path)) == 3
    server.files.clear()
    assert sources(server.url + urls[0]) == "a+b"


def test_invalid_urls_are_rejected_and_leave_no_file(server, tmp_path):
    server.files["/page.bin"] = b"<html>"
    server.files["/text.bin"] = b"hello"
    wrong = "0" * 64
    for url, error, message in (
        ("/none.bin", OSError, "none.bin cannot be downloaded .*404"),
        ("/m/model.zip", ValueError, "model.zip .*expected .bin, "),
        ("/m/", ValueError, "/m/ .*expected .bin, "),
        (f"/m/model.bin#sha256={wrong}", OSError, f"damaged: .* expected {wrong}.*deleted"),
        ("/m/model.bin#sha256=12", ValueError, "#sha256=12 .*expected #sha256= and 64"),
        ("/m/model.bin#main", ValueError, "#main .*expected #sha256="),
        ("/page.bin", OSError, "page.bin is a web page"),
    ):
        with pytest.raises(error, match=message):
            sources(server.url + url)
        assert not cached(tmp_path), url
    with pytest.raises(OSError, match=f"{UNREACHABLE}/model.bin cannot be downloaded"):
        sources(f"{UNREACHABLE}/model.bin")
    with pytest.raises(ValueError, match="cannot be read"):
        sources(f"{server.url}/text.bin")


def test_partial_download_of_a_url_is_not_used(server, tmp_path):
    server.cut_off = 1
    with pytest.raises(OSError, match="cannot be downloaded"):
        sources(f"{server.url}/m/model.bin")
    assert not cached(tmp_path)
    assert sources(f"{server.url}/m/model.bin") == "a+b"


def test_cache_file_names_do_not_come_from_the_url(server, tmp_path):
    server.files["/..%2F..%2F..%2Fevil.bin"] = server.files["/m/model.bin"]
    assert sources(f"{server.url}/..%2F..%2F..%2Fevil.bin") == "a+b"
    (path,) = cached(tmp_path)
    assert path.name == "model.bin" and not list(tmp_path.rglob("*evil*"))
