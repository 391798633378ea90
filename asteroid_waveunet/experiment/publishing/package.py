"""Package a trained and scored model as a folder, and publish it on the Hub.

    pytorch_model.bin  model.safetensors  config.json     the weights, in both formats
    conf.yml                                              the configuration of the training
    scores.json  scores.md                                scores of the model and the baselines
    README.md  NOTICE.md                                  the model card; the licenses
    report/                                               the page of the scores, without audio
    examples/                                             excerpts of test songs, if allowed

Recordings are included once, as FLAC files; an experiment's own page holds them twice (see
`report.page`).
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Mapping, Sequence
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
from asteroid_waveunet.experiment.settings import Data, Publishing
from asteroid_waveunet.file_utils import replacing_folder
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights import serialization

__all__ = [
    "CONTENTS",
    "TrainedModel",
    "listing",
    "musdb18_folders",
    "pack",
    "packaged_files",
    "publish",
]

# Files and folders of a package. Others in the folder or the repository are kept.
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
class TrainedModel:
    """A trained and scored model with everything that its package states.

    Attributes:
        infos: the entry "infos" of its weights file.
        configuration: its configuration without local paths.
        evaluation: scores of the model and the baselines.
        page_details: fields of the report page; see `stages.report_details`.
        repo_id: repository on the Hub, if known.
        recordings: folder with a subfolder of excerpts per test song; None to publish none.
    """

    model: SourceModel
    infos: Mapping[str, Any]
    configuration: Configuration
    evaluation: Evaluation
    terms: Terms
    page_details: Mapping[str, Any]
    repo_id: str | None = None
    recordings: Path | None = None

    @classmethod
    def load(cls, configuration: Configuration, places: ExperimentDir) -> TrainedModel:
        """Read an experiment and check that it may be published.

        Raises:
            FileNotFoundError: if the model is not trained or not scored, if there are no
                recordings, or if the songs are gone and no license is stated.
            ValueError: if the scores belong to another model, or the license does not allow it.
        """
        evaluation = evaluate.read(places.scores, places.fingerprint(configuration))
        terms = licensing.terms(configuration, musdb18_folders(configuration))
        weights = serialization.read(places.best_model)
        public = _without_local_paths(configuration)
        scored = datetime.datetime.fromtimestamp(
            evaluate.scored_at(places.scores), datetime.timezone.utc
        )
        # Date and versions are those of the training and scoring: packages are reproducible.
        page_details = {
            **stages.report_details(configuration, places),
            "configuration": public.as_yaml(),
            "date": scored.date(),
            "versions": weights["infos"].get("software_versions"),
        }
        return cls(
            SourceModel.from_pretrained(weights),
            weights["infos"],
            public,
            evaluation,
            terms,
            page_details,
            configuration.publishing.repo_id,
            _recordings(places) if terms.examples else None,
        )


def pack(trained: TrainedModel, folder: str | os.PathLike) -> Path:
    """Write the package to `folder`; files in it that are not `CONTENTS` are kept.

    The same model, scores and settings give the same files, byte for byte. The folder is replaced
    only after the new weights have been checked (see `check`).
    """
    folder = Path(folder)
    present = folder.iterdir() if folder.is_dir() else ()
    others = [path for path in present if path.name not in CONTENTS]
    with replacing_folder(folder) as partial:
        _write(trained, partial)
        check(trained.model, partial)
        for path in others:
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, partial / path.name)
    return folder


def packaged_files(folder: Path) -> list[str]:
    """Return the files of a package as `a/b`, without hidden files."""
    paths = [p for name in CONTENTS for p in (folder / name, *(folder / name).rglob("[!.]*"))]
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def _write(trained: TrainedModel, folder: Path) -> None:
    evaluation, model, configuration = trained.evaluation, trained.model, trained.configuration
    summary = nan_to_none(evaluation.summaries[evaluation.name])
    added = {"training_config": configuration.as_dict(), "final_metrics": summary}
    conf = model.serialize()
    conf["infos"] = {
        **serialization.to_plain_python({**trained.infos, **added}),
        "task": "separation",
    }
    serialization.save(conf, folder)
    configuration.save(folder / "conf.yml")
    (folder / "scores.json").write_text(
        json.dumps(summary, indent=1) + "\n", encoding="utf-8", errors="backslashreplace"
    )
    (folder / "scores.md").write_text(
        evaluation.as_text(), encoding="utf-8", errors="backslashreplace"
    )
    (folder / "NOTICE.md").write_text(
        _notice(trained.terms), encoding="utf-8", errors="backslashreplace"
    )
    page.write(evaluation_page.report_of(evaluation, **trained.page_details), folder / "report")
    examples = _copy_recordings(trained, folder / "examples")
    card = model_card.make(
        model, configuration, evaluation, trained.terms, examples, trained.repo_id
    )
    card.save(folder / "README.md")


def _notice(terms: Terms) -> str:
    return f"# Licenses\n\n{terms.notice()}\n# Data\n\n{terms.data.name}. {terms.data.about}\n"


def _copy_recordings(trained: TrainedModel, folder: Path) -> dict[str, dict[str, str]]:
    """Copy the excerpts; return song -> title -> URL or path for the card."""
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
    """Check that the weights in `folder` are the model's, loaded by this package and by Asteroid.

    Weights must be bit-equal. Estimates are compared to rounding, because the order of summation
    in a convolution depends on the memory layout of its tensors.

    Raises:
        RuntimeError: if they differ, which is a bug.
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
            raise RuntimeError(f"The weights in {folder} differ from the trained model's.")


