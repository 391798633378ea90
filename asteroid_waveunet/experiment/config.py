"""An experiment's settings: what there is, what a YAML says, what the command line overrides.

Each setting has one home: its default here, which is the paper's, unless a file under `conf/`
says otherwise. Names are unique over all sections, so that `--batch_size 8` needs no section.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import itertools
import math
import os
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from asteroid_waveunet.experiment.segments.augmentation import AUGMENTATIONS
from asteroid_waveunet.experiment.training.loggers import LOGGERS
from asteroid_waveunet.experiment.training.objectives import LOSSES, SCHEDULES
from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.models import presets
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.models.conv_tasnet import TasNet
from asteroid_waveunet.models.mrcae import MRCAE
from asteroid_waveunet.models.spectrogram_unet import SpectrogramUNet
from asteroid_waveunet.models.wave_unet import WaveUNet
from asteroid_waveunet.weights import hub, serialization

__all__ = ["Configuration", "Data", "Evaluation", "Publishing", "Training", "load"]


STORES = ("memory", "gpu")
PREDICTIONS = ("seamless", "segments")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}; expected a whole number, at least {least}.")


def _one_of(name: str, value: Any, known: Collection[Any]) -> None:
    if value not in [*known]:  # which a list from a YAML can be compared with
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, known))}.")


@dataclass(frozen=True)
class Data:
    """Where the music comes from.

    Attributes:
        dataset: `demo`, generated songs; a folder in MUSDB18's layout; `musdb18`, `musdb18hq`,
            `ccmixter`. A folder of such a name is meant by `./musdb18`.
        extra: more data sets, named as `dataset` is, whose training songs are trained on too;
            `ccmixter` for the paper's models of the voice. None of them validates or tests.
        valid: the validation tracks: `official`, MUSDB18's own; `paper`, a quarter of the training
            songs, always the same; another fraction, drawn with the seed; a list of names and
            patterns; or `auto`, official where they are there and a fifth of the songs where not.
        keep_archive: whether a zip that was downloaded stays after it was unpacked.
        verify: whether stage 1 reads all that is decoded already and compares its checksums.
        demo_train_songs, demo_test_songs: how many songs are generated.
        demo_seconds: their length.
        demo_sample_rate: their rate, in Hz.
    """

    dataset: str = "musdb18"
    extra: list[str] = field(default_factory=list)
    valid: str | float | list[str] = "auto"
    keep_archive: bool = False
    verify: bool = False
    demo_train_songs: int = 24
    demo_test_songs: int = 6
    demo_seconds: float = 20.0
    demo_sample_rate: int = 16000

    def __post_init__(self) -> None:
        if isinstance(self.valid, float) and not 0 < self.valid < 1:
            raise ValueError(f"valid is {self.valid}; expected a fraction between 0 and 1.")


# As one may write it -> as Lightning names it.
PRECISIONS: dict[str | int, str] = {
    **{name: name for name in ("32-true", "bf16-mixed", "16-mixed", "64-true")},
    "bf16-true": "bf16-true",
    **dict.fromkeys((32, "32"), "32-true"),
    **dict.fromkeys((64, "64"), "64-true"),
    **dict.fromkeys((16, "16"), "16-mixed"),
    "bf16": "bf16-mixed",
}

STRATEGIES = ("auto", "ddp")

# Settings of training that are 1 at least.
COUNTS = (
    *("segment_length", "batch_size", "accumulate", "epoch_length", "max_epochs"),
    *("devices", "num_nodes"),
)


@dataclass(frozen=True)
class Training:
    """How the model is trained; the defaults are the paper's (section 4.1, and its code).

    Attributes:
        segment_length: targets' samples per segment, rounded up to a length that fits.
        batch_size: segments per step, on each device.
        accumulate: batches whose gradients are added up to make one step of the optimiser.
        clip: the gradient's largest norm; 0 for any.
        epoch_length: segments between two validations.
        max_epochs: upper bound of both rounds together; early stopping comes before it.
        patience: epochs without a better validation loss after which training stops.
        loss: one of `objectives.LOSSES`.
        lr: Adam's step size, a schedule's highest.
        schedule: `constant`; `cosine` or `one_cycle`, over all of `max_epochs`.
        warmup_steps: the first steps of a schedule, over which the step size rises to `lr`.
        fine_tuning: whether a constant schedule has a second round, as in the paper: from the
            best weights, batches doubled, until patience ends again. Other schedules have an end.
        fine_tuning_lr: its step size.
        ema: decay of the moving average of the weights that is validated and kept as the best,
            0.999 for example; 0 for the weights themselves.
        augmentation: `random_gains` (0.7 to 1), `wide_gains` (0.25 to 1.25), `swap_channels`,
            `flip_signs`, `pitch_tempo`, see `augmentation.AUGMENTATIONS`.
        remix: the share of segments whose sources are each from another song or place (0 to 1).
        store: where segments are cut: `memory`, from files mapped into it; `gpu`, from the GPU's,
            which holds all training tracks.
        seed: of the weights, the split and the segments.
        num_workers: processes that load segments.
        precision: Lightning's: `32-true` or 32, `bf16-mixed`, `16-mixed` and so on.
        tf32: whether a GPU may round the factors of float32 products to 10 bits; several times
            faster on many, and not what the paper had.
        compile: whether torch.compile makes the network's program, once for each shape of batch.
        devices: GPUs to train on, each in a process of its own; without a GPU, such processes.
        num_nodes: machines, each with so many.
        strategy: `auto`, or Lightning's `ddp`, which `auto` is with several devices.
        checkpoint_minutes: between two checkpoints within an epoch; 0 for one at every step.
        logger: names of `loggers.LOGGERS`; `csv` is always among them.
        listen_every: epochs after which loggers get sounds of a validation passage; 0 for never.
    """

    segment_length: int = 16384
    batch_size: int = 16
    accumulate: int = 1
    clip: float = 0.0
    epoch_length: int = 32000
    max_epochs: int = 1000
    patience: int = 20
    loss: str = "mse"
    lr: float = 1e-4
    schedule: str = "constant"
    fine_tuning: bool = True
    fine_tuning_lr: float = 1e-5
    warmup_steps: int = 0
    ema: float = 0.0
    augmentation: list[str] = field(default_factory=lambda: ["random_gains"])
    remix: float = 0.0
    store: str = "memory"
    seed: int = 1337
    num_workers: int = 2
    precision: str | int = "32-true"
    tf32: bool = False
    compile: bool = False
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    checkpoint_minutes: float = 5.0
    logger: list[str] = field(default_factory=lambda: ["csv", "tensorboard"])
    listen_every: int = 5

    def __post_init__(self) -> None:
        for name in COUNTS:
            _at_least(name, getattr(self, name), 1)
        for name in ("patience", "seed", "num_workers", "warmup_steps", "listen_every"):
            _at_least(name, getattr(self, name), 0)
        for name in ("lr", "fine_tuning_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0.")
        for name in ("clip", "checkpoint_minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number, 0 or more.")
        if not 0 <= self.remix <= 1:
            raise ValueError(f"remix is {self.remix}; expected a share between 0 and 1.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}; expected a decay from 0 to below 1.")
        _one_of("loss", self.loss, LOSSES)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("strategy", self.strategy, STRATEGIES)
        _one_of("store", self.store, STORES)
        for name in self.augmentation:
            _one_of("augmentation", name, AUGMENTATIONS)
        if self.store == "gpu" and "pitch_tempo" in self.augmentation:
            raise ValueError("pitch_tempo is not done in a GPU's memory; expected store: memory.")
        for name in self.logger:
            _one_of("logger", name, LOGGERS)

    @property
    def fine_tunes(self) -> bool:
        """Whether there is a second round."""
        return self.fine_tuning and self.schedule == "constant"


@dataclass(frozen=True)
class Evaluation:
    """How the model is scored.

    Attributes:
        jobs: tracks that are scored at once, each in its own process; None for as many as there
            are cores.
        memory: GB that they may take together, one of four minutes some 8; None for four fifths
            of what is free.
        fast: SDR alone, without museval.
        prediction: `seamless`, one pass over a track; or `segments`, the reference's way, which
            the paper scored: segments as long as those of training one beside the other, see
            `SourceModel.predict_track`.
        fit_levels: whether each track's estimates are scaled, by one gain a source, so that their
            sum is nearest to the mixture; for losses that leave levels open, such as `neg_sisdr`.
    """

    jobs: int | None = None
    memory: float | None = None
    fast: bool = False
    prediction: str = "seamless"
    fit_levels: bool = False

    def __post_init__(self) -> None:
        _one_of("prediction", self.prediction, PREDICTIONS)
        if self.jobs is not None:
            _at_least("jobs", self.jobs, 1)
        if self.memory is not None and not self.memory > 0:
            raise ValueError(f"memory is {self.memory}; expected a number of GB above 0.")


@dataclass(frozen=True)
class Publishing:
    """What the published folder says of itself, and where it goes.

    Attributes:
        data_name: the training data, as the model card calls it; None for the dataset's.
        license: of the weights, by the Hub's identifier. MUSDB18 is for non-commercial use, and
            so are weights trained on it; None where the data is one's own and nothing was said.
        examples: whether pieces of test songs go along; None for where their licence allows it.
        examples_license: of these pieces, where the songs are one's own.
        repo_id: the model's name on the Hub, user/name, where stage 4 uploads to; None: it packs.
        private: whether a repository that is made there is for its owners only.
        revision: a tag for this version, such as v1.0.
    """

    data_name: str | None = None
    license: str | None = None
    examples: bool | None = None
    examples_license: str | None = None
    repo_id: str | None = None
    private: bool = False
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.repo_id is not None:
            hub.check_repo_id(self.repo_id)
        if self.revision is not None:
            hub.check_tag(self.revision)


SECTIONS: dict[str, type] = {
    "data": Data,
    "training": Training,
    "evaluation": Evaluation,
    "publishing": Publishing,
}

ARCHITECTURES: dict[str, type[SourceModel]] = {
    kind.__name__: kind for kind in (WaveUNet, SpectrogramUNet, TasNet, MRCAE)
}

# Architecture -> its constructor's arguments.
ARGUMENTS = {
    name: tuple(inspect.signature(kind).parameters) for name, kind in ARCHITECTURES.items()
}

MODEL_SETTINGS = ("architecture", "preset", *dict.fromkeys(itertools.chain(*ARGUMENTS.values())))


@dataclass(frozen=True)
class Configuration:
    """All settings of one experiment.

    Attributes:
        model: `architecture`, one of `ARCHITECTURES` (`WaveUNet`), and its arguments; of a
            `WaveUNet` also `preset`, the name of a model of the paper, which they change.
    """

    model: dict[str, Any]
    data: Data = Data()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    publishing: Publishing = Publishing()

    def make_model(self) -> SourceModel:
        """A fresh model.

        Raises:
            ValueError: if there is no such architecture or preset, or a setting is not of this
                architecture or out of its range.
        """
        arguments = dict(self.model)
        architecture = arguments.pop("architecture", WaveUNet.__name__)
        _one_of("architecture", architecture, ARCHITECTURES)
        preset = arguments.pop("preset", None)
        if preset is not None and not isinstance(preset, str):
            raise ValueError(f"preset is {preset!r}; expected one of {', '.join(presets.names())}.")
        if preset is not None and architecture != WaveUNet.__name__:
            raise ValueError(
                f"preset is {preset!r}, a {WaveUNet.__name__}, and architecture {architecture!r}; "
                "expected one of the two settings, and --preset null to do without a file's."
            )
        others = sorted(arguments.keys() - set(ARGUMENTS[architecture]))
        if others:
            raise ValueError(
                f"A {architecture} has no {', '.join(others)}; its settings are "
                f"{', '.join(ARGUMENTS[architecture])}."
            )
        if preset:
            return presets.make(preset, **arguments)
        return ARCHITECTURES[architecture](**arguments)

    @property
    def scored_segments(self) -> int | None:
        """Samples of the segments that tracks are scored in; None for one seamless pass."""
        in_segments = self.evaluation.prediction == "segments"
        return self.training.segment_length if in_segments else None

    @property
    def unusual_scoring(self) -> list[str]:
        """What is to be said beside scores: how estimates are made, where that is not the usual."""
        said = {
            f"in segments of {self.scored_segments} samples": self.scored_segments is not None,
            "levels fitted to the mixture": self.evaluation.fit_levels,
        }
        return [remark for remark, holds in said.items() if holds]

    def as_dict(self) -> dict[str, Any]:
        """Section -> setting -> value, plain Python."""
        return serialization.plain(dataclasses.asdict(self))

    def as_yaml(self) -> str:
        """All of it as a YAML that `load` reads."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True)

    def save(self, path: str | os.PathLike) -> None:
        """Writes `as_yaml`, whole or not at all."""
        with replacing(path) as partial:
            partial.write_text(self.as_yaml())

    def differences(self, other: Configuration, ignore: Collection[str] = ()) -> list[str]:
        """The settings in which another configuration differs, as "name: here, not there".

        Args:
            ignore: names of settings that may differ.
        """
        here, there = dict(_flat(self.as_dict())), dict(_flat(other.as_dict()))
        return [
            f"{name}: {here.get(name)!r}, not {there.get(name)!r}"
            for name in sorted((here.keys() | there) - set(ignore))
            if here.get(name) != there.get(name)
        ]


