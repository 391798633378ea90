"""`waveunet publish` by the real client over HTTP, to a server of the tests."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.publishing import package
from helpers import hub_server
from helpers.hub_server import ROOT, Hub, etag
from helpers.trained import experiment

NOWHERE = "http://127.0.0.1:9"

# One process runs any number of commands, each a list of words and the token that it is run with.
COMMANDS = """
import contextlib, io, json, os, sys, time
from asteroid_waveunet.cli.main import main
for token, *words in map(json.loads, sys.argv[1:]):
    os.environ["HF_TOKEN"] = token
    out, err = io.StringIO(), io.StringIO()
    started = time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["publish", *words])
    seconds = time.monotonic() - started
    print(json.dumps([status, out.getvalue(), err.getvalue(), seconds]))
"""


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def exp(tmp_path):
    """The folder of an experiment that is trained and scored."""
    return experiment(tmp_path)[1].exp_dir


@pytest.fixture
def start(hub, tmp_path):
    def start(code: str, *words: str, **environment: str):
        return hub_server.client(hub, tmp_path, code, *words, **environment)

    return start


@pytest.fixture
def run(start, exp):
    """Runs `waveunet publish EXP ...` once for each of the words' lists, each with its token."""

    def run(*commands: list[str], tokens: tuple[str, ...] = (), **environment: str):
        tokens = tokens or ("hf_test",) * len(commands)
        lines = [json.dumps([t, str(exp), *w]) for t, w in zip(tokens, commands, strict=True)]
        process = start(COMMANDS, *lines, **environment)
        said, complaint = process.communicate()
        assert process.returncode == 0, complaint
        return [json.loads(line) for line in said.splitlines()]

    return run


def done(result) -> str:
    """What a command that succeeded printed."""
    status, said, complaint, _ = result
    assert status == 0, complaint
    return said


def refused(result) -> str:
    """What a command said that failed: one line."""
    status, _, complaint, _ = result
    *bars, line, end = complaint.split("\n")
    assert (status, end) == (1, "") and line.startswith("error: ")
    assert not any("Traceback" in bar for bar in bars)
    return line


def head(hub, name="user/model"):
    repo = hub.repos[name]
    return repo.commits[repo.branches["main"]]


def test_created_tagged_loaded_by_the_lines_it_prints_and_by_its_card(hub, run, start, exp):
    (result,) = run(["--repo_id", "user/model", "--revision", "v1.0"])
    said = done(result)
    repo = hub.repos["user/model"]
    assert repo.messages == ["initial commit", "asteroid-waveunet"] and not repo.private
    assert repo.tags == {"v1.0": repo.branches["main"]}
    files = {path: (exp / "published" / path) for path in head(hub)}
    del files[".gitattributes"]
    assert sorted(files) == package.files_of(exp / "published")
    assert all(head(hub)[path] == file.read_bytes() for path, file in files.items())
    assert f"{hub.url}/user/model (tagged v1.0; {len(files)} new or changed files)" in said

    printed = said[said.index("from asteroid") :]
    on_card = re.findall(r"```python\n(.*?)```", files["README.md"].read_text(), re.DOTALL)
    assert len(on_card) == 3
    (exp.parents[1] / "asteroid-waveunet").symlink_to(ROOT)
    audio_io.write(exp.parents[1] / "song.wav", 0.1 * torch.randn(2, 3000), 1000, "PCM_16")
    code = "\n".join([printed, *on_card, "print(*model.sources)"])
    process = start(code)
    answer, complaint = process.communicate()
    assert process.returncode == 0, complaint
    assert answer.split("\n")[-2] == "accompaniment vocals"
    stems = [
        audio_io.read(exp.parents[1] / f"song_{s}.wav")[0] for s in ("accompaniment", "vocals")
    ]
    expected = WaveUNet.from_pretrained(exp / "best_model.pth").separate(
        audio_io.read(exp.parents[1] / "song.wav")[0]
    )
    torch.testing.assert_close(torch.stack(stems), expected, atol=1e-4, rtol=0)


