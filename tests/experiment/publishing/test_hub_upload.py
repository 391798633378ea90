"""`waveunet publish` with the real client, over HTTP to the server in `helpers.hub_server`."""

from __future__ import annotations

import json
import re
import shutil
import time

import huggingface_hub
import pytest
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment.publishing import package
from helpers import hub_server
from helpers.hub_server import ROOT, Hub, etag
from helpers.trained import experiment

NOWHERE = "http://127.0.0.1:9"

PUBLISH = """
import sys
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.experiment.report import plots
plots.save = lambda draw, folder, name: []
sys.exit(main(["publish", *sys.argv[1:]]))
"""


@pytest.fixture
def waits(monkeypatch):
    """Return the seconds that the client wants to wait between retries; it does not wait."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


@pytest.fixture
def hub(tmp_path, monkeypatch, waits):
    with Hub() as hub:
        hub_server.connect(hub, tmp_path, monkeypatch)
        yield hub


@pytest.fixture
def exp(tmp_path):
    """Return the folder of a trained and scored experiment."""
    return experiment(tmp_path)[1].exp_dir


@pytest.fixture
def publish(hub, exp, monkeypatch, capsys):
    """Return a function that runs `waveunet publish`: exit status, stdout and stderr."""

    def publish(*words: str, token: str = "hf_test", folder=exp):
        monkeypatch.setenv("HF_TOKEN", token)
        capsys.readouterr()
        return main(["publish", str(folder), *words]), *capsys.readouterr()

    return publish


def succeeded(result) -> str:
    """Return the output of a successful command."""
    status, out, err = result
    assert status == 0, err
    return out


def refused(result) -> str:
    """Return the one-line message of a failed command."""
    status, _, err = result
    *bars, line, end = err.split("\n")
    assert (status, end) == (1, "") and line.startswith("error: ")
    assert not any("Traceback" in bar for bar in bars)
    return line


def head(hub, name="user/model"):
    repo = hub.repos[name]
    return repo.commits[repo.branches["main"]]


def test_model_is_uploaded_tagged_and_loaded_as_printed_and_as_on_its_card(
    hub, publish, exp, tmp_path, monkeypatch
):
    out = succeeded(publish("--repo_id", "user/model", "--revision", "v1.0"))
    repo = hub.repos["user/model"]
    assert repo.messages == ["initial commit", "asteroid-waveunet"] and not repo.private
    assert repo.tags == {"v1.0": repo.branches["main"]}
    files = {path: (exp / "published" / path) for path in head(hub)}
    del files[".gitattributes"]
    assert sorted(files) == package.packaged_files(exp / "published")
    assert all(head(hub)[path] == file.read_bytes() for path, file in files.items())
    assert f"{hub.url}/user/model (tagged v1.0; {len(files)} new or changed files)" in out

    printed = out[out.index("from asteroid") :]
    on_card = re.findall(r"```python\n(.*?)```", files["README.md"].read_text(), re.DOTALL)
    assert len(on_card) == 3
    (tmp_path / "asteroid-waveunet").symlink_to(ROOT)
    monkeypatch.chdir(tmp_path)
    audio_io.write(tmp_path / "song.wav", 0.1 * torch.randn(2, 3000), 1000, "PCM_16")
    expected = WaveUNet.from_pretrained(exp / "best_model.pth").separate(
        audio_io.read(tmp_path / "song.wav")[0]
    )
    for code in (printed, *on_card):
        names = {}
        exec(code, names)
        assert list(names["model"].sources) == ["accompaniment", "vocals"], code
        if "file_separate" in code:
            paths = [tmp_path / f"song_{source}.wav" for source in names["model"].sources]
            stems = torch.stack([audio_io.read(path)[0] for path in paths])
            torch.testing.assert_close(stems, expected, atol=1e-4, rtol=0)
            for path in paths:
                path.unlink()


def test_unchanged_package_is_not_uploaded_again(hub, publish, exp):
    to = ["--repo_id", "user/model"]
    succeeded(publish(*to))
    shutil.rmtree(exp / "published")
    commits = len(hub.repos["user/model"].commits)
    hub.requests.clear()
    assert "(no changes)" in succeeded(publish(*to))
    assert hub.written == [] and len(hub.repos["user/model"].commits) == commits


def test_leftover_files_of_the_report_are_deleted(hub, publish):
    to = ["--repo_id", "user/model"]
    succeeded(publish(*to))
    before = dict(head(hub))
    hub.commit("user/model", {"report/old.html": b"<p>"})
    succeeded(publish(*to))
    assert head(hub) == before


def test_changed_files_are_one_commit_that_needs_a_new_tag(hub, publish):
    to = ["--repo_id", "user/model", "--revision"]
    succeeded(publish(*to, "v1.0"))
    hub.commit("user/model", {"mine.txt": b"kept"})
    before, first = dict(head(hub)), hub.repos["user/model"].tags["v1.0"]
    hub.requests.clear()
    changed = ["--data_name", "Other songs", "--examples", "false"]
    assert re.search(r"revision v1\.0.*--revision", refused(publish(*to, "v1.0", *changed)))
    assert "new or changed files" in succeeded(publish(*to, "v1.1", *changed))
    assert "no changes" in succeeded(publish(*to, "v1.1", *changed))
    after = head(hub)
    gone = before.keys() - after.keys()
    assert gone and all(path.startswith("examples/") for path in gone)
    assert after["mine.txt"] == b"kept" and b"Other songs" in after["README.md"]
    assert after["report/report.css"] == before["report/report.css"]
    tags = hub.repos["user/model"].tags
    assert tags == {"v1.0": first, "v1.1": hub.repos["user/model"].branches["main"]}
    assert sum("/commit/" in each for each in hub.requests) == 1


def test_private_repository_is_created_and_stays_private(hub, publish):
    hub.commit("user/public", {"README.md": b""})
    to = ["--repo_id", "user/model"]
    assert "/user/model (private; " in succeeded(publish(*to, "--private"))
    assert hub.repos["user/model"].private
    assert "(private; no changes)" in succeeded(publish(*to))
    line = refused(publish("--repo_id", "user/public", "--private"))
    assert re.search("user/public is public.*without --private", line)


def test_invalid_names_taken_repositories_and_tokens_are_refused_before_uploading(hub, publish):
    other = {"config.json": json.dumps({"model_name": "ConvTasNet"}).encode()}
    hub.commit("user/taken", {**other, "pytorch_model.bin": b"x"})
    hub.commit("user/odd", {"config.json": b"[", "a.txt": b""})
    hub.commit("user/branch", {".gitattributes": b""})
    hub.repos["user/branch"].branches["v1"] = hub.repos["user/branch"].branches["main"]
    for expected, words in {
        "'model'.*user/name": ["--repo_id", "model"],
        "'v 1'.*v1.0": ["--repo_id", "user/a", "--revision", "v 1"],
        "may not write to else/model; .* user/ or band/": ["--repo_id", "else/model"],
        "may not write to museum/model": ["--repo_id", "museum/model"],
        r"user/taken .*\(config.json.*choose another": ["--repo_id", "user/taken"],
        "user/odd .*choose another": ["--repo_id", "user/odd"],
        "v1 is a branch of user/branch": ["--repo_id", "user/branch", "--revision", "v1"],
    }.items():
        assert re.search(expected, refused(publish(*words))), expected
    for expected, token in {
        "no token.*`hf auth login`": "",
        "does not know this token": "hf_wrong",
        "read-only": "hf_reader",
    }.items():
        line = refused(publish("--repo_id", "user/model", token=token))
        assert re.search(expected, line), expected
    assert hub.written == []


def test_unreachable_hub_is_reported_without_retries(hub, publish, waits, monkeypatch):
    for name, value in (("ENDPOINT", NOWHERE), ("HF_HUB_OFFLINE", True)):
        with monkeypatch.context() as patch:
            patch.setattr(huggingface_hub.constants, name, value)
            assert "cannot be reached" in refused(publish("--repo_id", "user/model")), name
    assert waits == [] and hub.requests == []


def test_dry_run_needs_neither_token_nor_network(hub, publish, exp):
    words = ["--repo_id", "user/model", "--private", "--dry-run"]
    named, unnamed = (succeeded(publish(*w, token="")) for w in (words, ["--dry-run"]))
    files = package.packaged_files(exp / "published")
    sizes = {file: (exp / "published" / file).stat().st_size for file in files}
    for file, size in sizes.items():
        assert re.search(rf"{size:,}  {re.escape(file)}\n", unnamed)
    assert f"{len(files)} files\nNothing was sent. This would go to user/model (private)." in named
    assert "--repo_id user/name" in unnamed
    assert hub.requests == []


def test_refusals_of_the_hub_are_reported_in_one_line(hub, publish):
    to = ["--repo_id", "user/model"]
    hub.card_faults = ['"license" must be one of [...]']
    assert 'model card: "license" must be one of' in refused(publish(*to))
    assert "no write access to user/model" in refused(publish(*to, token="hf_fine"))
    assert not hub.repos


def test_concurrent_commit_is_not_reverted(hub, publish):
    hub.commit("user/model", {"README.md": b""})

    def interfere():
        hub.before_commit = lambda: None
        hub.commit("user/model", {"README.md": b"somebody's"})

    hub.before_commit = interfere
    line = refused(publish("--repo_id", "user/model"))
    assert re.search("committed to user/model.*run the same command again", line)
    assert "new or changed files" in succeeded(publish("--repo_id", "user/model"))
    repo = hub.repos["user/model"]
    assert {"README.md": b"somebody's"} in repo.commits.values()
    assert repo.messages == ["files", "files", "asteroid-waveunet"]


def repair(hub) -> set[str]:
    """End the Hub's failure; return the large files of the interrupted upload."""
    assert head(hub).keys() == {".gitattributes"}, "all or nothing"
    hub.uploads_until, hub.disconnected = None, False
    hub.requests.clear()
    return set(hub.objects)


