"""The settings of an experiment, by section, with their defaults and ranges.

The defaults are the paper's. A file under `conf/` or the command line overrides them. Names are
unique across sections, so `--batch_size 8` needs no section. This module imports neither torch nor
the registries: the tuples below name what the registries hold, and a test compares them. It is over
350 lines long because all settings are listed in one place.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "AUGMENTATIONS",
    "AUTO",
    "GENERATED",
    "LENGTHS",
    "LOGGERS",
    "LOSSES",
    "MISSING_STEMS",
    "PRECISIONS",
    "PREDICTIONS",
    "RESAMPLING",
    "SCHEDULES",
    "SCORED",
    "SECTIONS",
    "STORES",
    "STRATEGIES",
    "Data",
    "Evaluation",
    "Publishing",
    "Training",
    "check_choice",
]

GENERATED = ("demo", "free")  # data sets that stage 0 generates

LOSSES = ("mse", "l1", "log_mse", "neg_sisdr", "neg_sdsdr", "neg_snr", "spectral", "magnitude_l1")
OPTIMIZERS = ("adam", "muon")
MUON_LEAST_LR = 1e-3
SCHEDULES = ("constant", "one_cycle", "cosine")
RESAMPLING = ("pitch_tempo", "speed")  # augmentations on the CPU only
AUGMENTATIONS = ("random_gains", "wide_gains", "swap_channels", "flip_signs", *RESAMPLING)
LOGGERS = ("tensorboard", "wandb", "csv")
STORES = ("memory", "gpu")
STRATEGIES = ("auto", "ddp")
PREDICTIONS = ("seamless", "segments")
SCORED = ("test", "valid")
ENGINES = ("bss_eval", "museval")
MISSING_STEMS = ("error", "silence")
LENGTHS = ("error", "pad", "cut")

AUTO = "auto"

# Accepted spelling -> Lightning's name; also `AUTO`, see `training.precision`.
PRECISIONS: dict[str | int, str] = {
    **{name: name for name in ("32-true", "bf16-mixed", "16-mixed", "64-true")},
    "bf16-true": "bf16-true",
    **dict.fromkeys((32, "32"), "32-true"),
    **dict.fromkeys((64, "64"), "64-true"),
    **dict.fromkeys((16, "16"), "16-mixed"),
    "bf16": "bf16-mixed",
}


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Check that a value is one of the choices.

    Raises:
        ValueError: if it is not.
    """
    if value not in [*choices]:  # a list: the value may be unhashable
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, choices))}.")


