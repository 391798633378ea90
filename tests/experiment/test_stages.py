"""Stages 0 and 1 as the recipe runs them: data sets brought, checked, decoded, divided."""

from __future__ import annotations

import importlib.util
import shutil

import pytest
import torch

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.config import Configuration, load
from asteroid_waveunet.experiment.data import download, obtain
from asteroid_waveunet.experiment.data.licenses import terms
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.settings import Data, Publishing
from helpers import corpora
from helpers.file_server import FileServer, dropped
from helpers.paths import RECIPE
from helpers.songs import RATE, write_song

MODEL = {"sources": ["accompaniment", "vocals"], "sample_rate": RATE, "levels": 2}


def script(name):
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPE))  # as where it is run
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def places(tmp_path):
    return ExperimentDir(tmp_path / "exp" / "x", tmp_path / "data")


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A server of a small MUSDB18-HQ, and a small CCMixter; both in place of the real ones."""
    archive = corpora.musdb18hq(tmp_path / "hq")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
    with FileServer(archive.read_bytes()) as server:
        hq = corpora.served("musdb18hq", archive, url=server.url)
        cc = corpora.served("ccmixter", corpora.ccmixter(tmp_path / "cc"))
        monkeypatch.setitem(corpora.CORPORA, "musdb18hq", hq)
        monkeypatch.setitem(corpora.CORPORA, "ccmixter", cc)
        yield server


def place_ccmixter(tmp_path, places):
    places.data_dir.mkdir(exist_ok=True)
    (tmp_path / "cc" / "served.zip").rename(places.data_dir / "ccmixter_corpus.zip")


def settings(**data):
    return Configuration(MODEL, data=Data(**data))


def conf(tmp_path, text="model: {preset: M4, levels: 2, sample_rate: 8000}"):
    path = tmp_path / "conf.yml"
    path.write_text(text)
    return path


def test_from_a_server_that_breaks_off_to_tracks_that_are_trained_on(
    known, places, tmp_path, monkeypatch, capsys
):
    known.faults = [dropped(download.BLOCK)]
    configure, data, prepare = script("configure"), script("data"), script("prepare")
    asked = {"dataset": "musdb18hq", "extra": "ccmixter"}
    place_ccmixter(tmp_path, places)
    with pytest.raises(PermissionError, match="--accept_license"):
        configure.configure(conf(tmp_path), places, asked)
    assert not places.exp_dir.exists()
    monkeypatch.setenv("ACCEPT_LICENSE", "true")
    configure.configure(conf(tmp_path), places, asked)
    assert "accept" not in places.conf.read_text(), "it is for one person to accept, not for files"
    configuration = load(places.conf)
    data.main(configuration, places)
    said = capsys.readouterr().out
    assert f"The data set is in {places.data_dir / 'musdb18hq'}." in said
    assert f"The data set is in {places.data_dir / 'ccmixter'}." in said
    assert "note: BKS - Bulldozer: at 1:12" in said and "note: PR - Oh No: the sources" in said
    prepare.main(configuration, places)
    assert "5 training tracks" in capsys.readouterr().out
    train, valid = stages.training_tracks(configuration, places)
    assert [track.name for track in valid] == ["Leaf - Summerghost"]
    assert {track.name for track in train} == {*corpora.TRAIN[1:], *corpora.CCMIXTER}
    monkeypatch.delenv("ACCEPT_LICENSE")
    configure.configure(conf(tmp_path), places, asked)
    data.main(configuration, places)


def test_extra_songs_never_validate(known, places, tmp_path):
    place_ccmixter(tmp_path, places)
    for valid in (0.25, "paper", "auto"):
        configuration = settings(dataset="musdb18hq", extra=["ccmixter"], valid=valid)
        stages.obtain_data(configuration, places, accept_license=True)
        train, valid_tracks = stages.training_tracks(configuration, places)
        names = [track.name for track in train]
        assert {*corpora.CCMIXTER} <= {*names} and len(names) == 4 and len(valid_tracks) == 1


def test_ccmixter_alone_is_trained_on_and_it_is_said_that_it_has_no_test(known, places, tmp_path):
    place_ccmixter(tmp_path, places)
    configuration = settings(dataset="ccmixter")
    assert stages.obtain_data(configuration, places) == [places.data_dir / "ccmixter"]
    assert "training songs only" in stages.data_notes(configuration, places)[0]
    train, valid = stages.training_tracks(configuration, places)
    assert (len(train), len(valid)) == (1, 1)


def test_an_extra_data_set_needs_the_same_parts(known, places, tmp_path, data):
    place_ccmixter(tmp_path, places)
    configuration = Configuration(
        {"sources": ["bass", "vocals"]}, data=Data(str(data), extra=["ccmixter"])
    )
    with pytest.raises(ValueError, match="ccmixter cannot be an extra data set: no stems for the"):
        stages.obtain_data(configuration, places)
    write_song(tmp_path / "mine" / "train" / "s", stems=("accompaniment", "vocals", "crowd"))
    configuration = settings(dataset=str(data), extra=[str(tmp_path / "mine")])
    with pytest.raises(ValueError, match=r"mine has .*rest, but .* need the same"):
        stages.check_data(configuration, places)


def test_no_song_is_trained_on_that_tests(places, tmp_path, data):
    write_song(tmp_path / "mine" / "train" / "T - test")
    configuration = settings(dataset=str(data), extra=[str(tmp_path / "mine")])
    with pytest.raises(ValueError, match="T - test is in .*mine and in another data set"):
        stages.check_data(configuration, places)


@pytest.mark.parametrize("extra", [["data"], ["mine", "mine"]])
def test_no_data_set_is_extra_twice(places, tmp_path, data, extra):
    write_song(tmp_path / "mine" / "train" / "another")
    configuration = settings(dataset=str(data), extra=[str(tmp_path / name) for name in extra])
    with pytest.raises(ValueError, match="in another data set"):
        stages.check_data(configuration, places)


def test_songs_that_were_generated_by_half_stand_in_no_ones_way(places):
    configuration = settings(dataset="demo")
    write_song(places.dataset(configuration.data) / "train" / "Demo train 01 - Silver Orchard")
    stages.check_data(configuration, places)


def test_an_extra_folder_that_is_not_there_is_named(places, data):
    with pytest.raises(FileNotFoundError, match="no data folder nowhere"):
        stages.check_data(settings(dataset=str(data), extra=["nowhere"]), places)


def test_generated_songs_can_be_trained_on_as_well(places, data):
    few = {
        "demo_train_songs": 1,
        "demo_test_songs": 1,
        "demo_seconds": 2.0,
        "demo_sample_rate": 8000,
    }
    configuration = settings(dataset=str(data), extra=["demo"], **few)
    stages.check_data(configuration, places)
    assert len(stages.obtain_data(configuration, places)) == 2
    assert len(stages.prepare_data(configuration, places, progress=False)) == 4


def test_a_name_that_is_taken_by_a_folder_is_the_folder(places, tmp_path, data, monkeypatch):
    """As --data DIR does, --extra DIR means a folder where one started the command."""
    monkeypatch.chdir(tmp_path)
    write_song(tmp_path / "mine" / "train" / "song")
    overrides = {"dataset": "data", "extra": "[mine]"}
    script("configure").configure(conf(tmp_path), places, overrides)
    assert load(places.conf).data.extra == [str(tmp_path / "mine")]


def test_who_learns_from_musdb18_as_well_is_bound_by_its_licence():
    own = Data("mine", extra=["musdb18"])
    with pytest.raises(ValueError, match="license is 'mit', and MUSDB18 is for non-commercial"):
        terms(Configuration({}, data=own, publishing=Publishing(license="mit")))
    with pytest.raises(ValueError, match="license is None"):
        terms(Configuration({}, data=own))
    found = terms(Configuration({}, data=Data("musdb18", extra=["ccmixter"])))
    assert found.license == "cc-by-nc-sa-4.0" and found.data.name == "MUSDB18"
    assert "also trained on CCMixter: CCMixter is 50 songs" in found.data.about
    found = terms(Configuration({}, data=Data("demo", extra=["musdb18hq"])))
    assert found.license == "cc-by-nc-sa-4.0" and found.examples == "mit"


def own_songs(root, **songs):
    for subset, names in songs.items():
        for name in names:
            write_song(root / subset / name, seconds=1)
    return root


def test_a_training_that_has_begun_goes_on_with_its_own_music_or_not_at_all(tmp_path, places):
    root = own_songs(tmp_path / "mine", train=("a", "b", "c"), test=("t",))
    configuration = settings(dataset=str(root), valid=["b"])
    before = stages.training_tracks(configuration, places)
    places.checkpoints.mkdir(parents=True)
    assert stages.training_tracks(configuration, places) == before
    write_song(root / "train" / "d", seconds=1)
    with pytest.raises(ValueError, match=r"changed.*: tracks to train on \(d\).*--tag"):
        stages.training_tracks(configuration, places)
    shutil.rmtree(root / "train" / "d")
    write_song(root / "train" / "b", seconds=1.5)
    with pytest.raises(ValueError, match=r"tracks to validate \(b\)"):
        stages.training_tracks(configuration, places)
    shutil.rmtree(places.checkpoints)
    assert len(stages.training_tracks(configuration, places)[1]) == 1, "a new one begins"


def test_excerpts_of_a_song_are_that_song(tmp_path, places):
    """Nobody trains on a piece of what another piece validates or tests."""
    root = own_songs(tmp_path / "mine", train=("X - A 000s", "X - B"), test=("X - T",))
    extra = own_songs(tmp_path / "more", train=("X - T 015s", "X - A 045s", "X - C"))
    configuration = settings(dataset=str(root), extra=[str(extra)], valid=["X - B"])
    with pytest.raises(ValueError, match="X - A, X - T is in .*more and in another data set"):
        stages.check_data(configuration, places)


def test_a_data_set_that_lacks_songs_is_refused_before_any_stage(known, places, tmp_path):
    obtain.obtain(corpora.CORPORA["musdb18hq"], places.data_dir, True, progress=False)
    stages.check_data(settings(dataset="musdb18hq"), places)
    shutil.rmtree(places.data_dir / "musdb18hq" / "train" / corpora.TRAIN[1])
    with pytest.raises(ValueError, match="has 4 tracks; musdb18hq has 5|musdb18hq has"):
        stages.check_data(settings(dataset="musdb18hq"), places)


def test_a_folder_does_not_take_the_name_of_a_known_data_set(tmp_path, monkeypatch):
    (tmp_path / "musdb18hq").mkdir()
    monkeypatch.chdir(tmp_path)
    folder_of = script("configure").folder_of
    assert folder_of("musdb18hq") == "musdb18hq" and folder_of("demo") == "demo"
    assert folder_of("./musdb18hq") == str(tmp_path / "musdb18hq")


def test_a_full_gpu_is_said_to_be_full(capsys):
    def train():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")

    with pytest.raises(SystemExit) as ended:
        stages.exit_on_error(train)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "Tried to allocate 9 GiB.)" in said and "--batch_size" in said and "more" not in said
