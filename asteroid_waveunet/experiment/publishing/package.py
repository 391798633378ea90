"""A trained and scored model as a folder that says all about itself, and on the Hub.

    pytorch_model.bin  model.safetensors  config.json     the weights, in both formats
    conf.yml                                              what it was trained with
    scores.json  scores.md                                what it reaches, beside the baselines
    README.md  NOTICE.md                                  the model card; the licences
    report/                                               the page of its scores, without audio
    examples/                                             pieces of test songs, where they may be

Recordings go along once, as FLAC. The page of an experiment holds them twice (see `report`).
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from asteroid.models import BaseModel
from huggingface_hub import hf_hub_url

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.data import licenses, musdb, splits
from asteroid_waveunet.experiment.evaluation import evaluate
from asteroid_waveunet.experiment.evaluation.aggregation import nan_to_none
from asteroid_waveunet.experiment.evaluation.evaluate import Evaluation
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.publishing import hub_upload, licensing, model_card
from asteroid_waveunet.experiment.publishing.licensing import Terms
from asteroid_waveunet.experiment.report import evaluation_page, page
from asteroid_waveunet.experiment.settings import Publishing
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights import serialization

__all__ = ["CONTENTS", "Trained", "files_of", "pack", "publish"]

# What belongs to a published folder, here and on the Hub; whatever else is there stays.
CONTENTS = (
    serialization.BIN,
    serialization.SAFETENSORS,
    serialization.CONFIG,
    "conf.yml",
    "scores.json",
    "scores.md",
    "README.md",
    "NOTICE.md",
    "report",
    "examples",
)


@dataclass(frozen=True)
class Trained:
    """A trained and scored model, and what may be said of it.

    Attributes:
        infos: that its weights came with.
        configuration: as others may see it.
        page: what a page of scores says of it; see `stage.about`.
        repo_id: the name that it is to have on the Hub, if that is known.
        recordings: a folder with pieces of test songs, a folder a song, if they go along.
    """

    model: SourceModel
    infos: Mapping[str, Any]
    configuration: Configuration
    found: Evaluation
    terms: Terms
    page: Mapping[str, Any]
    repo_id: str | None = None
    recordings: Path | None = None

    @classmethod
    def of(cls, configuration: Configuration, places: ExperimentDir) -> Trained:
        """Collect an experiment's files and check them.

        Raises:
            FileNotFoundError: if it is not trained or not scored yet; if there are no recordings;
                or if the songs are gone and no licence is stated.
            ValueError: if its scores are not the model's, or something may not be published.
        """
        found = evaluate.read(places.scores, places.fingerprint(configuration))
        terms = licensing.terms(configuration, _of_musdb18(configuration))
        read = serialization.read(places.best_model)
        shown = _shown(configuration)
        scored = datetime.datetime.fromtimestamp(
            evaluate.scored_at(places.scores), datetime.timezone.utc
        )
        # Of the scores and the training, so that the page is the same on any day and machine.
        page = {
            **stages.report_details(configuration, places),
            "configuration": shown.as_yaml(),
            "date": scored.date(),
            "versions": read["infos"].get("software_versions"),
        }
        return cls(
            SourceModel.from_pretrained(read),
            read["infos"],
            shown,
            found,
            terms,
            page,
            configuration.publishing.repo_id,
            _recordings(places) if terms.examples else None,
        )


def pack(trained: Trained, folder: str | os.PathLike) -> Path:
    """Builds the folder; the same model, scores and settings give the same files, byte for byte.

    It is checked before it takes its name: it must load by its class's `from_pretrained` and by
    Asteroid's own, and separate as the model does.

    Returns:
        The folder, in which files that are not `CONTENTS` have stayed.
    """
    folder = Path(folder)
    building = folder.with_name(f".partial.{folder.name}")
    shutil.rmtree(building, ignore_errors=True)
    _write(trained, building)
    check(trained.model, building)
    folder.mkdir(exist_ok=True)
    for name in CONTENTS:
        old, new = folder / name, building / name
        if old.is_dir():
            shutil.rmtree(old)
        if new.exists():
            new.replace(old)
    building.rmdir()
    return folder


def files_of(folder: Path) -> list[str]:
    """The files that are published of a folder, as `a/b`."""
    paths = (path for name in CONTENTS for path in _files_at(folder / name))
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _files_at(path: Path) -> Iterator[Path]:
    yield from (p for p in (path, *path.rglob("[!.]*")) if p.is_file())


def _write(trained: Trained, folder: Path) -> None:
    found, model, configuration = trained.found, trained.model, trained.configuration
    summary = nan_to_none(found.summaries[found.name])
    told = {"training_config": configuration.as_dict(), "final_metrics": summary}
    conf = model.serialize()
    conf["infos"] = {**serialization.plain({**trained.infos, **told}), "task": "separation"}
    serialization.save(conf, folder)
    configuration.save(folder / "conf.yml")
    (folder / "scores.json").write_text(json.dumps(summary, indent=1) + "\n")
    (folder / "scores.md").write_text(found.as_text())
    terms = trained.terms
    about = f"# Licences\n\n{terms.notice()}\n# Data\n\n{terms.data.name}. {terms.data.about}\n"
    (folder / "NOTICE.md").write_text(about)
    page.write(evaluation_page.page_of(found, **trained.page), folder / "report")
    examples = _copy_recordings(trained, folder / "examples")
    made = model_card.make(model, configuration, found, terms, examples, trained.repo_id)
    made.save(folder / "README.md")


def _copy_recordings(trained: Trained, folder: Path) -> dict[str, dict[str, str]]:
    """Song -> title -> where the card finds a recording."""
    if trained.recordings is None:
        return {}
    examples: dict[str, dict[str, str]] = {}
    for file in sorted(trained.recordings.glob("*/*.flac")):
        song = file.parent.name
        (folder / song).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / song / file.name)
        path = f"{folder.name}/{song}/{file.name}"
        address = hf_hub_url(trained.repo_id, path) if trained.repo_id else path
        examples.setdefault(song.replace("-", " "), {})[file.stem.replace("-", " ")] = address
    return examples


def check(model: SourceModel, folder: Path) -> None:
    """The folder's weights, loaded each way, are the model's to the bit, and separate as it does.

    The estimates are compared to rounding: how a convolution is summed depends on where its
    tensors lie in memory.

    Raises:
        RuntimeError: if they are not, which would be our mistake.
    """
    mixture = torch.randn(model.in_channels, model.geometry.fit(4096).output)
    state, expected = model.state_dict(), model.eval().torch_separate(mixture)
    loaded = (
        type(model).from_pretrained(folder),
        type(model).from_pretrained(folder / serialization.SAFETENSORS),
        BaseModel.from_pretrained(str(folder / serialization.BIN)).eval(),
    )
    for other in loaded:
        same = all(torch.equal(state[name], t) for name, t in other.state_dict().items())
        close = torch.allclose(other.torch_separate(mixture), expected, rtol=0, atol=1e-4)
        if not (same and close):
            raise RuntimeError(f"The weights in {folder} are not the trained model's.")


# --- an experiment, and what of it others may see ---------------------------------------------


def _shown(configuration: Configuration) -> Configuration:
    """Without folders of this machine, and without where it is published."""
    settings = configuration.publishing
    data = configuration.data
    return replace(
        configuration,
        data=replace(
            data, dataset=Path(data.dataset).name, extra=[Path(name).name for name in data.extra]
        ),
        publishing=Publishing(data_name=settings.data_name, license=settings.license),
    )


def _of_musdb18(configuration: Configuration) -> list[str]:
    """The folders of one's own that hold MUSDB18's songs, whose licence binds the weights.

    They may be excerpts, and one of its validation songs is enough.

    Raises:
        FileNotFoundError: if one is gone, so that nobody can tell, and no licence is stated.
    """
    data = configuration.data
    own = [name for name in (data.dataset, *data.extra) if name not in licenses.DATA]
    for root in own:
        if not Path(root).is_dir() and configuration.publishing.license is None:
            raise FileNotFoundError(
                f"{root} is gone, so that nothing tells under which licence songs the model was "
                "trained; put it back, or say the weights' licence with --license."
            )
    return [root for root in own if Path(root).is_dir() and _holds_musdb18(root)]


def _holds_musdb18(root: str) -> bool:
    songs = {splits.song_of(track.name) for track in musdb.tracks(root, "train")}
    return not songs.isdisjoint(splits.OFFICIAL_VALIDATION)


def _recordings(places: ExperimentDir) -> Path:
    """
    Raises:
        FileNotFoundError: if there are none.
    """
    folder = places.report / "audio"
    if not any(folder.glob("*/*.flac")):
        raise FileNotFoundError(
            f"There are no pieces of songs in {folder}; run stage 3 (evaluate) again, or publish "
            "without them: --examples false."
        )
    return folder


# --- on the Hub ------------------------------------------------------------------------------


def publish(configuration: Configuration, places: ExperimentDir, dry_run: bool = False) -> None:
    """Packs an experiment into its `published` folder and uploads it, where it has a `repo_id`.

    All that can be checked is checked before anything is sent.

    Args:
        dry_run: packs and says what would be sent; the Hub is not asked.
    Raises:
        FileNotFoundError, ValueError: see `Trained.of`.
        OSError, ValueError: see `upload.Destination.of` and `upload.send`.
    """
    trained = Trained.of(configuration, places)
    settings = configuration.publishing
    destination = None
    if settings.repo_id and not dry_run:
        destination = hub_upload.Destination.of(
            settings.repo_id, trained.model, settings.private, settings.revision
        )
    folder = pack(trained, places.published)
    files = files_of(folder)
    print(_listing(folder, files) if settings.repo_id or dry_run else folder)
    if destination is not None:
        address = hub_upload.send(folder, files, CONTENTS, destination)
        print(f"{address}\n\n{_loading(destination, type(trained.model).__name__)}")
    elif settings.repo_id:
        kind, tag = "private" if settings.private else "public", settings.revision
        tagged = f", tagged {tag}" if tag else ""
        print(f"Nothing was sent. This would go to {settings.repo_id} ({kind}{tagged}).")
    else:
        print("It is ready for the Hub, and goes there with --repo_id user/name.")


def _loading(destination: hub_upload.Destination, architecture: str) -> str:
    """The lines of Python that load a model from the Hub."""
    name = "@".join(filter(None, (destination.repo_id, destination.tag)))
    return (
        f"from asteroid_waveunet import {architecture}\n\n"
        f'model = {architecture}.from_pretrained("{name}")\n'
        'model.file_separate("song.wav")'
    )


def _listing(folder: Path, files: Sequence[str]) -> str:
    """The files and their sizes, for people."""
    sizes = {file: (folder / file).stat().st_size for file in files}
    lines = [f"{size:>12,}  {file}" for file, size in sizes.items()]
    total = f"{sum(sizes.values()):>12,}  bytes, {len(files)} files"
    return "\n".join([f"{folder}:", *lines, total])
