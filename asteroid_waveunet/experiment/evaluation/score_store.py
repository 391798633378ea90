"""What is scored, and the files of its scores: a json a track, and a claim to the folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.bss_eval import Scores
from asteroid_waveunet.experiment.evaluation.estimators import Estimator, Folder
from asteroid_waveunet.file_utils import replacing

__all__ = ["System"]

CLAIM = "evaluation.json"


@dataclass(frozen=True)
class System:
    """What is scored, and where that is written.

    Attributes:
        estimator: what gives the estimates. A `Separator` runs in the calling process.
        out: a folder for the scores, `out/<subset>/<track>.json`.
        fast: SDR alone, without museval, the same to 1e-9 dB.
        save: a folder for the estimates, `save/<subset>/<track>/<target>.wav` in 32-bit floats.
    """

    estimator: Estimator
    out: Path
    fast: bool = False
    save: Path | None = None

    def file(self, track: Track) -> Path:
        """Where a track's scores are."""
        return self.out / track.subset / f"{track.name}.json"

    def wavs(self, track: Track, targets: Sequence[str]) -> dict[str, Path]:
        """Where a track's estimates are to be kept."""
        if self.save is None:
            return {}
        folder = self.save / track.subset / track.name
        return {target: folder / f"{target}.wav" for target in targets}

    def write(self, track: Track, scores: Scores) -> Scores:
        """Keeps a track's scores with what they were made from, and gives what it kept."""
        kept = {**scores, "made_from": self._made_from(track)}
        with replacing(self.file(track)) as draft:
            draft.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        return kept

    def read(self, track: Track, targets: Sequence[str]) -> Scores | None:
        """A track's scores, if they are there and made from the files that are there now."""
        if not all(path.is_file() for path in self.wavs(track, targets).values()):
            return None
        try:
            scores = json.loads(self.file(track).read_text(encoding="utf-8"))
            return scores if scores["made_from"] == self._made_from(track) else None
        except (OSError, ValueError, KeyError, TypeError):  # none, or no longer legible
            return None

    def _made_from(self, track: Track) -> str:
        """Tells a track's files, and those of its estimates, from others of the same names."""
        estimates = self.estimator.files(track) if isinstance(self.estimator, Folder) else []
        return digest([*track.files(), *estimates])

    def claim(self, **claim: Any) -> None:
        """Notes in the folder whose scores it holds.

        Raises:
            ValueError: if they are another's, or nobody noted whose they are.
        """
        claim["metrics"] = "SDR only (--fast)" if self.fast else "all"
        earlier = self._claimed()
        if earlier is None:
            with replacing(self.out / CLAIM) as partial:
                partial.write_text(json.dumps(claim), encoding="utf-8")
            return
        differing = [
            f"{key}: {earlier.get(key)!r}, not {value!r}"
            for key, value in claim.items()
            if earlier.get(key) != value
        ]
        if differing:
            raise ValueError(
                f"{self.out} holds scores that were made otherwise ({'; '.join(differing)})."
                " Give another folder, or delete this one to score anew"
            )

    def _claimed(self) -> Mapping[str, Any] | None:
        file = self.out / CLAIM
        if not file.is_file():
            return {} if any(self.out.glob("*/*.json")) else None
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as reason:
            raise ValueError(f"{file} is corrupt ({reason}); delete {self.out}.") from reason
        return found if isinstance(found, dict) else {}


def digest(files: Iterable[Path]) -> str:
    """Tells files from others by names, sizes and times; they are not read."""
    said = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
