"""The folder of the page, which any web server can serve.

index.html  *.css  *.js       the page, the same for all models
model.json                    sources, sample rate, hop, hashes; where the runtime is
model.onnx                    one hop of the network
example.flac                  a short generated song
runtime/                      onnxruntime-web, with a local copy
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asteroid_waveunet import pretrained
from asteroid_waveunet._version import __version__
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment import report
from asteroid_waveunet.experiment.demo_songs.composition import compose, sum_values
from asteroid_waveunet.experiment.web import runtime
from asteroid_waveunet.file_utils import replacing_folder
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.streaming.export import export_step

__all__ = ["CONTENTS", "PAGE", "Description", "check_place", "write_page"]

TEMPLATES = Path(__file__).with_name("templates")
SHARED = Path(report.__file__).with_name("templates")
SHARED_ASSETS = ("player.css", "player.js")  # of the report's page, too
PAGE, MODEL, NETWORK, EXAMPLE = "index.html", "model.json", "model.onnx", "example.flac"
ASSETS = tuple(sorted(path.name for path in TEMPLATES.glob("*") if ".d." not in path.name))
CONTENTS = (*ASSETS, *SHARED_ASSETS, MODEL, NETWORK, EXAMPLE, runtime.LOCAL)

HOP = 2**17
"""Default minimum of samples per call. M4 takes 1.1 times as long with half of this hop."""

EXAMPLE_SECONDS = 8.0
EXAMPLE_SEED = 3
MIN_EXAMPLE_RATE = 8000


@dataclass(frozen=True)
class Description:
    """Facts about a model, as the page states them.

    Attributes:
        name: of the model.
        about: what it separates, and what it was trained on if known.
        license: of the weights; None if unknown.
    """

    name: str
    about: str
    license: str | None = None

    @classmethod
    def of(cls, given: str, model: SourceModel, license: str | None = None) -> Description:
        """Describe a model by what it was loaded from.

        Args:
            given: name of the package's weights, folder, file, name on the Hub or URL.
            license: of the weights; None for that of the package's own, unknown for others.
        """
        if given in pretrained.names():
            weights = pretrained.WEIGHTS[given]
            return cls(given, weights.summary, license or weights.license)
        *first, last = model.sources
        about = " and ".join(filter(None, (", ".join(first), last)))
        is_place = Path(given).exists() or "://" in given
        name = Path(given.split("#")[0]).resolve().stem if is_place else given
        return cls(name, about, license)


def check_place(folder: str | os.PathLike) -> None:
    """Raise an error if writing a page to `folder` would delete other files.

    Raises:
        NotADirectoryError: if it is a file.
        ValueError: if it holds other files than a page.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; expected a folder for the page.")
    others = sorted({each.name for each in path.glob("*")} - {*CONTENTS})
    if others:
        raise ValueError(
            f"{path} holds files that do not belong to a page ({', '.join(others[:5])}) and would "
            "be deleted; name a new or empty folder, or an earlier page."
        )


def write_page(
    model: SourceModel,
    folder: str | os.PathLike,
    description: Description,
    hop: int | None = None,
    local_runtime: str | os.PathLike | None = None,
) -> Path:
    """Write the page of a model to `folder`, replacing an earlier page.

    Args:
        model: a WaveUNet with context; see `export_step`.
        hop: samples per call of the network, a multiple of `model.geometry.step`. Default: the
            smallest multiple that is at least `HOP`.
        local_runtime: folder of onnxruntime-web to copy into the page; None for its CDN.
    Returns:
        The path of the page, `folder/index.html`.
    Raises:
        ValueError, ModuleNotFoundError: see `export_step`; ValueError also if the folder holds
            other files or the runtime is of another version.
        FileNotFoundError: if the runtime's files are missing.
    """
    check_place(folder)
    with replacing_folder(folder) as partial:
        if local_runtime is not None:
            runtime.copy_runtime(local_runtime, partial)
        for templates, names in ((TEMPLATES, ASSETS), (SHARED, SHARED_ASSETS)):
            for name in names:
                shutil.copyfile(templates / name, partial / name)
        facts = _facts(model, partial / NETWORK, description, hop, local_runtime is not None)
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        (partial / MODEL).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        _write_example(partial / EXAMPLE, model.sample_rate)
    return Path(folder) / PAGE


def _facts(
    model: SourceModel, network: Path, description: Description, hop: int | None, is_local: bool
) -> dict[str, Any]:
    """Write the network; return the contents of model.json."""
    if hop is None and hasattr(model.geometry, "step"):
        hop = -(-HOP // model.geometry.step) * model.geometry.step
    exported = export_step(model, network, "onnx", hop, any_length=True)
    return {
        "name": description.name,
        "about": description.about,
        "license": description.license,
        "sources": exported.sources,
        "channels": exported.channels,
        "sample_rate": exported.sample_rate,
        "hop": exported.hop,
        "step": model.geometry.step,
        "delay": exported.delay,
        "network": {
            "name": NETWORK,
            "integrity": runtime.integrity(network),
            "bytes": network.stat().st_size,
        },
        "runtime": runtime.description(is_local),
        "example": EXAMPLE,
        "version": __version__,
    }


def _write_example(path: Path, sample_rate: float) -> None:
    """Write a generated song, the same for every model of this sample rate."""
    rate = max(MIN_EXAMPLE_RATE, int(sample_rate))
    stems = compose(round(EXAMPLE_SECONDS * rate), rate, np.random.default_rng(EXAMPLE_SEED))
    mixture = torch.from_numpy(sum_values(stems).astype(np.float32))
    audio_io.write(path, mixture, rate, "PCM_16")
