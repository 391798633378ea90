"""Data sets by name: from a server, or from what was placed by hand, to a folder that is whole."""

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
from asteroid_waveunet.experiment.data.obtain import CORPORA, check_obtainable, check_whole, obtain
from helpers import corpora
from helpers.file_server import FileServer, dropped, page, refused
from helpers.songs import RATE, write_song


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
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


def bring(corpus, data, accepted=True, **more):
    return obtain(corpus, data, accepted, progress=False, **more)


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".")


def place(archive, folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(archive, folder / name)


def test_the_facts_are_as_they_are_published():
    hq, stems = CORPORA["musdb18hq"], CORPORA["musdb18"]
    assert (hq.size, hq.md5) == (22_656_664_047, "12d4f2ecd55245a4688754dd76363103")
    assert (stems.size, stems.md5) == (4_684_228_845, "af06762477334799bfc5abf237648207")
    assert hq.url.startswith(hq.page) and stems.url.startswith(stems.page)
    assert hq.tracks == stems.tracks == {"train": 100, "test": 50}
    assert hq.names == set(splits.OFFICIAL_VALIDATION)
    assert CORPORA["ccmixter"].md5 == "231eea133f59f6a7a5ef4c47a8205256"
    assert CORPORA["ccmixter"].url is None and CORPORA["ccmixter"].tracks == {"train": 50}


def test_it_is_downloaded_unpacked_and_whole(corpus, data, capsys):
    root = bring(corpus, data)
    assert root == data / "musdb18hq"
    assert {track.name for track in musdb.tracks(root)} == {*corpora.TRAIN, *corpora.TEST}
    assert visible(data) == ["musdb18hq"], "the zip is not needed any more"
    assert "non-commercial" in capsys.readouterr().out
    assert {path.name for path in data.iterdir()} <= {"musdb18hq", ".musdb18hq.lock"}


def test_what_is_there_is_asked_nothing(corpus, server, data):
    bring(corpus, data)
    server.ranges.clear()
    assert bring(corpus, data, accepted=False) == data / "musdb18hq"
    assert server.ranges == []


def test_a_bad_line_is_survived(corpus, server, data):
    server.faults = [dropped(download.BLOCK), refused(503), dropped(2 * download.BLOCK)]
    assert visible(bring(corpus, data)) == ["test", "train"]
    assert server.ranges[-1] == f"bytes={2 * download.BLOCK}-"


def test_the_zip_stays_if_one_wants_it_to(corpus, data, capsys):
    bring(corpus, data, keep_archive=True)
    assert visible(data) == ["musdb18hq", "musdb18hq.zip"]


def test_nothing_is_downloaded_before_the_terms_are_accepted(corpus, server, data):
    with pytest.raises(
        PermissionError, match=r"(?s)--accept_license.*non-commercial.*zenodo"
    ) as info:
        bring(corpus, data, accepted=False)
    assert f"Put it at {data / 'musdb18hq.zip'}, or unpack it to {data / 'musdb18hq'}" in str(
        info.value
    )
    assert server.ranges == [] and not data.exists()


@pytest.mark.parametrize("status", [401, 403])
def test_where_access_is_restricted_that_is_said_and_how_to_do_without(
    corpus, server, data, status
):
    server.always = refused(status)
    with pytest.raises(PermissionError, match=rf"{status} .*restricted.*{corpus.page}") as info:
        bring(corpus, data)
    assert f"Put it at {data / 'musdb18hq.zip'}, or unpack it to {data / 'musdb18hq'}" in str(
        info.value
    )


@pytest.mark.parametrize(("fault", "says"), [(refused(404), "404"), (page, "is a page")])
def test_how_to_do_without_is_said_of_other_failures_too(corpus, server, data, fault, says):
    server.always = fault
    with pytest.raises(OSError, match=rf"(?s){says}.*To place it by hand: get musdb18hq.zip"):
        bring(corpus, data)


def test_no_room_is_said_alone(corpus, data, monkeypatch):
    monkeypatch.setattr(disk, "free", lambda folder: 10)
    with pytest.raises(disk.NoSpace, match=r"Make room for .* more.*again\.$"):
        bring(corpus, data)


def test_too_little_room_to_unpack_is_said_before_the_download(corpus, server, data, capsys):
    bring(dataclasses.replace(corpus, unpacked=10**17), data)
    assert "(about 100000000.0 GB) may not fit" in capsys.readouterr().out


def test_a_zip_that_was_placed_by_hand_is_used_without_asking_and_stays(
    corpus, archive, server, data, capsys
):
    place(archive, data, "musdb18hq.zip")
    bring(corpus, data, accepted=False)
    assert server.ranges == [] and visible(data) == ["musdb18hq", "musdb18hq.zip"]
    assert "musdb18hq.zip is not needed any more" in capsys.readouterr().out


def test_a_zip_that_is_another_one_is_refused_and_stays(corpus, archive, data):
    place(archive, data, "musdb18hq.zip")
    with (data / "musdb18hq.zip").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="has the md5 .*Delete it, or get it again"):
        bring(corpus, data)
    os.truncate(data / "musdb18hq.zip", 1000)
    with pytest.raises(ValueError, match="has 1000 bytes, expected"):
        bring(corpus, data)
    assert visible(data) == ["musdb18hq.zip"]


