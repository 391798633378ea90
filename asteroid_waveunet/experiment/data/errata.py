"""Faults that songs of MUSDB18 are known to have; they are used as they were released."""

from __future__ import annotations

from collections.abc import Iterable

from asteroid_waveunet.experiment.data.splits import song_of

__all__ = ["ERRATA", "notes"]

# As the data set's authors list them.
ERRATA = {
    "Al James - Schoolboy Facination": "synthesised vocals are in other",
    "BKS - Bulldozer": "at 1:12 a cowbell is in other",
    "Chris Durban - Celebrate": "the other sources bleed into vocals",
    "Detsky Sad - Walkie Talkie": "some of other is in drums",
    "Enda Reilly - Cur An Long Ag Seol": "it begins with speech in other",
    "Hop Along - Sister Cities": "the other sources bleed into vocals",
    "Leaf - Wicked": "at 2:20 and 3:02 a guitar is in drums and vocals",
    "PR - Oh No": "the sources do not sum to the mixture in the left channel; it is separated from "
    "the mixture and scored against the sources, both as released, as in published results, so "
    "that estimates which sum to the mixture cannot be perfect there",
}


def notes(names: Iterable[str]) -> list[str]:
    """What is known of these songs, or of those that these are excerpts of.

    >>> notes(["A - B", "BKS - Bulldozer 060s", "BKS - Bulldozer 075s"])
    ['BKS - Bulldozer: at 1:12 a cowbell is in other']
    """
    songs = {song_of(name) for name in names}
    return [f"{song}: {fault}" for song, fault in ERRATA.items() if song in songs]
