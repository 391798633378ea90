"""A Ray cluster of two nodes, of which one is removed amid a run; worker processes are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from asteroid_waveunet import separate_catalogue
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.catalogue import ray_engine
from asteroid_waveunet.catalogue import separate_catalogue as module
from asteroid_waveunet.catalogue.progress import Summary
from asteroid_waveunet.catalogue.ray_engine import AT_ONCE, RayEngine
from asteroid_waveunet.cli.main import main
from helpers.scores import score_in_this_process
from helpers.songs import write_song

pytestmark = pytest.mark.timeout(900)  # Ray's processes start slowly on a busy machine

RATE = 8000
MEMORY = 80 * 2**20


@pytest.fixture(scope="module")
def nodes(s3):
    """A cluster that this process is connected to; its workers reach the S3 store."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONWARNINGS", "ignore")
        small = {"num_cpus": 1, "object_store_memory": MEMORY}
        cluster = Cluster(True, True, head_node_args={**small, "include_dashboard": False})
        cluster.add_node(**small)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def failing(monkeypatch):
    """Let something happen after the first songs of a run: `failing(action)`."""

    def arm(action):
        class Failing(RayEngine):
            happened = False

            def start(self, song, alone=False):
                all_ready = self.happened or self.n_workers == len(self._workers)
                return all_ready and super().start(song, alone)

            def finished(self, seconds):
                found = super().finished(seconds)
                if found and not self.happened:
                    Failing.happened = True
                    action(self)
                return found

        monkeypatch.setattr(module, "RayEngine", Failing)
        return Failing

    return arm


def finished(found: Summary) -> int:
    """Number of songs with stems; a worker may have died between its last record and its answer."""
    assert found.known <= AT_ONCE
    return found.separated + found.known


def broken_songs(folder) -> set[str]:
    """Write ten songs that cannot be separated, or leave them out; return their names."""
    whole = (folder / "song0.wav").read_bytes()
    for n in range(2):
        (folder / f"truncated{n}.wav").write_bytes(whole[: -1000 - n])
        (folder / f"empty{n}.wav").write_bytes(b"")
        (folder / f"text{n}.wav").write_text("no audio")
        audio_io.write(folder / f"silent{n}.wav", torch.zeros(2, 800), RATE, "PCM_16")
    kinds = ("truncated", "empty", "text", "silent", "missing")
    return {f"{kind}{n}" for kind in kinds for n in range(2)}


@pytest.fixture
def deadly(monkeypatch):
    """Let songs that have "deadly" in their names kill their worker."""

    class Mortal(ray_engine._Actor):  # local: Ray sends its code to the workers
        def separate(self, song):
            if "deadly" in song.name:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().separate(song)

    monkeypatch.setattr(ray_engine, "_Actor", Mortal)


def test_song_that_kills_its_worker_is_set_aside(nodes, s3, bucket, songs, model, deadly):
    for n in range(2):
        s3.put(str(songs), f"{bucket}/songs/{n}", recursive=True)
    s3.put_file(str(songs / "two.wav"), f"{bucket}/songs/0/deadly.wav")
    one = songs.parent / "one"
    assert main(["separate", str(songs), "-m", str(model), "-o", str(one)]) == 0
    call = dict(output=f"{bucket}/out", model=str(model), cluster=nodes.address, progress=False)
    found = separate_catalogue([f"{bucket}/songs"], **call)
    assert (finished(found), found.failed, found.quarantined) == (8, 0, 1)
    [reason] = found.reasons.items()
    assert reason[0] == f"{bucket}/songs/0/deadly.wav"
    assert "killed its worker 3 times" in reason[1]
    stems = [name for name in s3.find(f"{bucket}/out") if name.endswith(".wav")]
    assert len(stems) == 2 * 8
    for name in stems:
        local = "/".join(name.split("/")[3:])
        assert s3.cat_file(name) == (one / local).read_bytes()


def test_scores_equal_those_of_one_machine(nodes, model, tmp_path, monkeypatch, capsys):
    for seconds, name in ((1.5, "one"), (2.5, "two")):
        write_song(tmp_path / "songs" / "test" / name, seconds=seconds)
    (tmp_path / "songs/test/broken").mkdir()
    write_song(tmp_path / "songs/test/broken", seconds=1.0)
    (tmp_path / "songs/test/broken/bass.wav").write_text("no audio")
    score_in_this_process(monkeypatch)
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "-m", str(model), "-d", "songs", "--no-report"]
    assert main([*words, "-o", "here"]) == 1
    assert main([*words, "-o", "there", "--cluster", nodes.address]) == 1
    scores = sorted(f.relative_to("here") for f in Path("here").rglob("*.json"))
    assert len([file for file in scores if file.name == "two.json"]) == 3, "with the baselines"
    for file in scores:
        assert ("there" / file).read_bytes() == ("here" / file).read_bytes()
    reasons = [line for line in capsys.readouterr().err.splitlines() if "bass.wav" in line]
    assert len(reasons) == 2
    assert len({*reasons}) == 1


def test_hundred_songs_survive_a_removed_node(nodes, model, tmp_path, failing):
    good = [f"song{n}" for n in range(90)]
    for n, name in enumerate(good):
        generator = torch.Generator().manual_seed(n)
        samples = 0.1 * torch.randn(2, 1600, generator=generator)
        audio_io.write(tmp_path / "songs" / f"{name}.wav", samples, RATE, "PCM_16")
    broken = broken_songs(tmp_path / "songs")
    names = sorted([*good, *broken], key=lambda name: name[::-1])  # mixed
    (tmp_path / "songs.csv").write_text("path\n" + "\n".join(f"songs/{n}.wav" for n in names))
    one = tmp_path / "one"
    assert main(["separate", str(tmp_path / "songs"), "-m", str(model), "-o", str(one)]) == 1
    engine = failing(lambda engine: nodes.remove_node(nodes.list_all_nodes()[-1]))
    found = separate_catalogue(
        manifest=tmp_path / "songs.csv",
        output=tmp_path / "many",
        model=str(model),
        cluster=nodes.address,
        progress=False,
    )
    assert engine.happened
    assert (finished(found), found.failed, found.quarantined) == (90, 10, 0)
    assert {os.path.basename(song)[:-4] for song in found.reasons} == broken
    rows = pq.read_table(tmp_path / "many/catalogue.parquet").to_pylist()
    assert sorted(row["name"] for row in rows) == sorted(f"songs/{name}" for name in names)
    stems = {f.relative_to(tmp_path / "many/songs"): f for f in tmp_path.glob("many/**/*.wav")}
    assert len(stems) == 2 * 90
    for name, file in stems.items():
        assert file.read_bytes() == (one / name).read_bytes()