def test_one_folder_around_all_is_tolerated(tmp_path, data):
    archive = corpora.musdb18hq(tmp_path / "made", top="musdb18hq")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("__MACOSX/train/._x", b"")
    place(archive, data, "musdb18hq.zip")
    assert visible(bring(corpora.served("musdb18hq", archive), data)) == ["test", "train"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda songs: shutil.rmtree(songs / "train" / corpora.TRAIN[2]),
            "has 2 tracks; musdb18hq",
        ),
        (
            lambda songs: (songs / "train" / corpora.TRAIN[0]).rename(songs / "train" / "X"),
            r"3 tracks \(without Leaf - Summerghost\)",
        ),
        (
            lambda songs: (songs / "test" / corpora.TEST[0] / "drums.wav").unlink(),
            "have the stems bass, other, vocals; those of",
        ),
        (
            lambda songs: (songs / "train" / corpora.TRAIN[1] / "bass.wav").unlink(),
            "1 of 3 tracks lack the stem 'bass'",
        ),
        (
            lambda songs: os.truncate(songs / "test" / corpora.TEST[0] / "bass.wav", 0),
            "nothing in .*bass.wav",
        ),
        (lambda songs: shutil.rmtree(songs / "test"), "no 'test' folder"),
        (lambda songs: (songs / "train").rename(songs / "other"), "is not musdb18hq; expected"),
    ],
)
def test_what_is_not_all_of_it_does_not_get_its_name(tmp_path, data, spoil, says):
    corpora.musdb18hq(tmp_path / "made")
    spoil(tmp_path / "made" / "songs")
    archive = corpora.zipped(tmp_path / "made" / "songs", tmp_path / "spoilt.zip")
    place(archive, data, "musdb18hq.zip")
    with pytest.raises(ValueError, match=says):
        bring(corpora.served("musdb18hq", archive), data)
    assert visible(data) == ["musdb18hq.zip"]
    assert {path.name for path in data.iterdir()} == {"musdb18hq.zip", ".musdb18hq.lock"}


def test_a_folder_that_is_not_all_of_it_is_found_out_every_time(corpus, data):
    root = bring(corpus, data)
    write_song(root / "train" / "one more", seconds=0.1)
    with pytest.raises(
        ValueError, match=r"has 4 tracks; musdb18hq has 3. Delete the folder.*--data DIR"
    ):
        bring(corpus, data)


