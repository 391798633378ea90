"""License terms of published weights and song excerpts, from the data they come from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.data.licenses import DATA, MUSDB18, OWN, DataSet
from asteroid_waveunet.experiment.settings import Publishing

__all__ = ["Terms", "terms"]

LINKS = {
    "mit": ("the MIT license", "https://opensource.org/license/mit"),
    "cc0-1.0": ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "cc-by-4.0": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "cc-by-sa-4.0": ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "cc-by-nc-4.0": ("CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/"),
    "cc-by-nc-sa-4.0": ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
}


@dataclass(frozen=True)
class Terms:
    """License terms of a published model.

    Attributes:
        data: the training data, as the model card describes it.
        license: of the weights, by the Hub's identifier; None if not stated.
        examples: license of excerpts of test songs; None if none are published.
    """

    data: DataSet
    license: str | None
    examples: str | None

    def notice(self) -> str:
        """Return the license notice in Markdown."""
        weights = (
            f"The weights are licensed under {_link(self.license)}."
            if self.license
            else "No license is stated for these weights: ask the publisher before using them."
        )
        audio = (
            f"The song excerpts in `examples/` are licensed under {_link(self.examples)}."
            if self.examples
            else "No audio of the songs is included."
        )
        code = "asteroid-waveunet, which loads the weights, is licensed under the MIT license."
        return f"{weights}\n\n{audio}\n\n{code}\n"


def terms(configuration: Configuration, musdb18_folders: Collection[str] = ()) -> Terms:
    """Derive the terms from a configuration's data and its `Publishing` section.

    Args:
        musdb18_folders: the configuration's folders that hold songs of MUSDB18.
    Raises:
        ValueError: if the requested terms are not allowed, or a license is missing.

    >>> terms(Configuration({}, publishing=Publishing(license="mit")))
    Traceback (most recent call last):
    ValueError: license is 'mit', but MUSDB18 is for non-commercial use only; expected \
cc-by-nc-sa-4.0, another with -nc- in its name, or other.
    """
    settings = configuration.publishing
    known = {**DATA, **dict.fromkeys(musdb18_folders, MUSDB18)}
    names = (configuration.data.dataset, *configuration.data.extra)
    data, *extra = (known.get(name) or replace(OWN, name=Path(name).name) for name in names)
    # The strictest terms of all training data apply to the weights.
    binding = next((each for each in (data, *extra) if each.non_commercial), data)
    stated = {each.license for each in (data, *extra)}
    license = settings.license or (None if None in stated else binding.license)
    if binding.non_commercial and license != "other" and "-nc-" not in str(license):
        raise ValueError(
            f"license is {license!r}, but {binding.name} is for non-commercial use only; expected "
            f"{binding.license}, another with -nc- in its name, or other."
        )
    examples = _examples(settings, data)
    return Terms(_describe(data, extra, settings.data_name), license, examples)


def _describe(data: DataSet, extra: Sequence[DataSet], name: str | None) -> DataSet:
    """Describe the main data set and mention the others."""
    also = "".join(f" The model was also trained on {each.name}: {each.about}" for each in extra)
    return replace(data, name=name or data.name, about=data.about + also)


def _examples(settings: Publishing, data: DataSet) -> str | None:
    """Return the license of the excerpts; None to publish none."""
    wanted = data.examples is not None if settings.examples is None else settings.examples
    if settings.examples_license and not settings.examples:
        raise ValueError("examples_license is given, but examples is not true.")
    if not wanted:
        return None
    if data.non_commercial:
        raise ValueError(f"The songs of {data.name} may not be published: examples must be false.")
    license = settings.examples_license or data.examples
    if license is None:
        raise ValueError(
            "examples is true, but the license of these songs' excerpts is unknown; add "
            "examples_license, such as cc-by-4.0."
        )
    return license


def _link(license: str) -> str:
    """Return a license as a Markdown link, or as code if its URL is unknown.

    >>> _link("cc0-1.0")
    '[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/)'
    """
    return "[{}]({})".format(*LINKS[license]) if license in LINKS else f"`{license}`"