def assert_remaining_files_are_sent(hub, publish, present: set[str]) -> None:
    succeeded(publish("--repo_id", "user/model", "--revision", "v1"))
    sent = [each.split("/")[-1] for each in hub.requests if each.startswith("PUT /lfs/")]
    large = {etag(p, c) for p, c in head(hub).items() if p.endswith(hub_server.LFS)}
    assert len(present) == 2 and len(sent) == len(large) - 2 and set(sent) == large - present
    repo = hub.repos["user/model"]
    assert repo.tags == {"v1": repo.branches["main"]}
    assert repo.messages == ["initial commit", "asteroid-waveunet"]


def test_killed_upload_is_resumed(hub, publish, exp, tmp_path):
    hub.uploads_until = 2
    words = [str(exp), "--repo_id", "user/model", "--revision", "v1"]
    process = hub_server.client(hub, tmp_path, PUBLISH, *words, HF_TOKEN="hf_test")
    assert hub.held.wait(60)
    process.kill()
    process.communicate()
    assert_remaining_files_are_sent(hub, publish, repair(hub))


def test_upload_is_resumed_after_the_connection_failed(hub, publish, waits):
    hub.uploads_until, hub.stuck = 2, lambda: setattr(hub, "disconnected", True)
    line = refused(publish("--repo_id", "user/model", "--revision", "v1"))
    assert waits, "the client retries"
    assert re.search("connection failed.*run the same command again", line)
    assert_remaining_files_are_sent(hub, publish, repair(hub))


def test_model_of_another_kind_is_refused(hub, publish, tmp_path):
    succeeded(publish("--repo_id", "user/model"))
    other = experiment(tmp_path / "other", sources=("drums", "other", "vocals"))[1].exp_dir
    hub.requests.clear()
    line = refused(publish("--repo_id", "user/model", folder=other))
    assert "another kind (sources ['accompaniment', 'vocals'], not" in line
    assert hub.written == []
