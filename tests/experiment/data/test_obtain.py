"""Known data sets: downloaded or placed by hand, unpacked, arranged and checked."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.data import download, musdb, splits
from asteroid_waveunet.experiment.data import obtain as obtaining
from asteroid_waveunet.experiment.data.corpora import CORPORA
from asteroid_waveunet.experiment.data.obtain import check_complete, check_obtainable
from helpers import corpora
from helpers.file_server import FileServer, dropped, page, refused
from helpers.paths import ROOT
from helpers.songs import RATE, write_song


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(download, "LONGEST_WAIT", 0.02)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return corpora.musdb18hq(tmp_path_factory.mktemp("hq"))


@pytest.fixture(scope="module")
def ccmixter_zip(tmp_path_factory):
    return corpora.ccmixter(tmp_path_factory.mktemp("cc"))


@pytest.fixture
def server(archive):
    with FileServer(archive.read_bytes()) as server:
        yield server


@pytest.fixture
def corpus(server, archive):
    return corpora.served("musdb18hq", archive, url=server.url)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def obtain(corpus, data, accepted=True, **options):
    return obtaining.obtain(corpus, data, accepted, progress=False, **options)


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".")


def place(archive, folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(archive, folder / name)


def test_records_match_the_published_data_sets():
    hq, stems, ccmixter = (CORPORA[name] for name in ("musdb18hq", "musdb18", "ccmixter"))
    assert (hq.size, hq.md5) == (22_656_664_047, "12d4f2ecd55245a4688754dd76363103")
    assert (stems.size, stems.md5) == (4_684_228_845, "af06762477334799bfc5abf237648207")
    assert hq.url.startswith(hq.page) and stems.url.startswith(stems.page)
    assert hq.tracks == stems.tracks == {"train": 100, "test": 50}
    assert hq.names == set(splits.OFFICIAL_VALIDATION)
    seven = CORPORA["musdb18_7"]
    assert (seven.size, seven.md5) == (147_209_385, "dc2bdfac5b46ce742bd60009866758a5")
    assert seven.tracks == {"train": 94, "test": 50} and seven.names == hq.names
    assert seven.url.startswith(seven.page) and "non-commercial" in seven.terms
    assert ccmixter.md5 == "231eea133f59f6a7a5ef4c47a8205256"
    assert ccmixter.url is None and ccmixter.tracks == {"train": 50}
    assert "non-commercial" in hq.terms and "Creative Commons" in ccmixter.terms


def test_download_over_a_bad_connection_leaves_only_the_data_set(corpus, server, data, capsys):
    server.faults = [dropped(download.BLOCK), refused(503), dropped(2 * download.BLOCK)]
    root = obtain(corpus, data)
    assert root == data / "musdb18hq"
    assert {track.name for track in musdb.tracks(root)} == {*corpora.TRAIN, *corpora.TEST}
    assert server.ranges[-1] == f"bytes={2 * download.BLOCK}-"
    assert "non-commercial" in capsys.readouterr().out
    assert {path.name for path in data.iterdir()} <= {"musdb18hq", ".musdb18hq.lock"}
    server.ranges.clear()
    assert obtain(corpus, data, accepted=False) == data / "musdb18hq"
    assert server.ranges == [], "an existing data set needs no request"


def test_terms_must_be_accepted_before_a_download(corpus, server, data):
    with pytest.raises(
        PermissionError, match=r"(?s)--accept_license.*non-commercial.*zenodo"
    ) as info:
        obtain(corpus, data, accepted=False)
    assert f"{data / 'musdb18hq.zip'}, or unpack it to {data / 'musdb18hq'}" in str(info.value)
    assert server.ranges == [] and not data.exists()
    check_obtainable(corpus, data, accepted=True)
    (data / "musdb18hq").mkdir(parents=True)
    with pytest.raises(PermissionError):
        check_obtainable(corpus, data, accepted=False)


def test_failed_download_explains_placing_by_hand(corpus, server, data):
    for fault, kind, facts in (
        (refused(401), PermissionError, "401 .*restricted.*zenodo"),
        (refused(403), PermissionError, "403 .*restricted.*zenodo"),
        (refused(404), FileNotFoundError, "404"),
        (page, OSError, "web page"),
    ):
        server.always = fault
        with pytest.raises(kind, match=rf"(?s){facts}.*by hand: get musdb18hq.zip") as info:
            obtain(corpus, data)
        assert f"{data / 'musdb18hq.zip'}, or unpack it to {data / 'musdb18hq'}" in str(info.value)


def test_local_errors_do_not_suggest_placing_by_hand(corpus, data, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(disk, "free_space", lambda folder: 10)
        with pytest.raises(disk.NoSpace, match=r"Free .* more.*again\.$"):
            obtain(corpus, data)

    def deny(*_):
        raise PermissionError(13, "Permission denied", "here")

    monkeypatch.setattr(download, "_complete", deny)
    with pytest.raises(PermissionError, match="Permission denied: 'here'$"):
        obtain(corpus, data)


def test_keep_archive_and_a_warning_of_too_little_space(corpus, data, capsys):
    corpus = dataclasses.replace(corpus, unpacked=10**17)
    obtain(corpus, data, keep_archive=True)
    assert "(about 100000000.0 GB) may not fit" in capsys.readouterr().out
    obtain(corpus, data)
    shutil.rmtree(data / "musdb18hq")
    obtain(corpus, data)
    assert visible(data) == ["musdb18hq", "musdb18hq.zip"], "the zip is kept by later runs too"


def test_zip_placed_by_hand_is_used_and_kept(corpus, archive, server, data, capsys):
    place(archive, data, "musdb18hq.zip")
    (data / corpus.marker).write_text("1")  # of an earlier download
    obtain(corpus, data, accepted=False)
    assert server.ranges == [] and visible(data) == ["musdb18hq", "musdb18hq.zip"]
    assert "musdb18hq.zip is no longer needed" in capsys.readouterr().out


def test_wrong_zip_is_refused_and_kept(corpus, archive, data):
    place(archive, data, "musdb18hq.zip")
    with (data / "musdb18hq.zip").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="has the md5 .*Delete it"):
        obtain(corpus, data)
    os.truncate(data / "musdb18hq.zip", 1000)
    with pytest.raises(ValueError, match="has 1000 bytes, expected"):
        obtain(corpus, data)
    assert visible(data) == ["musdb18hq.zip"]


def test_zip_with_a_top_level_folder_is_accepted(tmp_path, data):
    archive = corpora.musdb18hq(tmp_path / "made", top="musdb18hq")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("__MACOSX/train/._x", b"")
    place(archive, data, "musdb18hq.zip")
    assert visible(obtain(corpora.served("musdb18hq", archive), data)) == ["test", "train"]


def remove_track(songs):
    shutil.rmtree(songs / "train" / corpora.TRAIN[2])


def rename_track(songs):
    (songs / "train" / corpora.TRAIN[0]).rename(songs / "train" / "X")


def remove_stem_of_all(songs):
    (songs / "test" / corpora.TEST[0] / "drums.wav").unlink()


def remove_stem_of_one(songs):
    (songs / "train" / corpora.TRAIN[1] / "bass.wav").unlink()


def empty_file(songs):
    os.truncate(songs / "test" / corpora.TEST[0] / "bass.wav", 0)


def remove_subset(songs):
    shutil.rmtree(songs / "test")


def rename_subset(songs):
    (songs / "train").rename(songs / "other")


def test_incomplete_zip_creates_no_data_set(tmp_path, data):
    corpora.musdb18hq(tmp_path / "made")
    for spoil, facts in (
        (remove_track, "has 2 tracks; musdb18hq has 3"),
        (rename_track, r"3 tracks \(without Leaf - Summerghost\)"),
        (remove_stem_of_all, "have the stems bass, other, vocals; those of"),
        (remove_stem_of_one, "1 of 3 tracks lack the stem 'bass'"),
        (empty_file, "empty files: .*bass.wav"),
        (remove_subset, "no 'test' folder"),
        (rename_subset, "not musdb18hq; expected"),
    ):
        songs = tmp_path / spoil.__name__
        shutil.copytree(tmp_path / "made" / "songs", songs)
        spoil(songs)
        archive = corpora.zipped(songs, tmp_path / "spoilt.zip")
        place(archive, data, "musdb18hq.zip")
        with pytest.raises(ValueError, match=facts):
            obtain(corpora.served("musdb18hq", archive), data)
        left = {path.name for path in data.iterdir()}
        assert left == {"musdb18hq.zip"}, spoil.__name__


def test_existing_folder_is_checked_every_time(corpus, data):
    root = obtain(corpus, data)
    write_song(root / "train" / "one more", seconds=0.1)
    with pytest.raises(ValueError, match=r"has 4 tracks; musdb18hq has 3.*Delete .*--data DIR"):
        obtain(corpus, data)


def test_unsafe_and_damaged_zips_leave_nothing(tmp_path, data):
    archive = corpora.musdb18hq(tmp_path / "made")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("../../slip", b"harm")
    place(archive, data, "musdb18hq.zip")
    with pytest.raises(ValueError, match="outside of the folder"):
        obtain(corpora.served("musdb18hq", archive), data)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(archive.read_bytes()[:-2000])
    place(broken, data, "musdb18hq.zip")
    with pytest.raises(ValueError, match="truncated or damaged"):
        obtain(corpora.served("musdb18hq", broken), data)
    assert visible(data) == ["musdb18hq.zip"] and not (tmp_path / "slip").exists()


def test_interrupted_unpacking_is_repeated_without_a_download(corpus, server, data, monkeypatch):
    def fail(archive, folder, progress):
        write_song(folder / "train" / "half a song", seconds=0.1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(obtaining, "unzip", fail)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if killed
        with pytest.raises(KeyboardInterrupt):
            obtain(corpus, data)
    assert visible(data) == ["musdb18hq.zip"] and (data / ".musdb18hq.unpacking").exists()
    server.ranges.clear()
    obtain(corpus, data)
    assert server.ranges == [] and visible(data) == ["musdb18hq"]
    assert {path.name for path in data.iterdir()} <= {"musdb18hq", ".musdb18hq.lock"}


def test_downloaded_zip_left_by_a_killed_run_is_deleted(corpus, data, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(obtaining, "_delete_archive", lambda *_: None)
        obtain(corpus, data)
    assert visible(data) == ["musdb18hq", "musdb18hq.zip"]
    obtain(corpus, data)
    assert visible(data) == ["musdb18hq"]


def test_path_that_a_folder_cannot_replace_is_refused_before_the_download(
    corpus, server, tmp_path, data
):
    data.mkdir()
    root, other = data / "musdb18hq", tmp_path / "other disk"
    other.mkdir()
    for make, kind in (
        (lambda: root.symlink_to(other), "a link"),
        (lambda: root.symlink_to(other / "missing"), "a link"),
        (lambda: root.write_text(""), "a file"),
    ):
        make()
        with pytest.raises(ValueError, match=rf"musdb18hq is {kind} .* link {data} itself.*--stor"):
            obtain(corpus, data)
        root.unlink()
    assert server.ranges == []


def test_empty_folder_and_link_to_a_data_set_are_accepted(corpus, tmp_path, data):
    (data / "musdb18hq").mkdir(parents=True)
    obtain(corpus, data)
    (data / "musdb18hq").rename(tmp_path / "moved")
    (data / "musdb18hq").symlink_to(tmp_path / "moved")
    assert obtain(corpus, data) == data / "musdb18hq"


def test_incomplete_folder_next_to_a_zip_mentions_the_zip(corpus, archive, data):
    place(archive, data, "musdb18hq.zip")
    (data / "musdb18hq" / "half").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no 'train' folder.*Delete .*use .*musdb18hq.zip"):
        check_obtainable(corpus, data, accepted=False)


def test_two_concurrent_runs_download_once(corpus, server, data):
    runs = [threading.Thread(target=obtain, args=(corpus, data)) for _ in range(2)]
    server.faults = [dropped(download.BLOCK)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert check_complete(corpus, data / "musdb18hq") is None
    assert server.answered == [200, 206]


def test_musdb18_contains_stem_files(tmp_path, data):
    for subset, names in {"train": corpora.TRAIN, "test": corpora.TEST}.items():
        (tmp_path / "songs" / subset).mkdir(parents=True)
        for name in names:
            (tmp_path / "songs" / subset / f"{name}.stem.mp4").write_bytes(b"five streams")
    archive = corpora.zipped(tmp_path / "songs", tmp_path / "served.zip")
    with FileServer(archive.read_bytes()) as server:
        root = obtain(corpora.served("musdb18", archive, url=server.url), data)
    assert [track.name for track in musdb.tracks(root, "train")] == sorted(corpora.TRAIN)


def test_stem_files_are_not_accepted_as_musdb18hq(corpus, data):
    root = obtain(corpus, data)
    for track in musdb.tracks(root, "test"):
        shutil.rmtree(track.path)
        track.path.with_name(f"{track.name}.stem.mp4").write_bytes(b"five streams")
    with pytest.raises(ValueError, match=r"mp4 is of another data set; .* musdb18hq are .wav"):
        check_complete(corpus, root)


@pytest.fixture
def no_hard_links(monkeypatch):
    def fail(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)


@pytest.mark.parametrize("top", ["", "ccmixter_corpus"])
def test_ccmixter_zip_is_arranged_like_musdb18(tmp_path, data, top, no_hard_links):
    archive = corpora.ccmixter(tmp_path / "made", top=top)
    place(archive, data, "ccmixter_corpus.zip")
    tracks = musdb.tracks(obtain(corpora.served("ccmixter", archive), data))
    assert [track.name for track in tracks] == sorted(corpora.CCMIXTER)
    assert tracks[0].stems == ("accompaniment", "vocals") and tracks[0].has_mixture
    original = tmp_path / "made" / "songs" / top / tracks[0].name
    for file, stem in {"source-01": "accompaniment", "source-02": "vocals"}.items():
        assert tracks[0].read(stem)[0].equal(audio_io.read(original / f"{file}.wav")[0])
    assert visible(data) == ["ccmixter", "ccmixter_corpus.zip"]


def unpack_ccmixter(tmp_path, data):
    """Unpack a small CCMixter by hand; return its record."""
    corpora.ccmixter(tmp_path / "made")
    shutil.copytree(tmp_path / "made" / "songs" / "ccmixter_corpus", data / "ccmixter_corpus")
    return corpora.served("ccmixter", tmp_path / "made" / "served.zip")


def test_ccmixter_unpacked_by_hand_is_hard_linked(tmp_path, data):
    root = obtain(unpack_ccmixter(tmp_path, data), data)
    original = data / "ccmixter_corpus" / corpora.CCMIXTER[0] / "source-02.wav"
    assert os.path.samefile(original, root / "train" / corpora.CCMIXTER[0] / "vocals.wav")


def test_ccmixter_unpacked_by_hand_is_copied_without_hard_links(tmp_path, data, no_hard_links):
    root = obtain(unpack_ccmixter(tmp_path, data), data)
    shutil.rmtree(data / "ccmixter_corpus")
    assert not (root / "train" / corpora.CCMIXTER[0] / "vocals.wav").is_symlink()
    assert musdb.tracks(root)[0].read("vocals")[1] == RATE


def test_symbolic_links_in_ccmixter_are_resolved(tmp_path, data):
    corpora.ccmixter(tmp_path / "made")
    for song in (tmp_path / "made" / "songs" / "ccmixter_corpus").iterdir():
        folder = data / "ccmixter_corpus" / song.name
        folder.mkdir(parents=True)
        for file in song.iterdir():
            (folder / file.name).symlink_to(os.path.relpath(file, folder))
    root = obtain(corpora.served("ccmixter", tmp_path / "made" / "served.zip"), data)
    assert musdb.tracks(root)[0].read("vocals")[1] == RATE


def test_incomplete_unpacked_ccmixter_mentions_the_zip(ccmixter_zip, data):
    place(ccmixter_zip, data, "ccmixter_corpus.zip")
    folder = data / "ccmixter_corpus"
    write_song(folder / "half", ("source-01", "source-02"), 0.1)
    corpus = corpora.served("ccmixter", ccmixter_zip)
    with pytest.raises(ValueError, match=rf"Delete the folder {folder}, .*use .*corpus.zip"):
        obtain(corpus, data)
    shutil.rmtree(folder)
    assert visible(obtain(corpus, data)) == ["train"]


def test_repacked_ccmixter_is_used_if_complete(ccmixter_zip, data, capsys):
    place(ccmixter_zip, data, "ccmixter_corpus.zip")
    with pytest.raises(ValueError, match="has 2 tracks; ccmixter has 50"):
        obtain(corpora.served("ccmixter", ccmixter_zip, tracks={"train": 50}), data)
    obtain(corpora.served("ccmixter", ccmixter_zip, md5="0" * 32), data)
    output = capsys.readouterr().out
    assert "expected 000" in output and "2 songs" in output


def test_ccmixter_has_to_be_placed_by_hand(data):
    with pytest.raises(FileNotFoundError, match="ccmixter cannot be downloaded") as info:
        obtain(CORPORA["ccmixter"], data)
    assert f"{data / 'ccmixter_corpus.zip'}, or unpack it to" in str(info.value)


def test_import_needs_neither_ffmpeg_nor_networks(tmp_path):
    code = (
        "import sys, asteroid_waveunet.experiment.data.obtain\n"
        "assert 'asteroid_waveunet.models.base' not in sys.modules\n"
    )
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)