def test_dangerous_and_damaged_zips_leave_nothing(tmp_path, data):
    archive = corpora.musdb18hq(tmp_path / "made")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("../../slip", b"harm")
    place(archive, data, "musdb18hq.zip")
    with pytest.raises(ValueError, match="outside of the folder"):
        bring(corpora.served("musdb18hq", archive), data)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(archive.read_bytes()[:-2000])
    place(broken, data, "musdb18hq.zip")
    with pytest.raises(ValueError, match="truncated or damaged"):
        bring(corpora.served("musdb18hq", broken), data)
    assert visible(data) == ["musdb18hq.zip"] and not (tmp_path / "slip").exists()


def test_unpacking_that_was_killed_is_begun_anew(corpus, data):
    half = data / ".musdb18hq.unpacking" / "train" / "half a song"
    write_song(half, seconds=0.1)
    bring(corpus, data)
    assert visible(data) == ["musdb18hq"] and not half.exists()


def test_a_downloaded_zip_is_deleted_by_the_run_that_unpacks_it_in_the_end(
    corpus, server, data, monkeypatch
):
    def full(*_):
        raise disk.NoSpace("no space left")

    monkeypatch.setattr(obtaining, "unpack", full)
    with pytest.raises(disk.NoSpace):
        bring(corpus, data)
    assert visible(data) == ["musdb18hq.zip"]
    monkeypatch.undo()
    server.ranges.clear()
    bring(corpus, data)
    assert server.ranges == [] and visible(data) == ["musdb18hq"]
    assert not (data / corpus.marker).exists()


def test_a_run_that_was_killed_before_it_deleted_the_zip_is_cleared_up_after(
    corpus, data, monkeypatch
):
    monkeypatch.setattr(obtaining, "_clear", lambda *_: None)
    bring(corpus, data)
    assert visible(data) == ["musdb18hq", "musdb18hq.zip"]
    monkeypatch.undo()
    bring(corpus, data)
    assert visible(data) == ["musdb18hq"]


def test_a_zip_that_was_placed_in_the_place_of_a_downloaded_one_stays(corpus, archive, data):
    place(archive, data, "musdb18hq.zip")
    (data / corpus.marker).write_text("1")
    bring(corpus, data)
    assert visible(data) == ["musdb18hq", "musdb18hq.zip"]


def test_a_zip_that_was_to_stay_stays(corpus, data):
    bring(corpus, data, keep_archive=True)
    bring(corpus, data)
    shutil.rmtree(data / "musdb18hq")
    bring(corpus, data)
    assert visible(data) == ["musdb18hq", "musdb18hq.zip"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda root, other: root.symlink_to(other), "is a link"),
        (lambda root, other: root.symlink_to(other / "gone"), "is a link"),
        (lambda root, other: root.write_text(""), "is a file"),
    ],
)
def test_what_no_folder_can_replace_is_said_before_anything_is_downloaded(
    corpus, server, tmp_path, data, make, says
):
    data.mkdir()
    (tmp_path / "other disk").mkdir()
    make(data / "musdb18hq", tmp_path / "other disk")
    with pytest.raises(ValueError, match=rf"musdb18hq {says} with no.* link {data} itself.*--stor"):
        bring(corpus, data)
    assert server.ranges == []


def test_a_link_to_a_data_set_and_an_empty_folder_will_do(corpus, archive, tmp_path, data):
    (data / "musdb18hq").mkdir(parents=True)
    bring(corpus, data)
    (data / "musdb18hq").rename(tmp_path / "moved")
    (data / "musdb18hq").symlink_to(tmp_path / "moved")
    assert bring(corpus, data) == data / "musdb18hq"


def test_a_folder_that_lacks_tracks_gives_way_to_the_zip(corpus, archive, data):
    place(archive, data, "musdb18hq.zip")
    (data / "musdb18hq" / "half").mkdir(parents=True)
    says = r"no 'train' folder.*Delete the folder, and run this again \(.*musdb18hq.zip is used"
    with pytest.raises(ValueError, match=says):
        check_obtainable(corpus, data, accepted=False)