def load(path: str | os.PathLike, overrides: Mapping[str, Any] | None = None) -> Configuration:
    """A configuration from a YAML file, with settings of the command line over it.

    Args:
        path: section -> setting -> value; what it leaves out has its default.
        overrides: setting -> value, or text as it stands on a command line.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no YAML of that form, or a name or value is not possible; an unknown
            name is told the nearest known one.
    """
    sections = _read(Path(path))
    homes = dict(_homes())
    for name, value in (overrides or {}).items():
        if name not in homes:
            raise ValueError(_unknown(name, homes, "the command line"))
        sections.setdefault(homes[name], {})[name] = _read_value(name, value, homes[name])
    built = {
        section: _section(kind, sections.get(section, {})) for section, kind in SECTIONS.items()
    }
    configuration = Configuration(model=dict(sections.get("model", {})), **built)
    configuration.make_model()  # says what is wrong with the model's settings
    return configuration


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The file's sections, their names and those of their settings checked."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yml"))) or "none"
        raise FileNotFoundError(f"There is no configuration {path}; beside it there are: {known}.")
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as reason:
        raise ValueError(f"{path} is no YAML: {reason}") from reason
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(f"{path} is not of the form section: {{setting: value}}.")
    homes = dict(_homes())
    for section, settings in content.items():
        if section not in ("model", *SECTIONS):
            raise ValueError(_unknown(section, ("model", *SECTIONS), path))
        for name in settings:
            if homes.get(name) != section:
                there = [n for n, home in homes.items() if home == section]
                raise ValueError(_unknown(name, there, f"{path}, section {section}"))
    return content


