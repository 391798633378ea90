"""Experiments on one data set in one table: scores, amount of training music, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.evaluation import evaluate
from asteroid_waveunet.experiment.evaluation.aggregation import Summary, summarise
from asteroid_waveunet.experiment.evaluation.evaluate import Evaluation
from asteroid_waveunet.experiment.evaluation.formatting import decibels, markdown
from asteroid_waveunet.experiment.evaluation.model_cost import Costs
from asteroid_waveunet.experiment.evaluation.paired_comparison import compare
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.report import training_curves

__all__ = ["Entry", "check", "epoch_length", "read", "table"]


@dataclass(frozen=True)
class Entry:
    """One system of the table.

    Attributes:
        name: name in the table.
        sample_rate: sample rate of the estimates in Hz.
        channels: channels of the estimates.
        minutes: minutes of music in training; repeated segments count each time.
        evaluation: scores of the system and the baselines.
        unusual: scoring settings that differ from the default.
        costs: None if not measured.
    """

    name: str
    sample_rate: float
    channels: int
    minutes: float
    evaluation: Evaluation
    unusual: Sequence[str] = ()
    costs: Costs | None = None


def epoch_length(configuration: Configuration, minutes: float) -> int:
    """Return the segments per epoch for `max_epochs` epochs to cover `minutes` of music.

    The number is rounded up to whole batches.
    """
    training = configuration.training
    segments = 60 * minutes / _segment_seconds(configuration) / training.max_epochs
    batch = training.batch_size * training.accumulate * training.devices * training.num_nodes
    return max(1, math.ceil(segments / batch - 1e-9)) * batch


def _segment_seconds(configuration: Configuration) -> float:
    """Return the seconds of output per training segment, without context."""
    model = configuration.make_model()
    return model.geometry.fit(configuration.training.segment_length).output / model.sample_rate


def read(name: str, configuration: Configuration, places: ExperimentDir) -> Entry:
    """Read a system's entry from its experiment, without costs.

    Raises:
        FileNotFoundError: if it has no scores yet.
        ValueError: if the scores belong to another model or are incomplete.
    """
    model = configuration.make_model()
    segments = _epochs(places.curves) * configuration.training.epoch_length
    return Entry(
        name,
        model.sample_rate,
        model.in_channels,
        segments * _segment_seconds(configuration) / 60,
        evaluate.read(places.scores, places.fingerprint(configuration)),
        configuration.scoring_notes,
    )


def _epochs(curves: Path) -> int:
    """Return the number of trained epochs in Lightning's metrics.csv; 0 without the file."""
    epochs = training_curves.read_curves(curves).get("epoch", {}) if curves.is_file() else {}
    return max((int(epoch) + 1 for epoch in epochs.values()), default=0)


AGGREGATIONS = {"pooled": "median", "by track": "median_of_medians"}

COST_COLUMNS = (
    "weights, M",
    "multiply-adds, G / s",
    "compute, s / s",
    "memory, GB",
    "of which for the track",
)

LEGEND = (
    "SDR in dB. Pooled: median over the windows of all tracks (the paper's aggregation). By track: "
    "median over tracks of each track's median (SiSEC's). Audio: format of the estimates. All are "
    "scored at the tracks' sample rate and channels, and a lower rate or mono reduces the SDR: "
    "compare only systems with the same audio format. Music: amount of training music. "
    "Multiply-adds (convolutions and matrix products) and compute: per second of audio. Memory: "
    "peak of the GPU if there is one, otherwise of a process that only separates a track. Of which "
    "for the track: without libraries, weights and the track's samples. Against the first system: "
    "difference of the figures by track, with the 95 % interval of bootstrap samples of tracks; if "
    "it contains 0, these tracks do not tell which system is better."
)