def test_again_without_a_change_nothing_is_written(hub, run, exp):
    to = ["--repo_id", "user/model"]
    done(run(to)[0])
    shutil.rmtree(exp / "published")
    commits = len(hub.repos["user/model"].commits)
    hub.requests.clear()
    assert "(it was there already)" in done(run(to)[0])
    assert hub.written == [] and len(hub.repos["user/model"].commits) == commits


def test_a_change_is_one_commit_of_what_changed_and_needs_a_new_tag(hub, run):
    to = ["--repo_id", "user/model", "--revision"]
    done(run([*to, "v1.0"])[0])
    hub.commit("user/model", {"mine.txt": b"kept"})
    before, first = dict(head(hub)), hub.repos["user/model"].tags["v1.0"]
    hub.requests.clear()
    changed = ["--data_name", "Other songs", "--examples", "false"]
    old_tag, new_tag, same = run(*([*to, tag, *changed] for tag in ("v1.0", "v1.1", "v1.1")))
    assert "has a revision v1.0 already, with other files; choose another" in refused(old_tag)
    assert "new or changed files" in done(new_tag) and "was there already" in done(same)
    after = head(hub)
    gone = before.keys() - after.keys()
    assert gone and all(path.startswith("examples/") for path in gone)
    assert after["mine.txt"] == b"kept" and b"Other songs" in after["README.md"]
    assert after["report/report.css"] == before["report/report.css"]
    tags = hub.repos["user/model"].tags
    assert tags == {"v1.0": first, "v1.1": hub.repos["user/model"].branches["main"]}
    assert sum("/commit/" in each for each in hub.requests) == 1


def test_private_it_is_and_stays(hub, run):
    hub.commit("user/public", {"README.md": b""})
    to = ["--repo_id", "user/model"]
    public = ["--repo_id", "user/public", "--private"]
    made, again, mismatch = run([*to, "--private"], to, public)
    assert "/user/model (private; " in done(made) and hub.repos["user/model"].private
    assert "(private; it was there already)" in done(again)
    assert "user/public is public on the Hub, and was to be private" in refused(mismatch)


def test_what_is_wrong_is_one_line_before_anything_is_sent(hub, run):
    other = {"config.json": json.dumps({"model_name": "ConvTasNet"}).encode()}
    hub.commit("user/taken", {**other, "pytorch_model.bin": b"x"})
    hub.commit("user/odd", {"config.json": b"[", "a.txt": b""})
    hub.commit("user/branch", {".gitattributes": b""})
    hub.repos["user/branch"].branches["v1"] = hub.repos["user/branch"].branches["main"]
    cases = {
        "is no name for a model on the Hugging Face Hub": ["--repo_id", "model"],
        "is no name for a revision": ["--repo_id", "user/a", "--revision", "v 1"],
        "may not write to else/model; expected a name that begins with user/ or band/": [
            "--repo_id", "else/model",
        ],
        "may not write to museum/model": ["--repo_id", "museum/model"],
        "user/taken is taken: what the Hub has there (config.json": ["--repo_id", "user/taken"],
        "user/odd is taken": ["--repo_id", "user/odd"],
        "v1 is a branch of user/branch": ["--repo_id", "user/branch", "--revision", "v1"],
    }  # fmt: skip
    tokens = {
        "There is no token for the Hugging Face Hub: `hf auth login`": "",
        "does not know this token": "hf_wrong",
        "This token may only read": "hf_reader",
    }
    to = ["--repo_id", "user/model"]
    commands = [*cases.values(), *([to] * len(tokens))]
    results = run(*commands, tokens=(*["hf_test"] * len(cases), *tokens.values()))
    for says, result in zip([*cases, *tokens], results, strict=True):
        assert says in refused(result)
    for unreachable in ({"HF_ENDPOINT": NOWHERE}, {"HF_HUB_OFFLINE": "1"}):
        (result,) = run(to, **unreachable)
        assert "cannot be reached" in refused(result)
        assert result[-1] < 20, "seconds; where the client repeats a request it takes more"
    assert hub.written == []


