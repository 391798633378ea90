"""Weights from the Hub and from URLs, by the real client over HTTP, from a server of the tests."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.weights import serialization
from asteroid_waveunet.weights.hub import BIN, CONFIG, SAFETENSORS
from helpers import hub_server
from helpers.hub_server import Hub
from helpers.models import tiny
from helpers.paths import GOLDEN, ROOT

NOWHERE = "http://127.0.0.1:9"

LOAD = """
import sys, time, warnings
warnings.simplefilter("ignore")
from asteroid_waveunet import WaveUNet
for name in sys.argv[1:]:
    started = time.monotonic()
    try:
        said = "+".join(WaveUNet.from_pretrained(name).sources)
    except Exception as reason:
        said = f"{type(reason).__name__}: {reason}"
    print(said)
    if time.monotonic() - started > 8:
        print("slow")
"""


def files_of(*sources: str, formats=(BIN, SAFETENSORS, CONFIG)):
    """A model's files, name -> content, as `weights.save` writes them."""
    with tempfile.TemporaryDirectory() as folder:
        serialization.save(tiny(sources=sources, output="direct").serialize(), folder)
        return {name: Path(folder, name).read_bytes() for name in formats}


@pytest.fixture
def hub():
    with Hub() as hub:
        hub.commit("user/model", files_of("old"), tag="v1.0")
        hub.commit("user/model", files_of("new"))
        yield hub


@pytest.fixture
def client(hub, tmp_path):
    """Runs Python with this Hub and caches of its own; gives the lines that it printed."""

    def run(code: str, *words: str, **environment: str) -> list[str]:
        process = hub_server.client(hub, tmp_path, code, *words, **environment)
        said, complaint = process.communicate()
        assert process.returncode == 0, complaint
        return said.splitlines()

    return run


def test_models_of_the_hub_and_again_without_a_network(hub, client):
    hub.commit("user/bin", files_of("bin", formats=[BIN]))
    hub.commit("user/alone", files_of("alone", formats=[SAFETENSORS]))
    names = ("user/model", "user/model@v1.0", "user/bin", "user/alone")
    pages = ("/user/model", "/user/model/tree/v1.0", f"/user/model/resolve/v1.0/{BIN}")
    urls = [f"{hub.url}{page}" for page in pages]
    there = ["new", "old", "bin", "alone", "new", "old", "old"]
    assert client(LOAD, "user/model") == ["new"]
    assert not any(BIN in request for request in hub.requests), "one format is enough"
    assert client(LOAD, *names, *urls) == there
    assert client(LOAD, *names, *urls, HF_HUB_OFFLINE="1") == there
    assert client(LOAD, *names, HF_ENDPOINT=NOWHERE) == there[:4]


def test_what_cannot_be_had_is_one_line_at_once(hub, client):
    hub.commit("user/empty", {"README.md": b"nothing"})
    hub.repos["user/private"] = type(hub.repos["user/model"])(private=True)
    names = ("user/none", "user/private", "user/model@v9", "user/empty", "user/..", "user/x.bin")
    none, private, revision, empty, *no_names = client(LOAD, *names)
    for said in (none, private):
        assert said.startswith("FileNotFoundError: There is no file or folder 'user/")
        assert "no model of that name on the Hugging Face Hub, or it is private" in said
    assert "FileNotFoundError: user/model on the Hugging Face Hub has no revision 'v9'" in revision
    assert "FileNotFoundError: user/empty on the Hugging Face Hub has no model.safe" in empty
    assert all("FileNotFoundError" in said and "Hugging Face Hub" in said for said in no_names)
    for unreachable in ({"HF_ENDPOINT": NOWHERE}, {"HF_HUB_OFFLINE": "1"}):
        (said,) = client(LOAD, "user/model", **unreachable)
        assert "OSError: 'user/model' is no file or folder, the cache" in said
        assert said.endswith("Check the network.")


def test_a_download_that_breaks_off_goes_on_or_is_not_used(hub, client):
    hub.cut_off = 1
    first, second = client(LOAD, "user/model", "user/model")
    assert first == "new" or "cannot be downloaded" in first, "by the client's version"
    assert second == "new"
    hub.cut_off = 1000
    said, *slow = client(LOAD, "user/model@v1.0")
    assert "OSError: user/model@v1.0 cannot be downloaded" in said and slow in ([], ["slow"])
    (said,) = client(LOAD, "user/model@v1.0", HF_HUB_OFFLINE="1")
    assert "the cache of the Hugging Face Hub does not have it" in said
    hub.cut_off = 0
    assert client(LOAD, "user/model@v1.0") == ["old"]


