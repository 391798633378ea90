"""One estimator's scores on disk: a JSON file per track, and the settings they were made with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.estimators import Estimator, Folder
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import Scores
from asteroid_waveunet.file_utils import replacing

__all__ = ["SETTINGS_FILE", "ScoreStore"]

SETTINGS_FILE = "evaluation.json"


@dataclass(frozen=True)
class ScoreStore:
    """The scores of one estimator, and optionally its estimates.

    Attributes:
        estimator: makes the estimates. A `Separator` runs in the calling process.
        out: folder of the scores, `out/<subset>/<track>.json`.
        fast: score the SDR only (equal to 1e-9 dB).
        engine: computes all metrics; see `score_track`.
        save: folder of the estimates, `save/<subset>/<track>/<target>.wav` in 32-bit floats.
    """

    estimator: Estimator
    out: Path
    fast: bool = False
    save: Path | None = None
    engine: str = "bss_eval"

    def score_file(self, track: Track) -> Path:
        """Return the path of a track's scores."""
        return self.out / track.subset / f"{track.name}.json"

    def estimate_files(self, track: Track, targets: Sequence[str]) -> dict[str, Path]:
        """Return the paths of a track's saved estimates; none without `save`."""
        if self.save is None:
            return {}
        folder = self.save / track.subset / track.name
        return {target: folder / f"{target}.wav" for target in targets}

    def write(self, track: Track, scores: Scores) -> Scores:
        """Write a track's scores with a digest of their input files, and return both."""
        content = {**scores, "made_from": self._digest(track)}
        with replacing(self.score_file(track)) as draft:
            draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return content

    def read(self, track: Track, targets: Sequence[str]) -> Scores | None:
        """Read a track's scores; None if there are none or their input files have changed."""
        if not all(path.is_file() for path in self.estimate_files(track, targets).values()):
            return None
        try:
            scores = json.loads(self.score_file(track).read_text(encoding="utf-8"))
            return scores if scores["made_from"] == self._digest(track) else None
        except (OSError, ValueError, KeyError, TypeError):  # missing or corrupt
            return None

    def _digest(self, track: Track) -> str:
        """Return a digest of a track's files and of its estimates' files."""
        estimates = self.estimator.files(track) if isinstance(self.estimator, Folder) else []
        return digest([*track.files(), *estimates])

    def check_settings(self, **settings: Any) -> None:
        """Note the settings in an empty folder; compare them with those noted before.

        Raises:
            ValueError: if the folder's scores have other settings, or none were noted.
        """
        settings["metrics"] = "SDR only (--fast)" if self.fast else "all"
        earlier = self._noted_settings()
        if earlier is None:
            with replacing(self.out / SETTINGS_FILE) as partial:
                partial.write_text(json.dumps(settings), encoding="utf-8")
            return
        differing = [
            f"{key}: {earlier.get(key)!r}, not {value!r}"
            for key, value in settings.items()
            if earlier.get(key) != value
        ]
        if differing:
            raise ValueError(
                f"{self.out} holds scores with other settings ({'; '.join(differing)}). "
                "Choose another folder, or delete this one to score again"
            )

    def _noted_settings(self) -> Mapping[str, Any] | None:
        """Return the folder's settings; None if it has no scores, {} if it has but no settings."""
        file = self.out / SETTINGS_FILE
        if not file.is_file():
            return {} if any(self.out.glob("*/*.json")) else None
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as reason:
            raise ValueError(f"{file} is corrupt ({reason}); delete {self.out}.") from reason
        return settings if isinstance(settings, dict) else {}


def digest(files: Iterable[Path]) -> str:
    """Return a digest of files' names, sizes and times, without reading them."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:16]