def test_two_runs_at_once_bring_it_once(corpus, server, data, capsys):
    runs = [threading.Thread(target=bring, args=(corpus, data)) for _ in range(2)]
    server.faults = [dropped(download.BLOCK)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert check_whole(corpus, data / "musdb18hq") is None
    assert server.answered == [200, 206]


def test_a_folder_that_may_not_be_written_to_is_nobodys_licence(corpus, data, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied", "here")

    monkeypatch.setattr(download, "_complete", denied)
    with pytest.raises(PermissionError, match="Permission denied: 'here'$"):
        bring(corpus, data)


def test_stems_are_unpacked_as_they_are(tmp_path, data):
    for subset, names in {"train": corpora.TRAIN, "test": corpora.TEST}.items():
        (tmp_path / "songs" / subset).mkdir(parents=True)
        for name in names:
            (tmp_path / "songs" / subset / f"{name}.stem.mp4").write_bytes(b"five streams")
    archive = corpora.zipped(tmp_path / "songs", tmp_path / "served.zip")
    with FileServer(archive.read_bytes()) as server:
        root = bring(corpora.served("musdb18", archive, url=server.url), data)
    assert [track.name for track in musdb.tracks(root, "train")] == sorted(corpora.TRAIN)


def test_stems_are_not_the_wavs_of_the_same_songs(corpus, data):
    root = bring(corpus, data)
    for track in musdb.tracks(root, "test"):
        shutil.rmtree(track.path)
        track.path.with_name(f"{track.name}.stem.mp4").write_bytes(b"five streams")
    with pytest.raises(ValueError, match=r"mp4 is of another data set; the .* musdb18hq are .wav"):
        check_whole(corpus, root)


# --- CCMixter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "ccmixter_corpus"])
def test_ccmixter_comes_into_our_layout(tmp_path, data, top):
    archive = corpora.ccmixter(tmp_path / "made", top=top)
    place(archive, data, "ccmixter_corpus.zip")
    tracks = musdb.tracks(bring(corpora.served("ccmixter", archive), data))
    assert [track.name for track in tracks] == sorted(corpora.CCMIXTER)
    assert tracks[0].stems == ("accompaniment", "vocals") and tracks[0].has_mixture
    there = tmp_path / "made" / "songs" / top / tracks[0].name
    for theirs, ours in {"source-01": "accompaniment", "source-02": "vocals"}.items():
        assert tracks[0].read(ours)[0].equal(audio_io.read(there / f"{theirs}.wav")[0])
    assert visible(data) == ["ccmixter", "ccmixter_corpus.zip"]


def test_ccmixter_unpacked_by_hand_is_linked_to(tmp_path, data):
    corpora.ccmixter(tmp_path / "made")
    shutil.copytree(tmp_path / "made" / "songs" / "ccmixter_corpus", data / "ccmixter_corpus")
    root = bring(corpora.served("ccmixter", tmp_path / "made" / "served.zip"), data)
    theirs = data / "ccmixter_corpus" / corpora.CCMIXTER[0] / "source-02.wav"
    ours = root / "train" / corpora.CCMIXTER[0] / "vocals.wav"
    assert os.path.samefile(theirs, ours)
    shutil.rmtree(data / "ccmixter_corpus")
    assert ours.is_file()


@pytest.fixture
def no_hard_links(monkeypatch):
    def fails(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fails)


def test_where_there_are_no_hard_links_it_is_copied(tmp_path, data, no_hard_links):
    corpora.ccmixter(tmp_path / "made")
    shutil.copytree(tmp_path / "made" / "songs" / "ccmixter_corpus", data / "ccmixter_corpus")
    root = bring(corpora.served("ccmixter", tmp_path / "made" / "served.zip"), data)
    shutil.rmtree(data / "ccmixter_corpus")
    assert not (root / "train" / corpora.CCMIXTER[0] / "vocals.wav").is_symlink()
    assert musdb.tracks(root)[0].read("vocals")[1] == RATE


def test_no_hard_links_are_needed_for_what_is_in_the_zip(ccmixter_zip, data, no_hard_links):
    place(ccmixter_zip, data, "ccmixter_corpus.zip")
    root = bring(corpora.served("ccmixter", ccmixter_zip), data)
    assert musdb.tracks(root)[0].read("vocals")[1] == RATE
    assert not any(path.is_symlink() for path in root.rglob("*"))


def test_files_that_are_links_by_name_are_linked_to_where_they_lead(tmp_path, data):
    corpora.ccmixter(tmp_path / "made")
    there = tmp_path / "made" / "songs" / "ccmixter_corpus"
    (data / "ccmixter_corpus").mkdir(parents=True)
    for song in there.iterdir():
        (data / "ccmixter_corpus" / song.name).mkdir()
        for file in song.iterdir():
            (data / "ccmixter_corpus" / song.name / file.name).symlink_to(
                os.path.relpath(file, data / "ccmixter_corpus" / song.name)
            )
    root = bring(corpora.served("ccmixter", tmp_path / "made" / "served.zip"), data)
    assert musdb.tracks(root)[0].read("vocals")[1] == RATE


def test_a_folder_of_ccmixter_that_lacks_songs_gives_way_to_the_zip(ccmixter_zip, data):
    place(ccmixter_zip, data, "ccmixter_corpus.zip")
    folder = data / "ccmixter_corpus"
    write_song(folder / "half", ("source-01", "source-02"), 0.1)
    corpus = corpora.served("ccmixter", ccmixter_zip)
    with pytest.raises(ValueError, match=rf"Delete the folder {folder}, .*corpus.zip is used then"):
        bring(corpus, data)
    shutil.rmtree(folder)
    assert visible(bring(corpus, data)) == ["train"]


def test_ccmixter_packed_again_is_told_and_used_if_all_is_there(ccmixter_zip, data, capsys):
    place(ccmixter_zip, data, "ccmixter_corpus.zip")
    bring(corpora.served("ccmixter", ccmixter_zip, md5="0" * 32), data)
    said = capsys.readouterr().out
    assert "expected 000" in said and "used if it holds the 2 songs" in said


def test_ccmixter_without_a_song_or_a_stem_is_refused(tmp_path, ccmixter_zip, data):
    place(ccmixter_zip, data, "ccmixter_corpus.zip")
    with pytest.raises(
        ValueError, match="is not ccmixter as it should be: .* has 2 tracks; ccmixter has 50"
    ):
        bring(corpora.served("ccmixter", ccmixter_zip, tracks={"train": 50}), data)
    corpora.ccmixter(tmp_path / "made")
    (tmp_path / "made/songs/ccmixter_corpus" / corpora.CCMIXTER[0] / "source-02.wav").unlink()
    archive = corpora.zipped(tmp_path / "made" / "songs", tmp_path / "spoilt.zip")
    place(archive, data, "ccmixter_corpus.zip")
    with pytest.raises(ValueError, match="1 of 2 tracks lack the stem 'vocals'"):
        bring(corpora.served("ccmixter", archive), data)


def test_ccmixter_has_to_be_placed_by_hand(data):
    with pytest.raises(FileNotFoundError, match="nowhere that ccmixter can be downloaded") as info:
        bring(CORPORA["ccmixter"], data)
    assert f"Put it at {data / 'ccmixter_corpus.zip'}, or unpack it to" in str(info.value)


def test_what_is_on_its_way_is_not_asked_about_twice(corpus, data):
    """The configuration is checked before stage 0 brings the data."""
    with pytest.raises(PermissionError):
        check_obtainable(corpus, data, accepted=False)
    check_obtainable(corpus, data, accepted=True)
    (data / "musdb18hq").mkdir(parents=True)
    with pytest.raises(PermissionError):
        check_obtainable(corpus, data, accepted=False)


def test_data_sets_are_known_without_ffmpeg(tmp_path):
    code = "import asteroid_waveunet.experiment.data.obtain as d; print(len(d.CORPORA))"
    environment = {**os.environ, "PATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert result.stdout.strip() == "3", result.stderr


def test_every_corpus_has_its_terms():
    assert all(obtaining.DATA[name].about in corpus.terms for name, corpus in CORPORA.items())
