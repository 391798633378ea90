"""Training and validation: every track on one side, every song too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asteroid_waveunet.experiment.data import splits
from helpers.songs import folder_of


def test_the_official_split_is_the_one_of_musdb():
    import yaml

    text = (folder_of("musdb") / "configs" / "mus.yaml").read_text()
    assert tuple(yaml.safe_load(text)["validation_tracks"]) == splits.OFFICIAL_VALIDATION


def test_official_takes_those_that_are_there_or_says_what_to_do():
    names = ["Leaf - Summerghost", "Leaf - Wicked"]
    assert splits.split(names, "official") == (["Leaf - Wicked"], ["Leaf - Summerghost"])
    with pytest.raises(ValueError, match="none of them is among the 2.*fraction"):
        splits.split(["a", "b"], "official")


def test_auto_is_official_where_those_are_and_else_a_fifth_of_the_songs():
    names = ["Leaf - Summerghost", "Leaf - Wicked"]
    assert splits.split(names, "auto") == splits.split(names, "official")
    names = [f"Song {i}" for i in range(10)]
    assert splits.split(names, "auto", 3) == splits.split(names, 0.2, 3)


def test_names_with_special_characters_are_names_before_they_are_patterns():
    names = ["A - One [live]", "A - One l", "B - Two"]
    assert splits.split(names, ["A - One [live]"])[1] == ["A - One [live]", "A - One l"]
    assert splits.split(names, "A*")[0] == ["B - Two"]
    with pytest.raises(ValueError, match=r"'C\*' fits none of the 3"):
        splits.split(names, ["A*", "C*"])


@pytest.mark.parametrize("valid", [["*"], []])
def test_neither_side_may_be_empty(valid):
    with pytest.raises(ValueError, match="leaves no track"):
        splits.split(["a", "b"], valid)
    with pytest.raises(ValueError, match="leaves no track for validation"):
        splits.split(["only"], 0.5)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 25])
def test_a_fraction_lies_between_0_and_1(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        splits.split(["a", "b"], fraction)


@given(st.integers(2, 12), st.integers(1, 4), st.floats(0.01, 0.8), st.integers(0, 99))
def test_a_fraction_is_drawn_by_song_and_repeats(n_songs, n_excerpts, fraction, seed):
    names = [f"Artist - {s} {15 * e:03d}s" for s in range(n_songs) for e in range(n_excerpts)]
    train, valid = splits.split(names, fraction, seed)
    assert sorted(train + valid) == sorted(names) and valid
    songs = [{splits.song_of(name) for name in side} for side in (train, valid)]
    assert not songs[0] & songs[1]
    assert len(songs[1]) == min(max(1, round(fraction * n_songs)), n_songs - 1)
    assert (train, valid) == splits.split(reversed(names), fraction, seed)


def test_the_papers_share_is_a_quarter_of_the_songs_the_same_for_every_seed():
    names = [f"Artist {i:03d} - A. B. Song" for i in range(100)]
    train, valid = splits.split(names, "paper", 1)
    assert (len(train), len(valid)) == (75, 25)
    assert (train, valid) == splits.split(names, "paper", 2) == splits.split(names, 0.25, 1337)
    assert valid != splits.split(names, 0.25, 1)[1]


def test_names_with_dots_are_whole_names():
    names = [
        "M.E.R.C. Music - Knockout",
        "M.E.R.C. Music - Other",
        "Triviul feat. The Fiend - Widow",
    ]
    for name in names:
        assert splits.split(names, [name])[1] == [name]
    assert splits.split(names, ["M.E.R.C. *"])[0] == names[2:]