def test_a_damaged_download_is_not_used_now_or_later(hub, client):
    """The client compares sizes only."""
    hub.damage = True
    (said,) = client(LOAD, "user/model")
    assert "OSError: user/model is damaged: the sha256 of model.safetensors is" in said
    assert "deleted; load it again" in said
    (said,) = client(LOAD, "user/model", HF_HUB_OFFLINE="1")
    assert "the cache of the Hugging Face Hub does not have it" in said
    hub.damage = False
    assert client(LOAD, "user/model") == ["new"]


def test_asteroid_and_torch_hub_load_from_the_hub(client):
    code = (
        "import sys, torch, asteroid_waveunet, asteroid\n"
        "print(*asteroid.models.BaseModel.from_pretrained('user/model').sources)\n"
        "for entry in ('waveunet', 'm4'):\n"
        "    model = torch.hub.load(sys.argv[1], entry, 'user/model@v1.0', source='local')\n"
        "    print(*model.sources)\n"
    )
    assert client(code, str(ROOT))[-3:] == ["new", "old", "old"]


@pytest.fixture
def here(hub, tmp_path, monkeypatch):
    """The server, and a cache, for this process."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    content = files_of("a", "b")
    hub.files = {"/m/model.bin": content[BIN], "/x.safetensors": content[SAFETENSORS]}
    return hub


def cached(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.glob("torch/**/*") if path.is_file()]


def test_urls(here, tmp_path):
    expected = hashlib.sha256(here.files["/m/model.bin"]).hexdigest()
    urls = ("/m/model.bin", "/x.safetensors", "/m/model.bin?download=1")
    for url in (*urls, f"/m/model.bin#sha256={expected}"):
        assert WaveUNet.from_pretrained(here.url + url).sources == ("a", "b")
    assert len(cached(tmp_path)) == 3
    here.files.clear()
    assert WaveUNet.from_pretrained(here.url + urls[0]).sources == ("a", "b")


def test_urls_that_give_no_model_leave_nothing(here, tmp_path):
    here.files["/page.bin"] = b"<html>"
    here.files["/text.bin"] = b"hello"
    wrong = "0" * 64
    for url, error, says in (
        ("/none.bin", OSError, "none.bin cannot be downloaded .*404"),
        ("/m/model.zip", ValueError, r"names no weights; expected a file \(.bin, "),
        ("/m/", ValueError, "names no weights"),
        (f"/m/model.bin#sha256={wrong}", OSError, f"is damaged: .* expected {wrong}. It was del"),
        ("/m/model.bin#sha256=12", ValueError, "followed by #sha256=12; expected #sha256= and 64"),
        ("/m/model.bin#main", ValueError, "followed by #main"),
        ("/page.bin", OSError, "page.bin is a page, no file"),
    ):
        with pytest.raises(error, match=says):
            WaveUNet.from_pretrained(here.url + url)
        assert not cached(tmp_path)
    with pytest.raises(OSError, match="cannot be downloaded"):
        WaveUNet.from_pretrained(f"{NOWHERE}/model.bin")
    with pytest.raises(ValueError, match="cannot be read"):
        WaveUNet.from_pretrained(f"{here.url}/text.bin")


def test_half_a_file_of_a_url_is_not_used(here, tmp_path):
    here.cut_off = 1
    with pytest.raises(OSError, match="cannot be downloaded"):
        WaveUNet.from_pretrained(f"{here.url}/m/model.bin")
    assert not cached(tmp_path)
    assert WaveUNet.from_pretrained(f"{here.url}/m/model.bin").sources == ("a", "b")


def test_names_in_urls_do_not_become_names_of_files(here, tmp_path):
    here.files["/..%2F..%2F..%2Fevil.bin"] = here.files["/m/model.bin"]
    assert WaveUNet.from_pretrained(f"{here.url}/..%2F..%2F..%2Fevil.bin").sources == ("a", "b")
    (path,) = cached(tmp_path)
    assert path.name == "model.bin" and not list(tmp_path.rglob("*evil*"))


UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])  # `hf upload` does the same
print("uploaded")
"""


def test_a_converted_checkpoint_is_published_by_the_hubs_own_means(client, tmp_path):
    """As README says: the folder that `waveunet convert` leaves is all that loading needs."""
    folder = tmp_path / "baseline_stereo"
    checkpoint = GOLDEN / "checkpoints" / "tiny_m4" / "tiny_m4-1"
    assert main(["convert", str(checkpoint), "-o", str(folder)]) == 0
    said = client(UPLOAD, "user/baseline_stereo", str(folder), HF_TOKEN="hf_test")
    assert said[-1] == "uploaded"
    assert client(LOAD, "user/baseline_stereo")[0] == "accompaniment+vocals"
