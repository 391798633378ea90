"""Benchmark float32 against mixed precision with bfloat16: training curves and speed."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import measure
import numpy as np
import torch
from matplotlib.figure import Figure

from asteroid_waveunet.experiment.config import Configuration, load
from asteroid_waveunet.experiment.data import splits
from asteroid_waveunet.experiment.data.prepare import prepare
from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.demo_songs import generate
from asteroid_waveunet.experiment.paper_figures.common import COLOURS, new_figure, save
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.training.fit import fit
from asteroid_waveunet.experiment.training.precision import speed_up

__all__ = ["curves"]

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "musdb18" / "conf" / "real.yml"
PRECISIONS = ("32-true", "bf16-mixed")
STEPS_PER_VALIDATION = 10
VALIDATION_SONGS = 8
FIGURE = "precision.png"

Curve = tuple[list[int], list[float]]
"""Steps, and the validation loss after each."""


def curves(args: argparse.Namespace) -> str:
    """Training in float32 and in mixed precision with bfloat16."""
    configuration = load(RECIPE, {"init": "null"})
    with tempfile.TemporaryDirectory() as folder:
        root, kind = args.music, "songs of a folder given by --music"
        if root is None:
            root, kind = folder, "generated songs"
            generate.generate(root, args.songs, 1, seconds=20, sample_rate=44100, progress=False)
        audio = configuration.audio_format
        store, rate = Path(folder, "store"), audio.sample_rate
        tracks = prepare(root, store, audio.sources, rate, audio.channels, progress=False)
        found = {
            (name, seed): _losses(_with(configuration, args.curve_steps, name, seed), tracks)
            for seed in args.seeds
            for name in PRECISIONS
        }
    save(lambda: _draw(found), args.output.with_name(FIGURE))
    settings, turns = configuration.training, max(1, args.repeats)
    sizes = settings.batch_size, settings.segment_length
    factors = [speed_up(configuration.make_model(), *sizes) for _ in range(turns)]
    rows = [
        [seed, *(f"{found[name, seed][1][-1]:.5f}" for name in PRECISIONS)] for seed in args.seeds
    ]
    return (
        f"`conf/{RECIPE.name}` from random weights on {len(tracks)} {kind}, {args.curve_steps} "
        f"steps of {settings.batch_size} segments; the loss of {VALIDATION_SONGS} validation songs "
        f"at most. One seed draws the same weights and segments in both. {_differences(found)} A "
        f"step in bfloat16 is {measure.spread(factors)} times as fast (forward and backward pass, "
        f"in turns).\n\n![Validation loss by step]({FIGURE})\n\n"
        + measure.table(["seed", *(f"last loss, {name}" for name in PRECISIONS)], rows)
    )


def _differences(found: Mapping[tuple[str, int], Curve]) -> str:
    """Return the mean relative differences of losses, between precisions and between seeds."""
    losses = {key: np.array(curve[1]) for key, curve in found.items()}
    seeds = sorted({seed for _, seed in found})

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(np.log(a / b)).mean())

    exact, rounded = PRECISIONS
    between = np.mean([apart(losses[exact, seed], losses[rounded, seed]) for seed in seeds])
    text = f"The losses of the two precisions differ by {between:.1%} on average"
    pairs = [(a, b) for a in seeds for b in seeds if a < b]
    if not pairs:
        return f"{text}."
    others = np.mean([apart(losses[exact, a], losses[exact, b]) for a, b in pairs])
    return f"{text}, those of two seeds in float32 by {others:.1%}."


def _draw(found: Mapping[tuple[str, int], Curve]) -> Figure:
    """Plot the validation losses by step."""
    figure = new_figure(420)
    axes = figure.subplots()
    seeds = sorted({seed for _, seed in found})
    for (name, seed), (steps, losses) in found.items():
        colour = list(COLOURS.values())[seeds.index(seed)]
        line = "-" if name == PRECISIONS[0] else "--"
        axes.plot(steps, losses, color=colour, linestyle=line, label=f"{name}, seed {seed}")
    axes.set(xlabel="optimizer step", ylabel="validation loss")
    axes.grid()
    axes.legend()
    return figure


def _with(configuration: Configuration, steps: int, precision: str, seed: int) -> Configuration:
    """Return the configuration for a short run that is validated often."""
    per_epoch = min(steps, STEPS_PER_VALIDATION)
    training = dataclasses.replace(
        configuration.training,
        precision=precision,
        seed=seed,
        epoch_length=per_epoch * configuration.training.batch_size,
        max_epochs=steps // per_epoch,
        patience=steps,
        warmup_steps=min(configuration.training.warmup_steps, steps // 5),
        logger=["csv"],
        listen_every=0,
    )
    return dataclasses.replace(configuration, training=training)


def _losses(configuration: Configuration, tracks: Sequence[Prepared]) -> Curve:
    """Train, and return the validation losses."""
    settings = configuration.training
    names = splits.split([track.name for track in tracks], 0.2)
    train, valid = ([track for track in tracks if track.name in side] for side in names)
    torch.manual_seed(settings.seed)
    model = configuration.make_model()
    lengths, left = model.geometry.fit(settings.segment_length), model.geometry.left_context
    drawn = Segments(
        train, lengths, left, settings.epoch_length, settings.seed, settings.augmentation,
        remix=settings.remix,
        remix_stems=settings.remix_stems,
    )  # fmt: skip
    fixed = Segments(valid[:VALIDATION_SONGS], lengths, left, random=False)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, drawn, fixed, folder, settings)
        with Path(folder, "logs", "csv", "metrics.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("val_loss")]
    return [int(row["step"]) + 1 for row in rows], [float(row["val_loss"]) for row in rows]
