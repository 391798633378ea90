"""An experiment's configuration: read from YAML, overridden by the command line, saved.

Reading one imports neither torch nor the networks; `Configuration.make_model` does.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from asteroid_waveunet.experiment.architectures import ARCHITECTURES
from asteroid_waveunet.experiment.settings import (
    SECTIONS,
    Data,
    Evaluation,
    Publishing,
    Training,
    check_choice,
)
from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.models import presets

if TYPE_CHECKING:
    from asteroid_waveunet.models.base import SourceModel

__all__ = ["AudioFormat", "Configuration", "load", "parse_overrides"]

MODEL_SETTINGS = (
    "architecture",
    "preset",
    *dict.fromkeys(itertools.chain(*ARCHITECTURES.values())),
)

RENAMED = {"clip": "gradient_clip"}
"""Former name of a setting -> its name."""


@dataclass(frozen=True)
class AudioFormat:
    """The audio that a model takes and returns.

    Attributes:
        sources: names of the estimates, in order.
        sample_rate: in Hz.
        channels: of mixture and estimates.
    """

    sources: tuple[str, ...]
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class Configuration:
    """All settings of one experiment.

    Attributes:
        model: `architecture`, one of `ARCHITECTURES` (default `WaveUNet`), and its arguments; for
            a `WaveUNet` also `preset`, a model of the paper, whose arguments the others override.
    """

    model: dict[str, Any]
    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    publishing: Publishing = field(default_factory=Publishing)

    def model_arguments(self) -> tuple[str, dict[str, Any]]:
        """Return the architecture and its arguments, those of the preset included.

        Raises:
            ValueError: for an unknown architecture or preset, or an argument that the
                architecture does not have.
        """
        arguments = dict(self.model)
        architecture = arguments.pop("architecture", "WaveUNet")
        check_choice("architecture", architecture, ARCHITECTURES)
        preset = arguments.pop("preset", None)
        if preset is not None and not isinstance(preset, str):
            raise ValueError(f"preset is {preset!r}; expected one of {', '.join(presets.names())}.")
        if preset is not None and architecture != "WaveUNet":
            raise ValueError(
                f"preset {preset!r} is a WaveUNet, but architecture is {architecture!r}; set one "
                "of the two. --preset null removes a file's preset."
            )
        known = ARCHITECTURES[architecture]
        unknown = sorted(arguments.keys() - known.keys())
        if unknown:
            raise ValueError(
                f"A {architecture} has no setting {', '.join(unknown)}; its settings are "
                f"{', '.join(known)}."
            )
        if preset:
            arguments = {**presets.get(preset).arguments, **arguments}
        return architecture, arguments

    @property
    def audio_format(self) -> AudioFormat:
        """The model's sources, sample rate and channels, read without building it."""
        architecture, arguments = self.model_arguments()
        arguments = {**ARCHITECTURES[architecture], **arguments}
        return AudioFormat(
            tuple(arguments["sources"]), int(arguments["sample_rate"]), arguments["in_channels"]
        )

    @property
    def output(self) -> str | None:
        """The setting `output` of a `WaveUNet`; None for other architectures."""
        architecture, arguments = self.model_arguments()
        return {**ARCHITECTURES[architecture], **arguments}.get("output")

    def make_model(self) -> SourceModel:
        """Build the model with fresh weights.

        Raises:
            ValueError: as `model_arguments`, or for an argument out of its range.
        """
        architecture, arguments = self.model_arguments()
        import asteroid_waveunet

        return getattr(asteroid_waveunet, architecture)(**arguments)

    def check_model(self) -> None:
        """Check the model's arguments by building it without weights.

        Raises:
            ValueError: as `make_model`.
        """
        import torch

        with torch.device("meta"):
            self.make_model()

    @property
    def scored_segments(self) -> int | None:
        """Segment length for scoring, in samples; None for one seamless pass."""
        in_segments = self.evaluation.prediction == "segments"
        return self.training.segment_length if in_segments else None

    @property
    def scoring_notes(self) -> list[str]:
        """Differences from the default scoring, to be stated with the scores."""
        notes = {
            "on the validation tracks": self.evaluation.subset == "valid",
            f"in segments of {self.scored_segments} samples": self.scored_segments is not None,
            "levels fitted to the mixture": self.evaluation.fit_levels,
            "missing stems as silence": self.data.missing_stems == "silence",
            f"lengths: {self.data.lengths}": self.data.lengths != "error",
        }
        return [note for note, applies in notes.items() if applies]

    def as_dict(self) -> dict[str, Any]:
        """Return section -> setting -> value, in plain Python."""
        from asteroid_waveunet.weights import serialization  # imports torch

        return serialization.to_plain_python(dataclasses.asdict(self))

    def as_yaml(self) -> str:
        """Return the configuration as YAML that `load` reads."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True)

    def save(self, path: str | os.PathLike) -> None:
        """Write `as_yaml` atomically."""
        with replacing(path) as partial:
            partial.write_text(self.as_yaml(), encoding="utf-8")

    def differences(self, other: Configuration, ignore: Collection[str] = ()) -> list[str]:
        """List the settings that differ from another configuration, as "name: here, not there".

        Args:
            ignore: names of settings that may differ.
        """
        here, there = dict(_flatten(self.as_dict())), dict(_flatten(other.as_dict()))
        return [
            f"{name}: {here.get(name)!r}, not {there.get(name)!r}"
            for name in sorted((here.keys() | there) - set(ignore))
            if here.get(name) != there.get(name)
        ]


def _flatten(sections: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for settings in sections.values():
        yield from settings.items()


def load(path: str | os.PathLike, overrides: Mapping[str, Any] | None = None) -> Configuration:
    """Read a configuration from a YAML file and apply overrides.

    The ranges of the model's arguments are left to `Configuration.check_model`.

    Args:
        path: section -> setting -> value; missing settings have their defaults.
        overrides: setting -> value, or its text from a command line.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for invalid YAML, an unknown name (the message suggests the closest), or an
            invalid value.
    """
    sections = _read(Path(path))
    section_of = dict(_settings_and_sections())
    for name, value in (overrides or {}).items():
        if name not in section_of:
            raise ValueError(_unknown_message(name, section_of, "the command line"))
        section = section_of[name]
        sections.setdefault(section, {})[name] = _parse_text(name, value, section)
    built = {
        section: _build_section(kind, sections.get(section, {}))
        for section, kind in SECTIONS.items()
    }
    configuration = Configuration(model=dict(sections.get("model", {})), **built)
    configuration.model_arguments()  # raises for impossible combinations
    return configuration


def parse_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """Parse the `--name value` and `--name=value` pairs of a command line.

    >>> parse_overrides(["--lr", "1e-3", "--levels=6"])
    {'lr': '1e-3', 'levels': '6'}
    """
    overrides: dict[str, str] = {}
    remaining = list(arguments)
    while remaining:
        name = remaining.pop(0)
        if not name.startswith("--") or len(name) == 2:
            raise ValueError(f"{name!r} is not an option; expected --name value.")
        name, equals, value = name[2:].partition("=")
        if not equals:
            if not remaining or remaining[0].startswith("--"):
                raise ValueError(f"--{name} lacks its value; expected --{name} value.")
            value = remaining.pop(0)
        overrides[name.replace("-", "_")] = value
    return overrides


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Read a file's sections and check the names of sections and settings."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yml"))) or "none"
        raise FileNotFoundError(f"There is no configuration {path}; its folder has: {known}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f"{path} is not of the form section: {{setting: value}}.")
    section_of = dict(_settings_and_sections())
    for section, settings in content.items():
        if section not in ("model", *SECTIONS):
            raise ValueError(_unknown_message(section, ("model", *SECTIONS), path))
        for name in settings:
            if section_of.get(name) != section:
                known_names = [n for n, home in section_of.items() if home == section]
                raise ValueError(_unknown_message(name, known_names, f"{path}, section {section}"))
    return content


def _settings_and_sections() -> Iterator[tuple[str, str]]:
    """Yield every setting with its section."""
    yield from ((name, "model") for name in MODEL_SETTINGS)
    for section, kind in SECTIONS.items():
        yield from ((f.name, section) for f in dataclasses.fields(kind))


def _unknown_message(name: Any, known: Iterable[str], where: object) -> str:
    if name in RENAMED:
        return f"The setting {name!r} ({where}) is now {RENAMED[name]!r}; use that name."
    nearest = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Known are {', '.join(sorted(known))}."
    return f"There is no setting {name!r} ({where}). {hint}"


def _build_section(kind: type, settings: Mapping[str, Any]) -> Any:
    annotations = typing.get_type_hints(kind)
    return kind(**{name: _convert(name, v, annotations[name]) for name, v in settings.items()})


def _parse_text(name: str, value: Any, section: str) -> Any:
    """Parse a command line's text as YAML, unless the setting is text."""
    if not isinstance(value, str):
        return value
    if section != "model":
        options = _union_members(typing.get_type_hints(SECTIONS[section])[name])
        if set(options) <= {str, types.NoneType}:
            return None if value == "null" and types.NoneType in options else value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is {value!r}, which is not valid YAML: {error}") from error


def _union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return typing.get_args(annotation) if union else (annotation,)


def _convert(name: str, value: Any, annotation: Any) -> Any:
    """Convert a value to one of its annotated types; whole numbers are valid floats.

    YAML 1.1 reads 1e-4, without a point, as text. Such text becomes a float where one is expected.
    """
    options = _union_members(annotation)
    for option in options:
        if option is float and not isinstance(value, bool):
            try:
                return float(value)
            except (TypeError, ValueError):
                continue
        if typing.get_origin(option) is list:
            if isinstance(value, str) and str not in options:
                value = [value]
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return value
        elif type(value) is option:
            return value
    expected = " or ".join(getattr(option, "__name__", str(option)) for option in options)
    raise ValueError(f"{name} is {value!r}; expected {expected.replace('NoneType', 'null')}.")
