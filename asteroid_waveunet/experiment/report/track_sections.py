"""The page's sections on single tracks: SDR over time, and a player for the excerpt."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.evaluation.aggregation import windows
from asteroid_waveunet.experiment.evaluation.formatting import decibels
from asteroid_waveunet.experiment.report import plots, spectrogram_images
from asteroid_waveunet.experiment.report.excerpts import Excerpt, common_gain, recordings
from asteroid_waveunet.experiment.report.page_files import file_names, template
from asteroid_waveunet.experiment.report.tables import (
    REPRESENTATIVES,
    Scores,
    median,
    representatives,
)

__all__ = ["track_sections"]

Systems = Mapping[str, Sequence[Scores]]  # name -> scores; the first is the model

WAVEFORM_COLOURS = {"mixture": "#c9ced6", "truth": "#f2a65a", "estimate": "#6cb2f5"}


def track_sections(
    systems: Systems, excerpts: Mapping[str, Excerpt], folder: Path
) -> list[dict[str, Any]]:
    """Return the template's data for the representative tracks and all tracks with an excerpt.

    Charts and recordings are written to `folder`.

    Args:
        systems: scores by name; the first system is the model.
        excerpts: label -> excerpt.
    """
    chosen = representatives(next(iter(systems.values())))
    chosen.update({label: piece.track for label, piece in excerpts.items()})
    order = [*REPRESENTATIVES, *chosen]
    labels = sorted(chosen, key=order.index)
    ids = file_names([f"{label} {chosen[label]}" for label in labels], longest=60)
    return [
        {
            "id": id,
            "label": label,
            **_section(id, chosen[label], systems, excerpts.get(label), folder),
        }
        for id, label in zip(ids, labels, strict=True)
    ]


def _section(
    id: str, name: str, systems: Systems, piece: Excerpt | None, folder: Path
) -> dict[str, Any]:
    """Return one track's data; `id` names it in the page and in the folder."""
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
    medians = {
        system: {source: decibels(median(values)) for source, values in by_source.items()}
        for system, by_source in sdr.items()
    }
    pictures = None
    model = next(iter(systems))
    if sdr and any(np.isfinite(values).any() for values in sdr[model].values()):
        edges = _window_edges(scores[model]["targets"][0]["frames"])
        played = (piece.start, piece.start + piece.seconds) if piece else None
        draw = functools.partial(plots.over_time, plots.Timeline(edges, sdr, played))
        pictures = plots.save(draw, folder / "charts", id)
    return {
        "name": name,
        "medians": medians,
        "over_time": pictures,
        "player": _player(id, piece, folder) if piece else None,
    }


def _window_edges(frames: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the start of each window and the end of the last, in seconds."""
    end = frames[-1]["time"] + frames[-1]["duration"]
    return np.array([frame["time"] for frame in frames] + [end])


def _player(id: str, piece: Excerpt, folder: Path) -> dict[str, Any]:
    """Write an excerpt's recordings and images; return the data of its player."""
    rows = recordings(piece)
    gain, rate, end = common_gain(rows), piece.sample_rate, piece.start + piece.seconds
    played = [np.asarray(gain * row.samples, dtype=np.float32) for row in rows]
    names = file_names([f"{row.source or ''} {row.kind}" for row in rows])
    peak = max(float(np.abs(samples).max()) for samples in played)
    _write_recordings(id, dict(zip(names, played, strict=True)), rate, folder / "audio")
    _write_images(
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
    """Write `folder/id/*.flac`, and `folder/id.js` with the same files in base64."""
    encoded = {}
    for name, samples in recordings.items():
        file = folder / id / f"{name}.flac"
        audio_io.write(file, torch.from_numpy(samples), rate, "PCM_16")
        encoded[name] = base64.b64encode(file.read_bytes()).decode()
    script = template("audio.js.j2").render(id=id, files=encoded)
    (folder / f"{id}.js").write_text(script, encoding="ascii")


def _write_images(
    recordings: Mapping[str, tuple[np.ndarray, str]], rate: int, peak: float, folder: Path
) -> None:
    """Write an image of each recording at a common scale, coloured by kind."""
    folder.mkdir()
    bands = {name: spectrogram_images.spectrogram(x, rate) for name, (x, _) in recordings.items()}
    loudest = max(float(spectrum.max()) for spectrum in bands.values())
    for name, (x, kind) in recordings.items():
        path = folder / f"{name}.png"
        spectrogram_images.draw(x, bands[name], peak, loudest, WAVEFORM_COLOURS[kind], path)