def _check_minimum(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise ValueError(f"{name} is {value}; expected a whole number, at least {minimum}.")


@dataclass(frozen=True)
class Data:
    """Training, validation and test songs.

    Attributes:
        dataset: `demo` (generated songs), `free` (generated from `soundfont` and `voices`),
            `musdb18`, `musdb18hq`, `musdb18_7`, `ccmixter`, or a folder in MUSDB18's layout. Write
            `./musdb18` for a folder with the name of a known data set.
        extra: additional data sets, named like `dataset`. Only their training songs are used, for
            training. The paper's vocals models use `ccmixter`.
        valid_data: data set that provides the validation songs, named like `dataset`; none of its
            songs is trained on. By default `dataset` does, and they are left out of training.
        valid: validation tracks: `official`, MUSDB18's own; `paper`, a fixed quarter of the
            training songs; a fraction, drawn with the seed; a list of names and patterns; or
            `auto`, official if they exist, otherwise a fifth of the training songs.
        missing_stems: `error`, or `silence` for stems that some songs of a data set lack.
        lengths: stems of one song that differ in length: `error`, `pad` them with silence, or
            `cut` them to the shortest.
        keep_archive: keep a downloaded zip after unpacking.
        verify: compare the checksums of tracks that are already decoded in stage 1.
        demo_train_songs, demo_test_songs: number of generated songs.
        demo_seconds: length of a generated song.
        demo_sample_rate: sample rate of generated songs, in Hz.
        soundfont: General MIDI soundfont (.sf2, .sf3) that plays the songs of `free`.
        voices: folders of sung phrases for `free`.
        free_train_songs, free_test_songs, free_seconds, free_sample_rate: as for `demo`.
    """

    dataset: str = "musdb18"
    extra: list[str] = field(default_factory=list)
    valid_data: str | None = None
    valid: str | float | list[str] = "auto"
    missing_stems: str = "error"
    lengths: str = "error"
    keep_archive: bool = False
    verify: bool = False
    demo_train_songs: int = 24
    demo_test_songs: int = 6
    demo_seconds: float = 20.0
    demo_sample_rate: int = 16000
    soundfont: str | None = None
    voices: list[str] = field(default_factory=list)
    free_train_songs: int = 500
    free_test_songs: int = 4
    free_seconds: float = 30.0
    free_sample_rate: int = 44100

    def __post_init__(self) -> None:
        if isinstance(self.valid, float) and not 0 < self.valid < 1:
            raise ValueError(f"valid is {self.valid}; expected a fraction between 0 and 1.")
        check_choice("missing_stems", self.missing_stems, MISSING_STEMS)
        check_choice("lengths", self.lengths, LENGTHS)
        if "free" in self.names and not (self.soundfont and self.voices):
            raise ValueError(
                f"soundfont is {self.soundfont!r} and voices is {self.voices!r}; the data set free "
                "is made of a General MIDI soundfont (.sf2, .sf3) and folders of sung phrases: "
                '--soundfont FILE --voices "[FOLDER]".'
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all data sets: `dataset`, each of `extra`, then `valid_data` if it is given."""
        return (self.dataset, *self.extra, *([self.valid_data] if self.valid_data else []))

    @property
    def tolerance(self) -> dict[str, str]:
        """Arguments of `musdb.tracks` for incomplete songs."""
        return {"missing_stems": self.missing_stems, "lengths": self.lengths}


@dataclass(frozen=True)
class Training:
    """Optimisation, segments and hardware; the defaults are the paper's (section 4.1 and its code).

    Attributes:
        init: trained weights to start from, as for `WaveUNet.from_pretrained`, such as `free`; by
            default weights are random. Layers that do not fit keep random weights.
        teacher: trained weights whose estimates replace the true sources; see `training.teacher`.
        segment_length: target samples per segment, rounded up to a length the model can output.
        batch_size: segments per step and device.
        accumulate: batches per optimizer step (gradient accumulation).
        gradient_clip: maximum gradient norm; 0 disables clipping.
        epoch_length: segments per epoch; each epoch ends with a validation.
        max_epochs: maximum number of epochs, fine-tuning included; early stopping usually ends
            training sooner.
        patience: epochs without a better validation loss before early stopping.
        loss: one of `LOSSES`.
        optimizer: `adam`, the paper's; or `muon`, which takes fewer steps: see
            `training.optimizers`.
        lr: learning rate, the maximum of a schedule; for muon about 0.02.
        schedule: `constant`; `cosine` or `one_cycle`, over all of `max_epochs`.
        warmup_steps: first steps of a schedule, in which the learning rate rises to `lr`.
        fine_tuning: after early stopping, restart from the best weights with doubled batches until
            patience ends again, as in the paper. Constant schedules only.
        fine_tuning_lr: learning rate of fine-tuning; for muon about 0.002.
        ema: decay of the moving average of the weights, which is validated and saved as the best
            model; for example 0.999. 0 disables averaging.
        augmentation: names of `AUGMENTATIONS`: `random_gains` (0.7 to 1), `wide_gains` (0.25 to
            1.25), `swap_channels`, `flip_signs`, `pitch_tempo`, `speed`.
        remix: fraction of segments that mix sources from different songs and positions (0 to 1).
        remix_stems: fraction of these in which the stems of a source, such as an accompaniment's
            bass and drums, come from different songs too; above 0, each stem is augmented apart.
        store: where segments are cut: `memory`, from memory-mapped files; `gpu`, from the GPU's
            memory, which then holds all training tracks.
        seed: of the weights, the validation split and the segments.
        num_workers: DataLoader processes.
        precision: Lightning's: `32-true` or 32, `bf16-mixed`, `16-mixed` and so on; or `auto`:
            `bf16-mixed` where the machine has it and it is faster, else `32-true`. Stage 2 replaces
            `auto` by its choice, which a resumed training keeps.
        tf32: allow TF32 matrix products and convolutions on a GPU. Several times faster on many
            GPUs, but it rounds factors to 10 bits; the paper used float32.
        compile: compile the network with torch.compile, once per batch shape.
        devices: number of GPUs per node, one process each; without a GPU, CPU processes.
        num_nodes: number of nodes.
        strategy: `auto`, or Lightning's `ddp`, which `auto` selects for several devices.
        checkpoint_minutes: time between checkpoints within an epoch; 0 saves one at every step.
        logger: names of `LOGGERS`; `csv` is always added.
        listen_every: log the audio of a validation passage every so many epochs; 0 for never.
    """

    init: str | None = None
    teacher: str | None = None
    segment_length: int = 16384
    batch_size: int = 16
    accumulate: int = 1
    gradient_clip: float = 0.0
    epoch_length: int = 32000
    max_epochs: int = 1000
    patience: int = 20
    loss: str = "mse"
    optimizer: str = "adam"
    lr: float = 1e-4
    schedule: str = "constant"
    fine_tuning: bool = True
    fine_tuning_lr: float = 1e-5
    warmup_steps: int = 0
    ema: float = 0.0
    augmentation: list[str] = field(default_factory=lambda: ["random_gains"])
    remix: float = 0.0
    remix_stems: float = 0.0
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
        self._check_numbers()
        self._check_choices()

    def _check_numbers(self) -> None:
        for name in (
            *("segment_length", "batch_size", "accumulate", "epoch_length", "max_epochs"),
            *("devices", "num_nodes"),
        ):
            _check_minimum(name, getattr(self, name), 1)
        for name in ("patience", "seed", "num_workers", "warmup_steps", "listen_every"):
            _check_minimum(name, getattr(self, name), 0)
        for name in ("lr", "fine_tuning_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0.")
        for name in ("lr", "fine_tuning_lr") if self.fine_tunes else ("lr",):
            if self.optimizer == "muon" and getattr(self, name) < MUON_LEAST_LR:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, too small for muon, whose steps have the "
                    "size of the learning rate whatever the gradient. Take about 0.02 for lr, and "
                    "0.002 for fine_tuning_lr, or set fine_tuning: false."
                )
        for name in ("gradient_clip", "checkpoint_minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number, 0 or more.")
        for name in ("remix", "remix_stems"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; expected a fraction between 0 and 1."
                )
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}; expected a decay from 0 to below 1.")

    def _check_choices(self) -> None:
        check_choice("loss", self.loss, LOSSES)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("precision", self.precision, (*PRECISIONS, AUTO))
        check_choice("strategy", self.strategy, STRATEGIES)
        check_choice("store", self.store, STORES)
        for name in self.augmentation:
            check_choice("augmentation", name, AUGMENTATIONS)
        slow = [name for name in self.augmentation if name in RESAMPLING]
        if self.store == "gpu" and slow:
            raise ValueError(f"store gpu does not support {', '.join(slow)}; set store: memory.")
        for name in self.logger:
            check_choice("logger", name, LOGGERS)

    @property
    def fine_tunes(self) -> bool:
        """True if training has a fine-tuning round after the first."""
        return self.fine_tuning and self.schedule == "constant"


@dataclass(frozen=True)
class Evaluation:
    """Scoring of the test tracks.

    Attributes:
        subset: tracks to score: `test`; or `valid`, the validation tracks, to choose between
            systems without a look at the test songs.
        jobs: number of tracks scored in parallel processes; None for the number of cores.
        memory: limit for all of these processes, in GB; a 4-minute track takes about 3. None for
            four fifths of the free memory.
        cluster: address of a Ray cluster whose tasks score the tracks, `auto` or
            `ray://HOST:10001`; the data must be in a folder that its nodes share. None for this
            machine.
        fast: compute the SDR only.
        engine: computes all metrics: `bss_eval`, this package's; or `museval`, equal and slow.
        prediction: `seamless`, one pass over a track; or `segments`, as the reference code and
            the paper's scores: consecutive segments of the training's length, see
            `SourceModel.predict_track`.
        fit_levels: scale each estimate by one gain per track and source, such that their sum is
            closest to the mixture; for losses that leave levels open, such as `neg_sisdr`.
    """

    subset: str = "test"
    jobs: int | None = None
    memory: float | None = None
    cluster: str | None = None
    fast: bool = False
    engine: str = "bss_eval"
    prediction: str = "seamless"
    fit_levels: bool = False

    def __post_init__(self) -> None:
        check_choice("subset", self.subset, SCORED)
        check_choice("prediction", self.prediction, PREDICTIONS)
        check_choice("engine", self.engine, ENGINES)
        if self.jobs is not None:
            _check_minimum("jobs", self.jobs, 1)
        if self.memory is not None and not self.memory > 0:
            raise ValueError(f"memory is {self.memory}; expected a number of GB above 0.")


@dataclass(frozen=True)
class Publishing:
    """Model card, licences and Hub repository of the published folder.

    Attributes:
        data_name: name of the training data on the model card; None for the data set's name.
        license: of the weights, by the Hub's identifier. MUSDB18 is for non-commercial use, and
            so are weights trained on it. None for the data set's, or unstated for own songs.
        examples: publish excerpts of test songs; None to publish them if their licence allows it.
        examples_license: licence of the excerpts, for own songs.
        repo_id: repository on the Hub, user/name, that stage 4 uploads to; None to not upload.
        private: create the repository as a private one.
        revision: tag of this version, such as v1.0.
    """

    data_name: str | None = None
    license: str | None = None
    examples: bool | None = None
    examples_license: str | None = None
    repo_id: str | None = None
    private: bool = False
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.repo_id is None and self.revision is None:
            return
        from asteroid_waveunet.weights import hub  # imports torch

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