def test_a_dry_run_needs_neither_token_nor_network(run, exp):
    words = ["--repo_id", "user/model", "--private", "--dry-run"]
    first, no_name = run(words, ["--dry-run"], tokens=("", ""), HF_ENDPOINT=NOWHERE)
    said = done(first)
    files = package.files_of(exp / "published")
    sizes = {file: (exp / "published" / file).stat().st_size for file in files}
    for file, size in sizes.items():
        assert re.search(rf"{size:,}  {re.escape(file)}\n", done(no_name))
    assert f"{len(files)} files\nNothing was sent. This would go to user/model (private)." in said
    assert "goes there with --repo_id user/name" in done(no_name)


def test_what_the_hub_refuses_is_one_line(hub, run):
    to = ["--repo_id", "user/model"]
    hub.card_faults = ['"license" must be one of [...]']
    fault, right = run(to, to, tokens=("hf_test", "hf_fine"))
    assert 'The Hub refuses the model card: "license" must be one of' in refused(fault)
    assert "This token may not write to user/model" in refused(right)
    assert not hub.repos


def test_a_commit_of_somebody_else_meanwhile_is_not_undone(hub, run):
    hub.commit("user/model", {"README.md": b""})

    def interfere():
        hub.meanwhile = lambda: None
        hub.commit("user/model", {"README.md": b"somebody's"})

    hub.meanwhile = interfere
    first, again = run(*[["--repo_id", "user/model"]] * 2)
    assert "Somebody else has committed to user/model meanwhile" in refused(first)
    assert "new or changed files" in done(again)
    repo = hub.repos["user/model"]
    assert {"README.md": b"somebody's"} in repo.commits.values()
    assert repo.messages == ["files", "files", "asteroid-waveunet"]


def broken_off(hub) -> set[str]:
    """What a Hub has of an upload that broke off; the repository is as it was made."""
    assert head(hub).keys() == {".gitattributes"}, "all or nothing"
    hub.uploads_until, hub.away = None, False
    hub.requests.clear()
    return set(hub.objects)


def assert_the_rest_was_sent(hub, there: set[str]) -> None:
    sent = [each.split("/")[-1] for each in hub.requests if each.startswith("PUT /lfs/")]
    large = {etag(p, c) for p, c in head(hub).items() if p.endswith(hub_server.LFS)}
    assert len(there) == 2 and len(sent) == len(large) - 2 and set(sent) == large - there
    repo = hub.repos["user/model"]
    assert repo.tags == {"v1": repo.branches["main"]}
    assert repo.messages == ["initial commit", "asteroid-waveunet"]


def test_an_upload_that_was_killed_goes_on(hub, run, start, exp):
    hub.uploads_until = 2
    to = ["--repo_id", "user/model", "--revision", "v1"]
    process = start(COMMANDS, json.dumps(["hf_test", str(exp), *to]))
    assert hub.held.wait(60)
    process.kill()
    process.communicate()
    there = broken_off(hub)
    done(run(to)[0])
    assert_the_rest_was_sent(hub, there)


def test_an_upload_goes_on_after_the_hub_went_away(hub, run):
    hub.uploads_until, hub.stuck = 2, lambda: setattr(hub, "away", True)
    to = ["--repo_id", "user/model", "--revision", "v1"]
    line = refused(run(to)[0])  # after half a minute, in which the client tries again
    assert "broke off" in line and "run the same command again" in line
    there = broken_off(hub)
    done(run(to)[0])
    assert_the_rest_was_sent(hub, there)


def test_another_kind_of_model_does_not_take_its_name(hub, run, tmp_path):
    done(run(["--repo_id", "user/model"])[0])
    other = experiment(tmp_path / "other", sources=("drums", "other", "vocals"))[1].exp_dir
    hub.requests.clear()
    process_words = json.dumps(["hf_test", str(other), "--repo_id", "user/model"])
    process = hub_server.client(hub, tmp_path, COMMANDS, process_words)
    said, _ = process.communicate()
    line = refused(json.loads(said))
    assert "taken by a model of another kind (sources ['accompaniment', 'vocals'], not" in line
    assert hub.written == []
