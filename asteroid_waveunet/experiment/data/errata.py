"""Known faults of songs of MUSDB18, which are used as released."""

from __future__ import annotations

from collections.abc import Iterable

from asteroid_waveunet.experiment.data.splits import song_of

__all__ = ["AFFECTING_SCORES", "ERRATA", "notes"]

# Song -> fault that limits the scores of any model.
AFFECTING_SCORES = {
    "PR - Oh No": "the sources do not sum to the mixture in the left channel",
}

# As listed by the data set's authors.
ERRATA = {
    "Al James - Schoolboy Facination": "synthesised vocals are in other",
    "BKS - Bulldozer": "at 1:12 a cowbell is in other",
    "Chris Durban - Celebrate": "the other sources bleed into vocals",
    "Detsky Sad - Walkie Talkie": "some of other is in drums",
    "Enda Reilly - Cur An Long Ag Seol": "at the beginning speech is in other",
    "Hop Along - Sister Cities": "the other sources bleed into vocals",
    "Leaf - Wicked": "at 2:20 and 3:02 a guitar is in drums and vocals",
    "PR - Oh No": f"{AFFECTING_SCORES['PR - Oh No']}; mixture and sources are used as released, as "
    "in published results, and estimates that sum to the mixture cannot be perfect",
}


def notes(names: Iterable[str]) -> list[str]:
    """Return the known faults of these songs or excerpts.

    >>> notes(["A - B", "BKS - Bulldozer 060s", "BKS - Bulldozer 075s"])
    ['BKS - Bulldozer: at 1:12 a cowbell is in other']
    """
    songs = {song_of(name) for name in names}
    return [f"{song}: {fault}" for song, fault in ERRATA.items() if song in songs]
