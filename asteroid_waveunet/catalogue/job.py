"""The settings of a run, the same for every song: all that a worker needs to know."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asteroid_waveunet._version import __version__
from asteroid_waveunet.separation.layout import Layout
from asteroid_waveunet.separation.stem_options import StemOptions

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """A run's settings, the same for all songs and workers.

    Attributes:
        output: path or URL of the output folder.
        weights: `serialization.fingerprint` of the model.
        stems: names of the stems.
        options: what the stems hold.
        template: names of the stems' files; see `Layout`.
        overwrite: no song is done.
        skip_existing: a song is done if files of its stems' names exist.
        device: of the workers' models; None: CUDA where there is a GPU.
        threads: of a worker's processor, for each song that it computes; None: torch's default.
        scratch: folder of the workers' temporary files; None: the system's.
        version: of this package; workers need the same.
    """

    output: str
    weights: str
    stems: tuple[str, ...]
    options: StemOptions
    template: str | None = None
    overwrite: bool = False
    skip_existing: bool = False
    device: str | None = None
    threads: int | None = None
    scratch: str | None = None
    version: str = __version__

    def layout(self, folder: Path) -> Layout:
        """Return the places of stems below a local folder."""
        options = self.options
        return Layout(folder, self.stems, options.suffix, options.bits, self.template)

    @property
    def recorded(self) -> Mapping[str, Any]:
        """The options in the songs' records."""
        return asdict(self.options)

    @property
    def recipe(self) -> str:
        """Fingerprint of all that decides what the stems' files hold and where they are."""
        content = [self.weights, self.recorded, self.stems, self.template]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
