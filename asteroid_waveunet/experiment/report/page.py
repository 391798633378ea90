"""A page to judge a model by: its scores, and excerpts to look at and listen to.

The page is a folder that works from a disk, without a network:

    index.html  report.css  report.js
    charts/     drawn by `charts`, for light and dark pages, wide and narrow
    audio/      each recording as FLAC to keep; and those of one excerpt in one script

The scripts hold the FLAC files once more: pages from a disk may not read other files, but may run
scripts beside them, and only what a page has read can it play in exact synchrony.
"""

from __future__ import annotations

import base64
import datetime
import functools
import importlib.metadata
import os
import platform
import re
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.evaluation.aggregation import summarise, windows
from asteroid_waveunet.experiment.report import plots, spectrogram_images
from asteroid_waveunet.experiment.report.excerpts import Excerpt, common_gain, excerpt, recordings
from asteroid_waveunet.experiment.report.tables import (
    REPRESENTATIVES,
    comparison_table,
    decibels,
    gain_in_decibels,
    median,
    representatives,
    score_table,
    tracks_table,
)

__all__ = ["Excerpt", "Report", "check_place", "excerpt", "is_of", "representatives", "write"]

Scores = Mapping[str, Any]

MODEL = "model"

TEMPLATES = Path(__file__).with_name("templates")
ASSETS = ("report.css", "report.js")
PAGE = "index.html"
CONTENTS = {PAGE, *ASSETS, "charts", "audio"}
LEFT_BY_VIEWERS = {".DS_Store", "Thumbs.db"}

LIBRARIES = (
    "asteroid-waveunet",
    "asteroid",
    "torch",
    "pytorch-lightning",
    "lightning",
    "museval",
    "musdb",
    "numpy",
    "scipy",
    "soundfile",
    "soxr",
)


@dataclass(frozen=True)
class Report:
    """What a page shows.

    Attributes:
        title: the heading.
        protocol: one line: what was scored together, on what data.
        scores: of each track, as `evaluation.score_track` gives them.
        baselines: name -> scores of the same tracks and sources, of which the SDR is shown.
        excerpts: "best", "median", "worst" (see `representatives`), or other words -> a piece.
        command: what reproduces all this.
        configuration: the experiment's settings, in YAML.
        curves: Lightning's metrics.csv.
        notes: sentences that a reader of the scores should know.
        date: of the page; None for today.
        versions: of the software, by name; None for what is running.
        made_from: a word that tells these contents from others, for `is_of`.
    """

    title: str
    protocol: str
    scores: Sequence[Scores]
    command: str
    baselines: Mapping[str, Sequence[Scores]] = field(default_factory=dict)
    excerpts: Mapping[str, Excerpt] = field(default_factory=dict)
    configuration: str = ""
    curves: str | os.PathLike | None = None
    notes: Sequence[str] = ()
    date: datetime.date | None = None
    versions: Mapping[str, str] | None = None
    made_from: str = ""


def write(report: Report, folder: str | os.PathLike) -> Path:
    """Writes the page's folder, in the place of an earlier one.

    Returns:
        The page itself, `folder/index.html`.
    Raises:
        ValueError: if there are no scores, if a baseline is of other tracks, sources or
            windows, if the curves cannot be read, or if the folder holds other files than
            a report's.
        OSError: if it cannot be written.
    """
    _check(report)
    with _replacing_folder(Path(folder)) as partial:
        for name in ASSETS:
            shutil.copyfile(TEMPLATES / name, partial / name)
        (partial / "charts").mkdir()
        (partial / "audio").mkdir()
        spectrogram_images.colour_scale(partial / "charts" / "scale.png")
        page = _template("report.html.j2").render(_page(report, partial))
        (partial / PAGE).write_text(page, encoding="utf-8")
    return Path(folder) / PAGE


def _check(report: Report) -> None:
    if not report.scores:
        raise ValueError("a report needs the scores of one track or more, got none")
    if MODEL in report.baselines:
        raise ValueError(f"a baseline is named {MODEL!r}, as the model itself is; rename it")
    expected = _n_windows(report.scores)
    for name, scores in report.baselines.items():
        given = _n_windows(scores)
        keys = expected.keys() | given.keys()
        differing = sorted(key for key in keys if expected.get(key) != given.get(key))
        if differing:
            track, source = key = differing[0]
            raise ValueError(
                f"the baseline {name!r} has {given.get(key, 0)} windows of {source} in {track!r},"
                f" the model {expected.get(key, 0)}; expected scores of the same tracks and sources"
            )


def _n_windows(scores: Sequence[Scores]) -> dict[tuple[str, str], int]:
    """Track and source -> how many windows."""
    return {
        (track["track"], target["name"]): len(target["frames"])
        for track in scores
        for target in track["targets"]
    }


