"""The tracks that a training began with: it resumes only with the same ones."""

from __future__ import annotations

import json

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.file_utils import replacing

__all__ = ["check_same_tracks"]


def check_same_tracks(experiment: ExperimentDir, sides: dict[str, list[Prepared]]) -> None:
    """Record the tracks when training begins; compare them when it resumes.

    Args:
        sides: "train on" and "validate" -> tracks.
    Raises:
        ValueError: if training has begun with other tracks.
    """
    music = {side: {track.name: track.sha256 for track in sides[side]} for side in sides}
    if not (experiment.checkpoints.is_dir() and experiment.music.is_file()):
        with replacing(experiment.music) as partial:
            partial.write_text(json.dumps(music, indent=1), encoding="utf-8")
        return
    recorded = json.loads(experiment.music.read_text(encoding="utf-8"))
    changes = [
        f"tracks to {side} ({', '.join(_changed_names(now, then))})"
        for side, now in music.items()
        if now != (then := recorded[side])
    ]
    if changes:
        raise ValueError(
            f"The tracks of {experiment.exp_dir} have changed since its training began: "
            f"{'; '.join(changes)}. Restore them, or name a new experiment with --tag."
        )


def _changed_names(now: dict[str, str], then: dict[str, str], limit: int = 5) -> list[str]:
    """Return names of tracks that were added, removed or changed."""
    names = sorted({name for name, _ in now.items() ^ then.items()})
    return [*names[:limit], *(["..."] if len(names) > limit else [])]
