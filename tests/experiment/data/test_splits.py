"""Splits: every track, and every song, is either training or validation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_waveunet.experiment.data import splits
from helpers.songs import folder_of


def test_official_validation_tracks_are_those_of_musdb():
    import yaml

    text = (folder_of("musdb") / "configs" / "mus.yaml").read_text()
    assert tuple(yaml.safe_load(text)["validation_tracks"]) == splits.OFFICIAL_VALIDATION


def test_official_takes_the_existing_tracks_and_auto_falls_back_to_a_fifth():
    names = ["Leaf - Summerghost", "Leaf - Wicked"]
    official = (["Leaf - Wicked"], ["Leaf - Summerghost"])
    assert splits.split(names, "official") == splits.split(names, "auto") == official
    with pytest.raises(ValueError, match="official.* 2 tracks.*fraction"):
        splits.split(["a", "b"], "official")
    names = [f"Song {i}" for i in range(10)]
    assert splits.split(names, "auto", 3) == splits.split(names, 0.2, 3)


def test_patterns_match_names_literally_first():
    names = ["A - One [live]", "A - One l", "B - Two"]
    assert splits.split(names, ["A - One [live]"])[1] == ["A - One [live]", "A - One l"]
    assert splits.split(names, "A*")[0] == ["B - Two"]
    with pytest.raises(ValueError, match=r"'C\*' .*none of the 3"):
        splits.split(names, ["A*", "C*"])


def test_dots_in_names_are_not_suffixes():
    names = [
        "M.E.R.C. Music - Knockout",
        "M.E.R.C. Music - Other",
        "Triviul feat. The Fiend - Widow",
    ]
    for name in names:
        assert splits.split(names, [name])[1] == [name]
    assert splits.split(names, ["M.E.R.C. *"])[0] == names[2:]


def test_empty_sides_and_invalid_fractions_are_refused():
    for names, valid, empty in (
        (["a", "b"], ["*"], "training"),
        (["a", "b"], [], "validation"),
        (["only"], 0.5, "validation"),
    ):
        with pytest.raises(ValueError, match=f"{len(names)} tracks for {empty}"):
            splits.split(names, valid)
    for fraction in (0, 1, -0.5, 25):
        with pytest.raises(ValueError, match=f"valid={fraction}.*between 0 and 1"):
            splits.split(["a", "b"], fraction)


@given(st.integers(2, 12), st.integers(1, 4), st.floats(0.01, 0.8), st.integers(0, 99))
@settings(max_examples=50)
def test_fraction_is_drawn_by_song_and_reproducible(n_songs, n_excerpts, fraction, seed):
    names = [f"Artist - {s} {15 * e:03d}s" for s in range(n_songs) for e in range(n_excerpts)]
    train, valid = splits.split(names, fraction, seed)
    assert sorted(train + valid) == sorted(names) and valid
    songs = [{splits.song_of(name) for name in side} for side in (train, valid)]
    assert not songs[0] & songs[1]
    assert len(songs[1]) == min(max(1, round(fraction * n_songs)), n_songs - 1)
    assert (train, valid) == splits.split(reversed(names), fraction, seed)


def test_paper_split_is_a_quarter_of_the_songs_for_every_seed():
    names = [f"Artist {i:03d} - A. B. Song" for i in range(100)]
    train, valid = splits.split(names, "paper", 1)
    assert (len(train), len(valid)) == (75, 25)
    assert (train, valid) == splits.split(names, "paper", 2) == splits.split(names, 0.25, 1337)
    assert valid != splits.split(names, 0.25, 1)[1]