def check_place(folder: Path) -> None:
    """Whether a report can be written there.

    Raises:
        ValueError: if there is something else than an earlier report in that place.
    """
    others = sorted(set(os.listdir(folder)) - CONTENTS - LEFT_BY_VIEWERS) if folder.exists() else []
    if others:
        raise ValueError(
            f"{folder} holds files that are no report's ({', '.join(others[:5])}), which would be"
            " lost; give a folder that is new, empty, or an earlier report"
        )


def is_of(page: Path, made_from: str) -> bool:
    """Whether a page was made from that; see `Report.made_from`."""
    return page.is_file() and f'content="{made_from}"' in page.read_text(encoding="utf-8")


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """A folder to write to, beside `folder`, whose place it takes when the block ends well.

    Raises:
        ValueError: if there is something else than an earlier report in that place.
    """
    check_place(folder)
    folder = folder.absolute()
    partial, earlier = (
        folder.with_name(f".{word}.{folder.name}") for word in ("partial", "earlier")
    )
    for left in (partial, earlier):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rename(earlier)
        partial.rename(folder)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


# --- what is on the page ---------------------------------------------------------------------


def _page(report: Report, folder: Path) -> dict[str, Any]:
    """Everything the template names; charts and audio are written on the way."""
    systems = {MODEL: report.scores, **report.baselines}
    with np.errstate(invalid="ignore"):  # infinite scores have no standard deviation
        summaries = {name: summarise(scores) for name, scores in systems.items()}
    return {
        "title": report.title,
        "protocol": report.protocol,
        "notes": report.notes,
        "made_from": report.made_from,
        "n_tracks": len(report.scores),
        "sources": list(summaries[MODEL]),
        "scores": score_table(summaries[MODEL]),
        "comparison": comparison_table(summaries) if report.baselines else None,
        "baselines": list(report.baselines),
        "distributions": _distributions(systems, folder),
        "tracks": _tracks(report, folder),
        "all_tracks": tracks_table(report.scores),
        "curves": _curves(report.curves, folder),
        "command": report.command,
        "configuration": report.configuration,
        "versions": report.versions or _versions(),
        "date": (report.date or datetime.datetime.now(datetime.timezone.utc).date()).isoformat(),
        "dynamic_range": spectrogram_images.DYNAMIC_RANGE,
        "lowest": spectrogram_images.LOWEST,
    }


def _by_source(scores: Sequence[Scores]) -> dict[str, np.ndarray]:
    """The SDR of all windows of all tracks."""
    sources = [target["name"] for target in scores[0]["targets"]]
    return {
        source: np.concatenate([windows(track["targets"][i], "SDR") for track in scores])
        for i, source in enumerate(sources)
    }


def _distributions(systems: Mapping[str, Sequence[Scores]], folder: Path) -> dict[str, Any] | None:
    """The chart of all windows, and in figures what it shows: quartiles of each source."""
    pooled = {name: _by_source(scores) for name, scores in systems.items()}
    finite = {source: x[np.isfinite(x)] for source, x in pooled[MODEL].items()}
    if not any(map(len, finite.values())):
        return None
    draw = functools.partial(plots.distributions, pooled)
    return {
        "pictures": plots.save(draw, folder / "charts", "distributions"),
        "quartiles": {
            source: [decibels(q, digits=1) for q in np.percentile(values, (25, 50, 75))]
            for source, values in finite.items()
            if len(values)
        },
    }


# --- tracks to look at and listen to ---------------------------------------------------------


def _tracks(report: Report, folder: Path) -> list[dict[str, Any]]:
    """The representatives, and what else there is an excerpt of."""
    chosen = representatives(report.scores)
    chosen.update({label: piece.track for label, piece in report.excerpts.items()})
    order = [*REPRESENTATIVES, *chosen]
    labels = sorted(chosen, key=order.index)
    ids = file_names([f"{label} {chosen[label]}" for label in labels], longest=60)
    return [
        _track(id, label, chosen[label], report, folder)
        for id, label in zip(ids, labels, strict=True)
    ]


def _track(id: str, label: str, name: str, report: Report, folder: Path) -> dict[str, Any]:
    """One track: `id` is its name in the page and in the folder."""
    systems = {MODEL: report.scores, **report.baselines}
    scores = {
        system: track
        for system, tracks in systems.items()
        for track in tracks
        if track["track"] == name
    }
    sdr = {
        system: {target["name"]: windows(target, "SDR") for target in track["targets"]}
        for system, track in scores.items()
    }
    piece = report.excerpts.get(label)
    medians = {
        system: {source: decibels(median(values)) for source, values in by_source.items()}
        for system, by_source in sdr.items()
    }
    pictures = None
    if sdr and any(np.isfinite(values).any() for values in sdr[MODEL].values()):
        edges = _edges(scores[MODEL]["targets"][0]["frames"])
        played = (piece.start, piece.start + piece.seconds) if piece else None
        draw = functools.partial(plots.over_time, plots.Timeline(edges, sdr, played))
        pictures = plots.save(draw, folder / "charts", id)
    return {
        "id": id,
        "label": label,
        "name": name,
        "medians": medians,
        "over_time": pictures,
        "player": _player(id, piece, folder) if piece else None,
    }


