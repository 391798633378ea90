"""Experiments on one data set as one table: scores, what they were trained on, what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.evaluation import evaluate
from asteroid_waveunet.experiment.evaluation.aggregation import Summary, summarise
from asteroid_waveunet.experiment.evaluation.evaluate import Evaluation
from asteroid_waveunet.experiment.evaluation.formatting import markdown
from asteroid_waveunet.experiment.evaluation.model_cost import Costs
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.report import plots
from asteroid_waveunet.experiment.report.tables import decibels

__all__ = ["Entry", "check", "epoch_length", "read", "table"]


@dataclass(frozen=True)
class Entry:
    """One system of the table.

    Attributes:
        name: as the table calls it.
        sample_rate: of its estimates, in Hz.
        channels: of its estimates.
        minutes: of music that it was trained on, what was heard several times as often as heard.
        found: its scores, and the baselines'.
        unusual: how its estimates were made, where that is not the usual.
        costs: None if they are not known.
    """

    name: str
    sample_rate: float
    channels: int
    minutes: float
    found: Evaluation
    unusual: Sequence[str] = ()
    costs: Costs | None = None


def epoch_length(configuration: Configuration, minutes: float) -> int:
    """Segments of an epoch, whole batches, so that `max_epochs` of them are so much music.

    It is as many as are needed, and at most a batch an epoch more.
    """
    training = configuration.training
    segments = 60 * minutes / _segment_seconds(configuration) / training.max_epochs
    batch = training.batch_size * training.accumulate * training.devices * training.num_nodes
    return max(1, math.ceil(segments / batch - 1e-9)) * batch


def _segment_seconds(configuration: Configuration) -> float:
    """Of music that is estimated, without context."""
    model = configuration.make_model()
    return model.geometry.fit(configuration.training.segment_length).output / model.sample_rate


def read(name: str, configuration: Configuration, places: ExperimentDir) -> Entry:
    """A system's entry, from the experiment that it is; without its costs.

    Raises:
        FileNotFoundError: if it was not scored yet.
        ValueError: if its scores are of another model, or not of all tracks.
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
    """How many were trained, by Lightning's table; 0 without one."""
    epochs = plots.read_curves(curves).get("epoch", {}) if curves.is_file() else {}
    return max((int(epoch) + 1 for epoch in epochs.values()), default=0)


AGGREGATIONS = {"pooled": "median", "by track": "median_of_medians"}

COST_COLUMNS = (
    "weights, M",
    "multiply-adds, G / s",
    "compute, s / s",
    "memory, GB",
    "of it for the track",
)

LEGEND = (
    "SDR in dB, pooled: median over the windows of all tracks (the paper's aggregation); by "
    "track: median over tracks of each track's median (SiSEC's). Audio: what the system "
    "estimates. All are scored at the tracks' own rate and channels, where a lower rate, or mono, "
    "costs SDR by itself: only systems of the same audio can be compared. Music: what it was "
    "trained on. Multiply-adds, of convolutions and matrix products, and compute: per second of "
    "audio. Memory, at the peak: the GPU's if there is one, or else of a process that only "
    "separates a track; of it for the track: beyond libraries, weights and the track as it is."
)


def table(entries: Sequence[Entry]) -> str:
    """A page in Markdown: a row a system, two for the baselines, and what the figures are.

    Raises:
        ValueError: as `check`.
    """
    check(entries)
    first = entries[0].found
    headings = ["system", "audio", "music, min"]
    headings += [f"{source}, {how}" for how in AGGREGATIONS for source in first.targets]
    headings += COST_COLUMNS
    rows = [[*_described(entry), *_figures(entry), *_costs(entry.costs)] for entry in entries]
    for name, scores in first.baselines.items():
        figures = _scores(summarise(scores), first.targets)
        rows.append([name, "", "", *figures, *_costs(None, lacking="")])
    said = "".join(f"- {remark}\n" for remark in _remarks(entries))
    return (
        f"{first.protocol}.\n\n{markdown(headings, rows, names=2)}\n{LEGEND} {_devices(entries)}\n"
        + (said and f"\n{said}")
    )


def check(entries: Sequence[Entry]) -> None:
    """Whether there are entries that make a table.

    Raises:
        ValueError: if there are none, or they were not scored alike on the same tracks.
    """
    if not entries:
        raise ValueError("There is nothing to compare: no system has scores yet.")
    first = entries[0]
    for entry in entries[1:]:
        if _scored(entry.found) != _scored(first.found):
            raise ValueError(
                f"{entry.name} and {first.name} were not scored on the same tracks, sources and "
                "metrics; expected one comparison for each data set, with a --tag of its own."
            )


def _scored(found: Evaluation) -> tuple[object, ...]:
    tracks = [track["track"] for track in found.scores]
    return tracks, found.protocol, found.targets


def _described(entry: Entry) -> list[str]:
    channels = {1: "mono", 2: "stereo"}.get(entry.channels, f"{entry.channels} channels")
    return [entry.name, f"{entry.sample_rate:g} Hz {channels}", f"{entry.minutes:.1f}"]


def _figures(entry: Entry) -> list[str]:
    return _scores(summarise(entry.found.scores), entry.found.targets)


def _scores(summary: Summary, sources: Sequence[str]) -> list[str]:
    return [
        decibels(summary[source]["SDR"][figure])
        for figure in AGGREGATIONS.values()
        for source in sources
    ]


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
    """What computed, in words."""
    devices = sorted({entry.costs.device for entry in entries if entry.costs is not None})
    return f"Measured on {', '.join(devices)}." if devices else "Costs were not measured."


def _remarks(entries: Sequence[Entry]) -> list[str]:
    """Those of all systems once, the others with the system's name."""
    said = {entry.name: _remarks_of(entry) for entry in entries}
    first, *others = said.values()
    shared = [remark for remark in first if all(remark in other for other in others)]
    own = [f"{name}: {r}" for name, remarks in said.items() for r in remarks if r not in shared]
    return [*shared, *own]


def _remarks_of(entry: Entry) -> list[str]:
    unusual = [f"scored otherwise: {', '.join(entry.unusual)}"] if entry.unusual else []
    return [*unusual, *entry.found.remarks]
