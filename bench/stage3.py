"""Time the steps of an evaluation: `python bench/stage3.py DATA ENGINE 2` prints them as JSON.

2 or 4 sources. To time the steps of another version, set PYTHONPATH to its folder.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

REST = "the rest"
SOURCES = ("bass", "drums", "other", "vocals")


class Steps(dict[str, float]):
    """Seconds of the processor by step; of a step within another, the inner one has them."""

    def __init__(self) -> None:
        super().__init__()
        self.running, self.since = [REST], processor_seconds()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._switch()
        self.running.append(name)
        try:
            yield
        finally:
            self._switch()
            self.running.pop()

    def _switch(self) -> None:
        now = processor_seconds()
        self[self.running[-1]] = self.get(self.running[-1], 0.0) + now - self.since
        self.since = now

    def timed(self, name: str, function: Callable) -> Callable:
        def within(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return function(*args, **kwargs)

        return within


def processor_seconds() -> float:
    """Return the processor's time of this process and its finished children: ffmpeg's."""
    return time.process_time() + sum(os.times()[2:4])


def evaluate(data: str, engine: str, n_sources: str) -> Steps:
    """Evaluate a model on songs, in this process, with one thread."""
    steps = Steps()
    with steps.step("start: imports, weights"):
        import torch

        from asteroid_waveunet.experiment.data import musdb
        from asteroid_waveunet.experiment.evaluation import evaluate as evaluation
        from asteroid_waveunet.experiment.evaluation.separator import Separator
        from asteroid_waveunet.experiment.report import evaluation_page

        torch.set_num_threads(1)
        model = network(int(n_sources))
        patches = told(steps, engine)
    tracks, estimator = musdb.tracks(data, "test"), Separator.from_model(model)
    with tempfile.TemporaryDirectory() as out, patches:
        found = evaluation.evaluate(
            tracks, estimator, model.sources, out, title="", fingerprint="", engine=engine,
            jobs=0, progress=False,
        )  # fmt: skip
        evaluation_page.write_page(found, tracks, estimator, Path(out) / "report", command="")
    with steps.step(REST):
        return steps


def network(n_sources: int) -> Any:
    """Return the packaged model, or one of its size with random weights for four sources."""
    from asteroid_waveunet import WaveUNet

    model = WaveUNet.from_pretrained("free")
    if n_sources == len(SOURCES):
        model = WaveUNet(**{**model.get_model_args(), "sources": SOURCES})
    return model.eval()


def told(steps: Steps, engine: str) -> ExitStack:
    """Replace the functions of each step by timed ones until the end of a `with` statement."""
    from asteroid_waveunet.experiment.data.musdb import MusdbTrack
    from asteroid_waveunet.experiment.evaluation import track_scoring
    from asteroid_waveunet.experiment.evaluation.estimators import IdealRatioMask
    from asteroid_waveunet.experiment.evaluation.metrics import track_metrics
    from asteroid_waveunet.experiment.evaluation.separator import Separator
    from asteroid_waveunet.experiment.report import page, plots, track_sections

    compute, name = track_metrics.ENGINES[engine]
    timed = {engine: (steps.timed("all metrics of the model", compute), name)}
    patches = ExitStack()
    patches.enter_context(mock.patch.dict(track_metrics.ENGINES, timed))
    for owner, function, step in (
        (MusdbTrack, "read_all", "decode"),
        (Separator, "__call__", "separate"),
        (IdealRatioMask, "__call__", "oracle masks"),
        (track_scoring, "score_track", "SDR of the baselines, checks"),
        (plots, "save", "page: plots"),
        (track_sections, "_player", "page: recordings and images"),
        (page, "write", "page: the rest"),
    ):
        within = steps.timed(step, getattr(owner, function))
        patches.enter_context(mock.patch.object(owner, function, within))
    return patches


if __name__ == "__main__":
    print(json.dumps(evaluate(*sys.argv[1:])))