def table(entries: Sequence[Entry]) -> str:
    """Return a Markdown page: one row per system and baseline, and a legend.

    Raises:
        ValueError: as `check`.
    """
    check(entries)
    first = entries[0].evaluation
    headings = ["system", "audio", "music, min"]
    headings += [f"{source}, {how}" for how in AGGREGATIONS for source in first.targets]
    headings += [f"{source}, against {entries[0].name}" for source in first.targets]
    headings += COST_COLUMNS
    rows = [
        [
            *_description(entry),
            *_entry_scores(entry),
            *_differences(entry.evaluation, first),
            *_costs(entry.costs),
        ]
        for entry in entries
    ]
    for name, scores in first.baselines.items():
        figures = _scores(summarise(scores), first.targets)
        blank = [""] * len(first.targets)
        rows.append([name, "", "", *figures, *blank, *_costs(None, lacking="")])
    notes = "".join(f"- {remark}\n" for remark in _remarks(entries))
    return (
        f"{first.protocol}.\n\n{markdown(headings, rows, names=2)}\n{LEGEND} {_devices(entries)}\n"
        + (notes and f"\n{notes}")
    )


def check(entries: Sequence[Entry]) -> None:
    """Raise an error if the entries cannot form one table.

    Raises:
        ValueError: if there are none, or tracks, sources or metrics differ.
    """
    if not entries:
        raise ValueError("There is nothing to compare: no system has scores yet.")
    first = entries[0]
    for entry in entries[1:]:
        if _protocol_of(entry.evaluation) != _protocol_of(first.evaluation):
            raise ValueError(
                f"{entry.name} and {first.name} were not scored on the same tracks, sources and "
                "metrics; use one comparison per data set, each with a separate --tag."
            )


def _protocol_of(evaluation: Evaluation) -> tuple[object, ...]:
    tracks = [track["track"] for track in evaluation.scores]
    return tracks, evaluation.protocol, evaluation.targets


def _description(entry: Entry) -> list[str]:
    channels = {1: "mono", 2: "stereo"}.get(entry.channels, f"{entry.channels} channels")
    return [entry.name, f"{entry.sample_rate:g} Hz {channels}", f"{entry.minutes:.1f}"]


def _entry_scores(entry: Entry) -> list[str]:
    return _scores(summarise(entry.evaluation.scores), entry.evaluation.targets)


def _scores(summary: Summary, sources: Sequence[str]) -> list[str]:
    return [
        decibels(summary[source]["SDR"][figure])
        for figure in AGGREGATIONS.values()
        for source in sources
    ]


def _differences(evaluation: Evaluation, first: Evaluation) -> list[str]:
    """Return the difference to the first system for each target, with its interval."""
    if evaluation is first:
        return ["" for _ in first.targets]
    reference, own = (
        {track["track"]: track for track in one.scores} for one in (first, evaluation)
    )
    found = {one.target: one.by_track_difference for one in compare(reference, own)}
    return ["{:+.2f} ({:+.2f} to {:+.2f})".format(*found[target]) for target in first.targets]


def _costs(costs: Costs | None, lacking: str = "–") -> list[str]:
    if costs is None:
        return [lacking] * len(COST_COLUMNS)
    return [
        f"{costs.weights / 1e6:.2f}",
        f"{costs.multiply_adds / 1e9:.2f}",
        f"{costs.seconds:.3g}",
        *(
            "–" if gigabytes != gigabytes else f"{gigabytes:.2f}"
            for gigabytes in (costs.peak, costs.beyond)
        ),
    ]


def _devices(entries: Sequence[Entry]) -> str:
    """Return a sentence on the devices of the measurement."""
    devices = sorted({entry.costs.device for entry in entries if entry.costs is not None})
    return f"Measured on {', '.join(devices)}." if devices else "Costs were not measured."


def _remarks(entries: Sequence[Entry]) -> list[str]:
    """Return remarks shared by all systems once, and others with the system's name."""
    by_name = {entry.name: _remarks_of(entry) for entry in entries}
    first, *others = by_name.values()
    shared = [remark for remark in first if all(remark in other for other in others)]
    others_only = [
        f"{name}: {r}" for name, remarks in by_name.items() for r in remarks if r not in shared
    ]
    return [*shared, *others_only]


def _remarks_of(entry: Entry) -> list[str]:
    unusual = [f"scored differently: {', '.join(entry.unusual)}"] if entry.unusual else []
    return [*unusual, *entry.evaluation.remarks]