# --- what an experiment may publish -----------------------------------------------------------


def _without_local_paths(configuration: Configuration) -> Configuration:
    """Shorten paths to folder names, and remove the repository's settings."""
    settings, data, init = configuration.publishing, configuration.data, configuration.training.init
    return replace(
        configuration,
        data=replace(
            data,
            dataset=Path(data.dataset).name,
            extra=[Path(name).name for name in data.extra],
            valid_data=Path(data.valid_data).name if data.valid_data else None,
            soundfont=Path(data.soundfont).name if data.soundfont else None,
            voices=[Path(folder).name for folder in data.voices],
        ),
        training=replace(
            configuration.training, init=Path(init).name if init and Path(init).exists() else init
        ),
        publishing=Publishing(data_name=settings.data_name, license=settings.license),
    )


def musdb18_folders(configuration: Configuration) -> list[str]:
    """Return the user's folders that hold songs of MUSDB18, whose license binds the weights.

    The songs may be excerpts, and a single validation song identifies the data set.

    Raises:
        FileNotFoundError: if a folder is missing, which leaves its songs unknown, and no license
            is stated.
    """
    data = configuration.data
    folders = [name for name in (data.dataset, *data.extra) if name not in licenses.DATA]
    for root in folders:
        if not Path(root).is_dir() and configuration.publishing.license is None:
            raise FileNotFoundError(
                f"The training data {root} is missing, so the license of the weights cannot be "
                "derived. Put it back, or state the license with --license."
            )
    return [root for root in folders if Path(root).is_dir() and _has_musdb18_songs(root, data)]


def _has_musdb18_songs(root: str, data: Data) -> bool:
    tracks = musdb.tracks(root, "train", **data.tolerance)
    songs = {splits.song_of(track.name) for track in tracks}
    return not songs.isdisjoint(splits.OFFICIAL_VALIDATION)


def _recordings(places: ExperimentDir) -> Path:
    """Return the folder of excerpts in an experiment's report.

    Raises:
        FileNotFoundError: if there are none.
    """
    folder = places.report / "audio"
    if not any(folder.glob("*/*.flac")):
        raise FileNotFoundError(
            f"There are no excerpts of songs in {folder}; run stage 3 (evaluate) again, or publish "
            "without them: --examples false."
        )
    return folder


# --- on the Hub -------------------------------------------------------------------------------


def publish(configuration: Configuration, places: ExperimentDir, dry_run: bool = False) -> None:
    """Package an experiment in its `published` folder; upload it if `repo_id` is set.

    Everything is checked before anything is sent.

    Args:
        dry_run: package, and print what would be sent; no request is made to the Hub.
    Raises:
        FileNotFoundError, ValueError: see `TrainedModel.load`.
        OSError, ValueError: see `hub_upload.Destination.check` and `hub_upload.upload`.
    """
    trained = TrainedModel.load(configuration, places)
    settings = configuration.publishing
    destination = None
    if settings.repo_id and not dry_run:
        destination = hub_upload.Destination.check(
            settings.repo_id,
            hub_upload.replaces_model(trained.model),
            settings.private,
            settings.revision,
        )
    folder = pack(trained, places.published)
    files = packaged_files(folder)
    print(listing(folder, files) if settings.repo_id or dry_run else folder)
    if destination is not None:
        result = hub_upload.upload(folder, files, CONTENTS, destination)
        print(f"{result}\n\n{_usage_example(destination, type(trained.model).__name__)}")
    elif settings.repo_id:
        visibility = "private" if settings.private else "public"
        tagged = f", tagged {settings.revision}" if settings.revision else ""
        print(f"Nothing was sent. This would go to {settings.repo_id} ({visibility}{tagged}).")
    else:
        print("The package is ready; upload it with --repo_id user/name.")


def _usage_example(destination: hub_upload.Destination, architecture: str) -> str:
    """Return Python code that loads the model from the Hub."""
    name = "@".join(filter(None, (destination.repo_id, destination.tag)))
    return (
        f"from asteroid_waveunet import {architecture}\n\n"
        f'model = {architecture}.from_pretrained("{name}")\n'
        'model.file_separate("song.wav")'
    )


def listing(folder: Path, files: Sequence[str]) -> str:
    """Return the files and their sizes as text."""
    sizes = {file: (folder / file).stat().st_size for file in files}
    lines = [f"{size:>12,}  {file}" for file, size in sizes.items()]
    total = f"{sum(sizes.values()):>12,}  bytes, {len(files)} files"
    return "\n".join([f"{folder}:", *lines, total])
