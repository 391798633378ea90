"""Stages 0 and 1 as the recipe runs them: obtain, check, decode and split data sets."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil

import pytest
import torch

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.config import Configuration, load
from asteroid_waveunet.experiment.data import download, obtain
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.publishing.licensing import terms
from asteroid_waveunet.experiment.settings import Data, Evaluation, Publishing
from helpers import corpora
from helpers.file_server import FileServer, dropped
from helpers.paths import RECIPE
from helpers.songs import RATE, write_song

MODEL = {"sources": ["accompaniment", "vocals"], "sample_rate": RATE, "levels": 2}


def load_script(name):
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPE))  # as where it is run
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def experiment(tmp_path):
    return ExperimentDir(tmp_path / "exp" / "x", tmp_path / "data")


@pytest.fixture
def corpora_served(tmp_path, monkeypatch):
    """Replace MUSDB18-HQ by a small one on a local server, and CCMixter by a small archive."""
    archive = corpora.musdb18hq(tmp_path / "hq")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
    with FileServer(archive.read_bytes()) as server:
        hq = corpora.served("musdb18hq", archive, url=server.url)
        cc = corpora.served("ccmixter", corpora.ccmixter(tmp_path / "cc"))
        monkeypatch.setitem(corpora.CORPORA, "musdb18hq", hq)
        monkeypatch.setitem(corpora.CORPORA, "ccmixter", cc)
        yield server


def place_ccmixter(tmp_path, experiment):
    experiment.data_dir.mkdir(exist_ok=True)
    (tmp_path / "cc" / "served.zip").rename(experiment.data_dir / "ccmixter_corpus.zip")


def settings(**data):
    return Configuration(MODEL, data=Data(**data))


def write_conf(tmp_path, text="model: {preset: M4, levels: 2, sample_rate: 8000}"):
    path = tmp_path / "conf.yml"
    path.write_text(text)
    return path


def test_configure_data_and_prepare_survive_a_broken_download(
    corpora_served, experiment, tmp_path, monkeypatch, capsys
):
    corpora_served.faults = [dropped(download.BLOCK)]
    configure, data, prepare = load_script("configure"), load_script("data"), load_script("prepare")
    overrides = {"dataset": "musdb18hq", "extra": "ccmixter"}
    place_ccmixter(tmp_path, experiment)
    with pytest.raises(PermissionError, match="--accept_license"):
        configure.configure(write_conf(tmp_path), experiment, overrides)
    assert not experiment.exp_dir.exists()
    monkeypatch.setenv("ACCEPT_LICENSE", "true")
    configure.configure(write_conf(tmp_path), experiment, overrides)
    assert "accept" not in experiment.conf.read_text(), "acceptance is personal and not saved"
    configuration = load(experiment.conf)
    data.main(configuration, experiment)
    output = capsys.readouterr().out
    assert f"The data set is in {experiment.data_dir / 'musdb18hq'}." in output
    assert f"The data set is in {experiment.data_dir / 'ccmixter'}." in output
    assert "note: BKS - Bulldozer: at 1:12" in output and "note: PR - Oh No: the sources" in output
    prepare.main(configuration, experiment)
    assert "5 training tracks" in capsys.readouterr().out
    train, valid = stages.training_tracks(configuration, experiment)
    assert [track.name for track in valid] == ["Leaf - Summerghost"]
    assert {track.name for track in train} == {*corpora.TRAIN[1:], *corpora.CCMIXTER}
    monkeypatch.delenv("ACCEPT_LICENSE")
    configure.configure(write_conf(tmp_path), experiment, overrides)
    data.main(configuration, experiment)


def test_extra_songs_are_for_training_only(corpora_served, experiment, tmp_path):
    place_ccmixter(tmp_path, experiment)
    for valid in (0.25, "paper", "auto"):
        configuration = settings(dataset="musdb18hq", extra=["ccmixter"], valid=valid)
        stages.obtain_data(configuration, experiment, accept_license=True)
        train, valid_tracks = stages.training_tracks(configuration, experiment)
        names = [track.name for track in train]
        assert {*corpora.CCMIXTER} <= {*names} and len(names) == 4 and len(valid_tracks) == 1


def test_ccmixter_alone_trains_and_has_no_test_songs(corpora_served, experiment, tmp_path):
    place_ccmixter(tmp_path, experiment)
    configuration = settings(dataset="ccmixter")
    assert stages.obtain_data(configuration, experiment) == [experiment.data_dir / "ccmixter"]
    assert "training songs only" in stages.data_notes(configuration, experiment)[0]
    train, valid = stages.training_tracks(configuration, experiment)
    assert (len(train), len(valid)) == (1, 1)


def test_extra_data_sets_need_the_same_groups_of_stems(corpora_served, experiment, tmp_path, data):
    place_ccmixter(tmp_path, experiment)
    configuration = Configuration(
        {"sources": ["bass", "vocals"]}, data=Data(str(data), extra=["ccmixter"])
    )
    with pytest.raises(ValueError, match="ccmixter cannot be an extra data set: no stems for the"):
        stages.obtain_data(configuration, experiment)
    write_song(tmp_path / "mine" / "train" / "s", stems=("accompaniment", "vocals", "crowd"))
    configuration = settings(dataset=str(data), extra=[str(tmp_path / "mine")])
    with pytest.raises(ValueError, match=r"mine has .*rest, but .* need the same"):
        stages.check_data(configuration, experiment)


def test_extra_data_set_with_a_test_song_is_refused(experiment, tmp_path, data):
    write_song(tmp_path / "mine" / "train" / "T - test")
    configuration = settings(dataset=str(data), extra=[str(tmp_path / "mine")])
    with pytest.raises(ValueError, match="T - test is in .*mine and in another data set"):
        stages.check_data(configuration, experiment)


def test_duplicate_extra_data_sets_are_refused(experiment, tmp_path, data):
    write_song(tmp_path / "mine" / "train" / "another")
    for names in (["data"], ["mine", "mine"]):
        configuration = settings(dataset=str(data), extra=[str(tmp_path / n) for n in names])
        with pytest.raises(ValueError, match="in another data set"):
            stages.check_data(configuration, experiment)


def test_partly_generated_songs_are_no_error(experiment):
    configuration = settings(dataset="demo")
    write_song(experiment.dataset(configuration.data) / "train" / "Demo train 01 - Silver Orchard")
    stages.check_data(configuration, experiment)


def test_missing_folders_are_refused(experiment, data):
    with pytest.raises(FileNotFoundError, match="no data folder nowhere"):
        stages.check_data(settings(dataset=str(data), extra=["nowhere"]), experiment)
    with pytest.raises(FileNotFoundError, match="no data folder nowhere #1"):
        stages.check_data(settings(dataset="nowhere #1"), experiment)


def test_generated_songs_as_an_extra_data_set(experiment, data):
    few = {
        "demo_train_songs": 1,
        "demo_test_songs": 1,
        "demo_seconds": 2.0,
        "demo_sample_rate": 8000,
    }
    configuration = settings(dataset=str(data), extra=["demo"], **few)
    stages.check_data(configuration, experiment)
    assert len(stages.obtain_data(configuration, experiment)) == 2
    assert len(stages.prepare_data(configuration, experiment, progress=False)) == 4


def test_valid_data_validates_and_is_not_trained_on(experiment, tmp_path):
    own = write_songs(tmp_path / "mine", train=("a", "b"), test=("t",))
    other = write_songs(tmp_path / "other", train=("c", "Leaf - Summerghost"), test=("u",))
    configuration = settings(dataset=str(own), valid_data=str(other))
    stages.check_data(configuration, experiment)
    stages.prepare_data(configuration, experiment, progress=False)
    train, valid = stages.training_tracks(configuration, experiment)
    assert [track.name for track in train] == ["a", "b"], "all songs are trained on"
    assert [track.name for track in valid] == ["Leaf - Summerghost"]
    write_song(other / "train" / "a")
    with pytest.raises(ValueError, match=r"a is in .*other and in another data set"):
        stages.check_data(configuration, experiment)


@pytest.mark.parametrize("valid_data", [None, "other"])
def test_validation_tracks_can_be_scored_instead_of_test_tracks(
    experiment, tmp_path, valid_data, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "own", tmp_path / "other"):
        for song in ("test/a", "train/b", "train/c", "train/d"):
            write_song(root / song, seconds=0.1)
    data = Data(dataset=str(tmp_path / "own"), valid=["c"], valid_data=valid_data)
    for subset, name in (("test", "test/a"), ("valid", "train/c")):
        configuration = Configuration(MODEL, data=data, evaluation=Evaluation(subset=subset))
        (track,) = stages.scored_tracks(configuration, experiment)
        root = "other" if valid_data and subset == "valid" else "own"
        assert f"{track.subset}/{track.name}" == name
        assert track.path.resolve().is_relative_to(tmp_path / root)
    assert configuration.scoring_notes == ["on the validation tracks"]


def test_free_needs_a_soundfont_and_voices():
    for given in ({}, {"soundfont": "GM.sf2"}, {"voices": ["sung"]}):
        for place in ({"dataset": "free"}, {"extra": ["free"]}, {"valid_data": "free"}):
            with pytest.raises(ValueError, match=r"--soundfont FILE --voices"):
                Data(**place, **given)


def test_folders_are_saved_as_absolute_paths(experiment, tmp_path, data, monkeypatch):
    """Relative folders are resolved from the current directory."""
    monkeypatch.chdir(tmp_path)
    write_song(tmp_path / "mine" / "train" / "song")
    overrides = {"dataset": "data", "extra": "[mine]"}
    load_script("configure").configure(write_conf(tmp_path), experiment, overrides)
    assert load(experiment.conf).data.extra == [str(tmp_path / "mine")]


def test_licence_of_musdb18_binds_models_trained_on_it_as_extra():
    own = Data("mine", extra=["musdb18"])
    with pytest.raises(ValueError, match="license is 'mit'.*MUSDB18.*non-commercial"):
        terms(Configuration({}, data=own, publishing=Publishing(license="mit")))
    with pytest.raises(ValueError, match="license is None"):
        terms(Configuration({}, data=own))
    found = terms(Configuration({}, data=Data("musdb18", extra=["ccmixter"])))
    assert found.license == "cc-by-nc-sa-4.0" and found.data.name == "MUSDB18"
    assert "also trained on CCMixter: CCMixter is 50 songs" in found.data.about
    found = terms(Configuration({}, data=Data("demo", extra=["musdb18hq"])))
    assert found.license == "cc-by-nc-sa-4.0" and found.examples == "mit"


def write_songs(root, **songs):
    for subset, names in songs.items():
        for name in names:
            write_song(root / subset / name, seconds=1)
    return root


def test_training_resumes_only_with_the_same_tracks(tmp_path, experiment):
    root = write_songs(tmp_path / "mine", train=("a", "b", "c"), test=("t",))
    configuration = settings(dataset=str(root), valid=["b"])
    before = stages.training_tracks(configuration, experiment)
    experiment.checkpoints.mkdir(parents=True)
    assert stages.training_tracks(configuration, experiment) == before
    write_song(root / "train" / "d", seconds=1)
    with pytest.raises(ValueError, match=r"changed.*: tracks to train on \(d\).*--tag"):
        stages.training_tracks(configuration, experiment)
    shutil.rmtree(root / "train" / "d")
    write_song(root / "train" / "b", seconds=1.5)
    with pytest.raises(ValueError, match=r"tracks to validate \(b\)"):
        stages.training_tracks(configuration, experiment)
    shutil.rmtree(experiment.checkpoints)
    assert len(stages.training_tracks(configuration, experiment)[1]) == 1, "a new training begins"


def test_excerpts_count_as_their_song(tmp_path, experiment):
    """Excerpts of one song must not be split between training and validation or test."""
    root = write_songs(tmp_path / "mine", train=("X - A 000s", "X - B"), test=("X - T",))
    extra = write_songs(tmp_path / "more", train=("X - T 015s", "X - A 045s", "X - C"))
    configuration = settings(dataset=str(root), extra=[str(extra)], valid=["X - B"])
    with pytest.raises(ValueError, match="X - A, X - T is in .*more and in another data set"):
        stages.check_data(configuration, experiment)


def test_incomplete_data_set_is_refused(corpora_served, experiment, tmp_path):
    obtain.obtain(corpora.CORPORA["musdb18hq"], experiment.data_dir, True, progress=False)
    stages.check_data(settings(dataset="musdb18hq"), experiment)
    shutil.rmtree(experiment.data_dir / "musdb18hq" / "train" / corpora.TRAIN[1])
    with pytest.raises(ValueError, match="has 4 tracks; musdb18hq has 5|musdb18hq has"):
        stages.check_data(settings(dataset="musdb18hq"), experiment)


def test_known_names_take_precedence_over_folders(tmp_path, monkeypatch):
    (tmp_path / "musdb18hq").mkdir()
    monkeypatch.chdir(tmp_path)
    folder_of = load_script("configure").folder_of
    assert folder_of("musdb18hq") == "musdb18hq" and folder_of("demo") == "demo"
    assert folder_of("./musdb18hq") == str(tmp_path / "musdb18hq")


def test_gpu_out_of_memory_is_a_user_error(capsys):
    def train():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")

    with pytest.raises(SystemExit) as ended:
        stages.exit_on_error(train)
    assert ended.value.code == 1
    output = capsys.readouterr().err
    assert (
        "Tried to allocate 9 GiB.)" in output and "--batch_size" in output and "more" not in output
    )


STEMS_BUT_DRUMS = ("bass", "other", "vocals")
UNUSABLE_DATA = {
    "lack the stem 'drums'": lambda root: write_song(root / "train" / "c", STEMS_BUT_DRUMS),
    "lack the stem 'bass'": lambda root: (root / "test" / "t" / "bass.wav").unlink(),
    "no stems for the source 'accompaniment': the data has piano": lambda root: [
        shutil.rmtree(root),
        *(write_song(root / name, stems=("piano",)) for name in ("train/a", "train/b", "test/t")),
    ],
    "differ in sample rate": lambda root: write_song(root / "test" / "t", ("bass",), rate=4000),
    "has 6 channels and the model 2": lambda root: write_song(root / "test" / "t", channels=6),
    "is truncated": lambda root: os.truncate(root / "test" / "t" / "mixture.wav", 20000),
}


@pytest.mark.parametrize("message", UNUSABLE_DATA)
def test_unusable_data_is_refused_in_stage_0(experiment, tmp_path, message):
    root = write_songs(tmp_path / "songs", train=("a", "b"), test=("t",))
    UNUSABLE_DATA[message](root)
    configuration = Configuration({**MODEL, "in_channels": 2}, data=Data(str(root)))
    with pytest.raises(ValueError, match=message):
        stages.obtain_data(configuration, experiment)


def test_configure_refuses_to_resume_nothing_and_to_change_settings(
    experiment, tmp_path, data, monkeypatch
):
    configure = load_script("configure").configure
    conf, overrides = write_conf(tmp_path), {"dataset": str(data)}
    monkeypatch.setenv("RESUME", "true")
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        configure(conf, experiment, overrides)
    assert not experiment.exp_dir.exists()
    monkeypatch.delenv("RESUME")
    configure(conf, experiment, overrides)
    experiment.best_model.touch()  # checkpoints may have been deleted
    for changed, difference in {"lr": "lr: 0.5, not 0.0001", "levels": "levels: 4, not 2"}.items():
        value = difference.split()[1].rstrip(",")
        with pytest.raises(ValueError, match=f"{difference}.*--tag"):
            configure(conf, experiment, {**overrides, changed: value})
    configure(conf, experiment, {**overrides, "gradient_clip": "1", "max_epochs": "2000"})
    with pytest.raises(ValueError, match="levels is 0"):
        configure(conf, experiment, {**overrides, "levels": "0"})


def test_automatic_precision_is_recorded_and_kept(experiment, tmp_path, data, monkeypatch, capsys):
    configure, train = load_script("configure").configure, load_script("train")
    conf, overrides = write_conf(tmp_path), {"dataset": str(data), "precision": "auto"}

    def chosen(precision):
        def resolve(settings, model):
            return dataclasses.replace(settings, precision=precision), f"auto: {precision} (why)"

        monkeypatch.setattr(train.precision, "resolve", resolve)
        return train.with_precision(load(experiment.conf), experiment, None).training.precision

    for other in ("32-true", "bf16-mixed"):  # nothing has been trained in the first
        configure(conf, experiment, overrides)
        assert load(experiment.conf).training.precision == "auto"
        assert chosen(other) == load(experiment.conf).training.precision == other
        assert capsys.readouterr().out == f"Precision auto: {other} (why).\n"
    experiment.checkpoints.mkdir()
    configure(conf, experiment, overrides)
    assert load(experiment.conf).training.precision == "bf16-mixed" == chosen("32-true")
    configure(conf, experiment, {**overrides, "precision": "32-true"})
    assert load(experiment.conf).training.precision == "32-true"


def test_scores_need_a_trained_model(experiment):
    with pytest.raises(FileNotFoundError, match="best_model.pth; run stage 2"):
        experiment.fingerprint(settings())


def test_stage_works_alone_on_an_experiment(experiment, capsys, monkeypatch):
    """A second run is refused with the first one's process; other ranks of a training are not."""
    settings().save(experiment.conf)
    folders = ["--exp_dir", str(experiment.exp_dir), "--data_dir", str(experiment.data_dir)]
    done = []

    def second(*_):
        done.append("second")

    def first(*_):
        with pytest.raises(SystemExit) as ended:
            stages.run(second, folders)
        assert ended.value.code == 1
        monkeypatch.setenv("LOCAL_RANK", "1")
        stages.run(second, folders)
        monkeypatch.delenv("LOCAL_RANK")

    stages.run(first, folders)
    assert done == ["second"]
    error = capsys.readouterr().err
    assert f"{experiment.exp_dir} is in use by another process (process {os.getpid()}" in error
    stages.run(second, folders)