def _edges(frames: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Where windows begin, and where the last one ends, in seconds."""
    return np.array([frame["time"] for frame in frames] + [_end(frames[-1])])


def _end(frame: Mapping[str, Any]) -> float:
    return frame["time"] + frame["duration"]


STRIP_COLOURS = {"mixture": "#c9ced6", "truth": "#f2a65a", "estimate": "#6cb2f5"}


def _player(id: str, piece: Excerpt, folder: Path) -> dict[str, Any]:
    """Writes an excerpt's recordings and their pictures; says what the player is to show."""
    rows = recordings(piece)
    gain, rate, end = common_gain(rows), piece.sample_rate, piece.start + piece.seconds
    played = [np.asarray(gain * row.samples, dtype=np.float32) for row in rows]
    names = file_names([f"{row.source or ''} {row.kind}" for row in rows])
    peak = max(float(np.abs(samples).max()) for samples in played)
    _write_recordings(id, dict(zip(names, played, strict=True)), rate, folder / "audio")
    _write_strips(
        {name: (x, row.kind) for name, x, row in zip(names, played, rows, strict=True)},
        rate,
        peak or 1.0,
        folder / "charts" / id,
    )
    return {
        "rows": list(zip(names, rows, strict=True)),
        "megabytes": (folder / "audio" / f"{id}.js").stat().st_size / 1e6,
        "seconds": piece.seconds,
        "start": plots.clock(piece.start),
        "end": plots.clock(end),
        "gain": gain,
        "peak": peak,
        "rate": rate,
        "times": {
            plots.clock(t): (t - piece.start) / piece.seconds
            for t in plots.time_ticks(piece.start, end, most=6)
        },
        "frequencies": spectrogram_images.frequency_ticks(rate),
    }


def _write_recordings(
    id: str, recordings: Mapping[str, np.ndarray], rate: int, folder: Path
) -> None:
    """`folder/id/*.flac`, and `folder/id.js` with the same files in base64."""
    encoded = {}
    for name, samples in recordings.items():
        file = folder / id / f"{name}.flac"
        audio_io.write(file, torch.from_numpy(samples), rate, "PCM_16")
        encoded[name] = base64.b64encode(file.read_bytes()).decode()
    script = _template("audio.js.j2").render(id=id, files=encoded)
    (folder / f"{id}.js").write_text(script, encoding="ascii")


def _write_strips(
    recordings: Mapping[str, tuple[np.ndarray, str]], rate: int, peak: float, folder: Path
) -> None:
    """A picture of each recording, alike in scale; colours go by what it is."""
    folder.mkdir()
    bands = {name: spectrogram_images.spectrogram(x, rate) for name, (x, _) in recordings.items()}
    loudest = max(float(spectrum.max()) for spectrum in bands.values())
    for name, (x, kind) in recordings.items():
        path = folder / f"{name}.png"
        spectrogram_images.draw(x, bands[name], peak, loudest, STRIP_COLOURS[kind], path)


def file_names(wanted: Sequence[str], longest: int = 80) -> list[str]:
    """Names for files and in addresses, without suffix, one for each of any texts, no two alike.

    >>> file_names(["Mötley / <Crüe>.", "a", "A", "漢字"])
    ['motley-crue', 'a', 'a-2', 'x']
    """
    names: list[str] = []
    for text in wanted:
        ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower())[:longest].strip("-") or "x"
        candidates = [slug, *(f"{slug}-{n}" for n in range(2, len(names) + 2))]
        names.append(next(name for name in candidates if name not in names))
    return names


# --- how it was made -------------------------------------------------------------------------


def _curves(path: str | os.PathLike | None, folder: Path) -> dict[str, Any] | None:
    """The chart of a training, and where it was at its best."""
    if path is None:
        return None
    curves = plots.read_curves(path)
    if not plots.panels(curves):
        return None
    losses = {s: v for s, v in curves.get("val_loss", {}).items() if np.isfinite(v)}
    best = min(losses, key=lambda step: losses[step]) if losses else None
    return {
        "pictures": plots.save(
            functools.partial(plots.training, curves), folder / "charts", "training"
        ),
        "panels": plots.panels(curves),
        "best": best,
        "loss": f"{losses[best]:.4g}" if best is not None else None,
        "epoch": int(curves.get("epoch", {}).get(best, -1)) if best is not None else None,
        "epochs": int(max(curves.get("epoch", {}).values(), default=-1)) + 1,
    }


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version(), "platform": platform.platform()}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["gain"] = gain_in_decibels
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)
