"""What may be published: of weights by what they were trained on, and of the songs themselves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.settings import Publishing

__all__ = ["DATA", "DataSet", "Terms", "terms"]


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set.

    Attributes:
        name: what the card calls it.
        about: sentences on what it is and who may use it.
        limits: what a model cannot know that has learnt from it.
        hub: its name on the Hub.
        license: what weights trained on it have, where nothing else is said.
        examples: the licence of its audio, where that may be published.
        non_commercial: whether weights trained on it must be for non-commercial use.
        citation: BibTeX.
    """

    name: str
    about: str
    limits: str
    hub: str | None = None
    license: str | None = None
    examples: str | None = None
    non_commercial: bool = False
    citation: str = ""


MUSDB18 = DataSet(
    name="MUSDB18",
    about="MUSDB18 is 150 songs with their stems, 100 to train on and 50 to test. 46 are under "
    "CC BY-NC-SA 4.0, 2 under CC BY-NC-SA 3.0, 102 are restricted; all are for educational, "
    "non-commercial use only, and so are weights that have learnt from them.",
    limits="It has heard Western pop and rock, sung mostly in English, in 100 songs.",
    hub="musdb18",
    license="cc-by-nc-sa-4.0",
    non_commercial=True,
    citation="""@misc{musdb18,
  author = {Rafii, Zafar and Liutkus, Antoine and St{\\"o}ter, Fabian-Robert and
            Mimilakis, Stylianos Ioannis and Bittner, Rachel},
  title = {The {MUSDB18} corpus for music separation},
  year = {2017},
  doi = {10.5281/zenodo.1117372}
}""",
)

DATA = {
    "demo": DataSet(
        name="generated demonstration songs",
        about="The songs were made up by a program, asteroid-waveunet's own: no recording is in "
        "them and nobody's rights are.",
        limits="It has heard synthesised songs only: it demonstrates the recipe, and is of no use "
        "on recorded music.",
        license="mit",
        examples="mit",
    ),
    "musdb18": MUSDB18,
    "musdb18hq": replace(MUSDB18, name="MUSDB18-HQ", hub="musdb18hq"),
    "ccmixter": DataSet(
        name="CCMixter",
        about="CCMixter is 50 songs with their voice and the rest. Each has a Creative Commons "
        "licence of its own, some of them for non-commercial use only.",
        limits="It has heard 50 songs by people who let others remix them.",
        license="other",
        non_commercial=True,
    ),
}
OWN = DataSet(
    name="",
    about="A collection of the publisher's own, who answers for the right to train on it.",
    limits="It has heard this collection only; on music unlike it, expect less than the scores.",
)

LINKS = {
    "mit": ("the MIT licence", "https://opensource.org/license/mit"),
    "cc0-1.0": ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "cc-by-4.0": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "cc-by-sa-4.0": ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "cc-by-nc-4.0": ("CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/"),
    "cc-by-nc-sa-4.0": ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
}


@dataclass(frozen=True)
class Terms:
    """Under which a model is published.

    Attributes:
        data: what it was trained on, by the name that the card is to use.
        license: of the weights, by the Hub's identifier; None if nobody has stated any.
        examples: of pieces of the test songs; None if none are published.
    """

    data: DataSet
    license: str | None
    examples: str | None

    def notice(self) -> str:
        """Which licences there are, in Markdown."""
        weights = (
            f"The weights are licensed under {_named(self.license)}."
            if self.license
            else "No licence was stated for these weights: ask their publisher before you use them."
        )
        audio = (
            f"The pieces of songs in `examples/` are licensed under {_named(self.examples)}."
            if self.examples
            else "No audio of the songs is included."
        )
        code = "The program that made and loads the weights, asteroid-waveunet, is under the MIT"
        return f"{weights}\n\n{audio}\n\n{code} licence.\n"


def terms(configuration: Configuration, of_musdb18: Collection[str] = ()) -> Terms:
    """What a configuration's data and its `Publishing` section come to.

    Args:
        of_musdb18: which of the folders that the configuration names hold MUSDB18's songs.
    Raises:
        ValueError: if what is asked for is not allowed, or not enough is said for it.

    >>> terms(Configuration({}, publishing=Publishing(license="mit")))
    Traceback (most recent call last):
    ValueError: license is 'mit', and MUSDB18 is for non-commercial use only; expected \
cc-by-nc-sa-4.0, another with -nc- in its name, or other.
    """
    settings = configuration.publishing
    known = {**DATA, **dict.fromkeys(of_musdb18, MUSDB18)}
    names = (configuration.data.dataset, *configuration.data.extra)
    data, *extra = (known.get(name) or replace(OWN, name=Path(name).name) for name in names)
    # The strictest terms of all that it has learnt from hold for the weights.
    binding = next((each for each in (data, *extra) if each.non_commercial), data)
    stated = {each.license for each in (data, *extra)}
    license = settings.license or (None if None in stated else binding.license)
    if binding.non_commercial and license != "other" and "-nc-" not in str(license):
        raise ValueError(
            f"license is {license!r}, and {binding.name} is for non-commercial use only; expected "
            f"{binding.license}, another with -nc- in its name, or other."
        )
    examples = _examples(settings, data)
    return Terms(_together(data, extra, settings.data_name), license, examples)


def _together(data: DataSet, extra: Sequence[DataSet], name: str | None) -> DataSet:
    """The data set that it is tested with, and what is to be said of the others."""
    also = "".join(f" The model was also trained on {each.name}: {each.about}" for each in extra)
    return replace(data, name=name or data.name, about=data.about + also)


def _examples(settings: Publishing, data: DataSet) -> str | None:
    wanted = data.examples is not None if settings.examples is None else settings.examples
    if settings.examples_license and not settings.examples:
        raise ValueError("examples_license is of pieces of songs, and examples is not true.")
    if not wanted:
        return None
    if data.non_commercial:
        raise ValueError(f"The songs of {data.name} may not be published: examples must be false.")
    license = settings.examples_license or data.examples
    if license is None:
        raise ValueError(
            "examples is true, and nothing says under which licence pieces of these songs may be "
            "published; expected examples_license as well, such as cc-by-4.0."
        )
    return license


def _named(license: str) -> str:
    """
    >>> _named("cc0-1.0")
    '[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/)'
    """
    return "[{}]({})".format(*LINKS[license]) if license in LINKS else f"`{license}`"