def test_configuration_in_use_is_not_replaced(experiment):
    configure = load_script("configure")
    settings(dataset="demo").save(experiment.conf)
    before = experiment.conf.read_bytes()
    with experiment.locked(), pytest.raises(OSError, match="in use by another process"):
        configure.configure(experiment.conf, experiment, {"lr": "0.5"})
    assert experiment.conf.read_bytes() == before


def test_training_without_a_test_folder_ends_before_scoring(data, experiment):
    shutil.rmtree(data / "test")
    (data / "train" / "notes.txt").touch()
    configuration = settings(dataset=str(data))
    for check in (stages.check_data, stages.obtain_data):
        check(configuration, experiment, scores=False)
        with pytest.raises(FileNotFoundError, match=r"no 'test' folder in .*--stop-stage 2"):
            check(configuration, experiment)
    (note,) = stages.data_notes(configuration, experiment)
    assert "left out in" in note and ".txt" in note


def test_stems_that_a_difference_model_would_swallow_are_said_with_the_remedy(tmp_path, experiment):
    stems = ("bass", "drums", "other", "piano", "vocals")
    for name in ("train/a", "train/b", "test/c"):
        write_song(tmp_path / "five" / name, stems=stems)
    for sources, output, said in (
        (["bass", "drums", "other", "vocals"], "difference", True),
        (["bass", "drums", "other", "vocals"], "direct", False),
        (["bass", "drums", "other", "vocals", "rest"], "difference", False),
        (["accompaniment", "vocals"], "difference", False),
    ):
        configuration = Configuration(
            {**MODEL, "sources": sources, "output": output},
            data=Data(dataset=str(tmp_path / "five")),
        )
        notes = [n for n in stages.data_notes(configuration, experiment) if "piano" in n]
        assert bool(notes) == said, (sources, output)
        if said:
            assert "--output direct" in notes[0] and "vocals, rest]" in notes[0]
            assert "estimates of 'vocals'" in notes[0]
    configuration = Configuration(
        {**MODEL, "sources": ["drums", "vocals", "rest"]}, data=Data(dataset=str(tmp_path / "five"))
    )
    (first, *_) = stages.prepare_data(configuration, experiment, progress=False)
    assert first.groups == ("drums", "vocals", "rest") and first.n_src == 3
