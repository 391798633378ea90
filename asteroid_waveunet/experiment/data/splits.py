"""Division of training tracks into training and validation sets."""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Iterable, Sequence

from asteroid_waveunet.file_utils import nfc

__all__ = ["OFFICIAL_VALIDATION", "song_of", "split"]

# The paper validates on 25 of the 100 songs, drawn once; the list is not published. This draws as
# many with a fixed seed, independent of the experiment's.
PAPER_FRACTION, PAPER_SEED = 0.25, 1337

# `validation_tracks` in the configs/mus.yaml of musdb 0.4.3; all of them lie in train.
OFFICIAL_VALIDATION = (
    "Actions - One Minute Smile",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies",
    "Patrick Talbot - A Reason To Leave",
    "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero",
    "Fergessen - Nos Palpitants",
    "Leaf - Summerghost",
    "Skelpolu - Human Mistakes",
    "Young Griffo - Pennies",
    "ANiMAL - Rockshow",
    "James May - On The Line",
    "Meaxic - Take A Step",
    "Traffic Experiment - Sirens",
)


def song_of(name: str) -> str:
    """Return the song of an excerpt: its name without a trailing position in seconds.

    >>> song_of("Artist - Title 015s"), song_of("Artist - Title 99")
    ('Artist - Title', 'Artist - Title 99')
    """
    return re.sub(r" \d+s$", "", name)


def split(
    names: Iterable[str], valid: str | float | Iterable[str], seed: int = 0
) -> tuple[list[str], list[str]]:
    """Divide names into training and validation names, each sorted.

    Args:
        names: of all tracks.
        valid: validation tracks, as one of
            "official": MUSDB18's own validation tracks.
            "auto": "official" if any of those tracks exist, else 0.2.
            "paper": a quarter of the songs, the same for every seed.
            a fraction of the songs, between 0 and 1, drawn with the seed. Each side gets at least
            one song; excerpts of a song stay together, see `song_of`.
            names or patterns such as "Artist - *".
        seed: of the draw.

    Raises:
        ValueError: if either side would be empty, or a name or pattern matches no track.

    >>> split(["a 01s", "a 02s", "b 01s"], ["b*"])
    (['a 01s', 'a 02s'], ['b 01s'])
    """
    names = sorted(names)
    if valid == "auto":
        valid = 0.2 if set(names).isdisjoint(OFFICIAL_VALIDATION) else "official"
    if valid == "official":
        chosen = _official(names)
    elif valid == "paper":
        chosen = _fraction(names, PAPER_FRACTION, PAPER_SEED)
    elif isinstance(valid, (int, float)):
        chosen = _fraction(names, valid, seed)
    else:
        chosen = _matching(names, [valid] if isinstance(valid, str) else list(valid))
    training = [name for name in names if name not in chosen]
    if not training or not chosen:
        empty = "training" if not training else "validation"
        raise ValueError(
            f"valid={valid!r} leaves none of the {len(names)} tracks for {empty}; training and "
            "validation need at least one each"
        )
    return training, sorted(chosen)


def _official(names: Sequence[str]) -> set[str]:
    chosen = set(names).intersection(OFFICIAL_VALIDATION)
    if not chosen:
        raise ValueError(
            f"valid='official': none of the {len(names)} tracks is a validation track of MUSDB18."
            " Give a fraction of the songs (0.25 as in the paper), or names or patterns"
        )
    return chosen


def _fraction(names: Sequence[str], fraction: float, seed: int) -> set[str]:
    if not 0 < fraction < 1:
        raise ValueError(f"valid={fraction!r}: expected a fraction of the songs between 0 and 1")
    songs = sorted({song_of(name) for name in names})
    # random() gives the same numbers in all versions of Python; sample() and shuffle() need not.
    draw = random.Random(seed)
    ranks = {song: draw.random() for song in songs}
    n_valid = min(max(1, round(fraction * len(songs))), len(songs) - 1)
    chosen = sorted(songs, key=ranks.__getitem__)[:n_valid]
    return {name for name in names if song_of(name) in chosen}


def _matching(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    chosen: set[str] = set()
    for pattern in patterns:
        wanted = nfc(pattern)
        hits = {n for n in names if nfc(n) == wanted or fnmatch.fnmatchcase(nfc(n), wanted)}
        if not hits:
            raise ValueError(
                f"valid: {pattern!r} matches none of the {len(names)} tracks, {names[:3]} ..."
            )
        chosen |= hits
    return chosen