def _homes() -> Iterator[tuple[str, str]]:
    """Every setting and the section that it belongs to."""
    yield from ((name, "model") for name in MODEL_SETTINGS)
    for section, kind in SECTIONS.items():
        yield from ((f.name, section) for f in dataclasses.fields(kind))


def _unknown(name: Any, known: typing.Iterable[str], where: object) -> str:
    nearest = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Known are {', '.join(sorted(known))}."
    return f"There is no setting {name!r} ({where}). {hint}"


def _section(kind: type, settings: Mapping[str, Any]) -> Any:
    annotations = typing.get_type_hints(kind)
    return kind(**{name: _typed(name, v, annotations[name]) for name, v in settings.items()})


def _read_value(name: str, value: Any, section: str) -> Any:
    """A setting from a command line: text where text is expected, or else what YAML makes of it."""
    if not isinstance(value, str):
        return value
    if section != "model":
        options = _options(typing.get_type_hints(SECTIONS[section])[name])
        if set(options) <= {str, types.NoneType}:
            return None if value == "null" and types.NoneType in options else value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as reason:
        raise ValueError(f"{name} is {value!r}, which is no YAML: {reason}") from reason


def _options(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return typing.get_args(annotation) if union else (annotation,)


def _typed(name: str, value: Any, annotation: Any) -> Any:
    """The value as one of the annotated types; a whole number will do for a float.

    YAML 1.1 reads 1e-4, without a point, as text: such a text is a float where one is expected.
    """
    options = _options(annotation)
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


def _flat(sections: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for settings in sections.values():
        yield from settings.items()


def parse_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """`--name value` and `--name=value` pairs of a command line.

    >>> parse_overrides(["--lr", "1e-3", "--levels=6"])
    {'lr': '1e-3', 'levels': '6'}
    """
    overrides: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name = rest.pop(0)
        if not name.startswith("--") or len(name) == 2:
            raise ValueError(f"{name!r} is no option; expected --name value.")
        name, equals, value = name[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ValueError(f"--{name} lacks its value; expected --{name} value.")
            value = rest.pop(0)
        overrides[name.replace("-", "_")] = value
    return overrides
