"""Audio and images of one validation excerpt, read back from the event files."""

from __future__ import annotations

import dataclasses
import io
import random

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.prepare import prepare
from asteroid_waveunet.experiment.report import spectrogram_images
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training import loggers
from asteroid_waveunet.experiment.training.callbacks import audio_logging
from asteroid_waveunet.experiment.training.fit import fit
from asteroid_waveunet.weights import safe_load
from helpers.models import randomize, tiny
from helpers.songs import STEMS

pytestmark = pytest.mark.filterwarnings("ignore")

RATE = 4000
SETTINGS = Training(batch_size=2, max_epochs=3, lr=3e-3, num_workers=0, listen_every=2)


def write_song(folder, when, seconds=3.0):
    """Write a tone per stem, from one second to another."""
    time = torch.arange(int(seconds * RATE)) / RATE
    for number, (stem, (begin, end)) in enumerate(zip(STEMS, when, strict=True)):
        tone = 0.2 * torch.sin(400 * (number + 1) * time) * ((begin <= time) & (time < end))
        audio_io.write(folder / f"{stem}.wav", torch.stack([tone, 0.5 * tone]), RATE)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return tiny(sources=STEMS, in_channels=2, sample_rate=RATE)


@pytest.fixture
def valid_set(tmp_path, model):
    """A song without vocals, and one with all stems from 1.5 s to 2 s only."""
    songs = tmp_path / "songs" / "train"
    write_song(songs / "A", [(0, 3), (0, 3), (0, 3), (0, 0)])
    write_song(songs / "B", [(0, 2), (0.5, 2), (1, 3), (1.5, 3)])
    return segments_of(tmp_path, model)


def segments_of(tmp_path, model, **arguments):
    tracks = prepare(
        tmp_path / "songs", tmp_path / "prepared", STEMS, RATE, model.in_channels, progress=False
    )
    lengths = model.geometry.fit(1000)
    arguments = arguments or {"random": False}
    return Segments(tracks, lengths, model.geometry.left_context, **arguments)


def test_excerpt_has_all_sources(model, valid_set):
    passage = audio_logging.choose_excerpt(valid_set, model, seconds=0.5)
    piece = passage.excerpt
    assert (piece.track, piece.start, piece.seconds) == ("B", 1.5, 0.5)
    assert list(piece.references) == list(STEMS)
    assert all(np.abs(x).max() > 0.1 for x in piece.references.values())
    np.testing.assert_allclose(piece.mixture, sum(piece.references.values()), atol=1e-4)
    again = audio_logging.choose_excerpt(valid_set, model, seconds=0.5)
    assert torch.equal(again.mixture, passage.mixture) and again.excerpt.start == piece.start


def test_excerpt_is_from_first_track_if_none_has_all_sources(tmp_path, model):
    for name in "CD":
        write_song(tmp_path / "songs" / "train" / name, [(0, 3), (0, 3), (0, 3), (0, 0)])
    passage = audio_logging.choose_excerpt(segments_of(tmp_path, model), model, seconds=60)
    assert (passage.excerpt.track, passage.excerpt.seconds) == ("C", 3.0)


def test_estimates_equal_those_of_the_whole_track(model, valid_set):
    """The context around the excerpt is the track's, not silence."""
    randomize(model)
    passage = audio_logging.choose_excerpt(valid_set, model, seconds=0.5)
    whole = audio_logging.choose_excerpt(valid_set, model, seconds=60)
    piece = passage.separate(model)
    reference = whole.separate(model)
    start = round(piece.start * RATE)
    for source in STEMS:
        found, expected = piece.estimates[source], reference.estimates[source]
        assert found.shape == piece.references[source].shape
        np.testing.assert_allclose(found, expected[:, start : start + found.shape[1]], atol=1e-5)


def test_separating_leaves_model_and_random_state_unchanged(model, valid_set):
    model.train()
    weights = {name: x.clone() for name, x in model.state_dict().items()}
    before = torch.get_rng_state(), random.getstate()
    piece = audio_logging.choose_excerpt(valid_set, model, seconds=0.5).separate(model)
    spectrogram_images.comparison(piece)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(weights[name], x) for name, x in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_diverged_model_gives_silence(model, valid_set):
    torch.nn.init.constant_(next(model.parameters()), float("nan"))
    piece = audio_logging.choose_excerpt(valid_set, model, seconds=0.5).separate(model)
    assert all((x == 0).all() for x in piece.estimates.values())
    assert spectrogram_images.comparison(piece).dtype == np.uint8


def train(tmp_path, model, valid_set, exp_dir="exp", **changed):
    torch.manual_seed(3)
    fresh = type(model)(**model.get_model_args())
    train_set = segments_of(tmp_path, model, epoch_length=4)
    settings = dataclasses.replace(SETTINGS, **changed)
    fit(fresh, train_set, valid_set, tmp_path / exp_dir, settings)
    return tmp_path / exp_dir


def events(exp_dir):
    found = EventAccumulator(
        str(exp_dir / "logs" / "tensorboard"), size_guidance={"audio": 0, "images": 0}
    )
    return found.Reload()


def test_events_hold_mixture_references_and_estimates(tmp_path, model, valid_set):
    exp_dir = train(tmp_path, model, valid_set)
    found = events(exp_dir)
    tags = found.Tags()
    sounds = {f"passage/{s}/{kind}" for s in STEMS for kind in ("truth", "estimate")}
    assert set(tags["audio"]) == {"passage/mixture", *sounds}
    assert tags["images"] == ["passage/picture"]
    assert {"val_loss", "loss", "lr-Adam", "val_sdr/bass"} <= set(tags["scalars"])

    steps = {tag: [event.step for event in found.Audio(tag)] for tag in tags["audio"]}
    assert steps["passage/mixture"] == steps["passage/bass/truth"] == [1]
    assert steps["passage/bass/estimate"] == [1, 5], "the last of the first epoch and of the third"
    assert [event.step for event in found.Images("passage/picture")] == [1, 5]

    piece = audio_logging.choose_excerpt(valid_set, model).excerpt
    (event,) = found.Audio("passage/mixture")
    assert (event.sample_rate, event.content_type) == (RATE, "audio/wav")
    samples, rate = soundfile.read(io.BytesIO(event.encoded_audio_string), always_2d=True)
    assert rate == RATE and event.length_frames == len(samples)
    np.testing.assert_allclose(samples.T, piece.mixture, atol=2**-14)
    lengths = {event.length_frames for tag in tags["audio"] for event in found.Audio(tag)}
    assert lengths == {len(samples)}, "the same excerpt each time"
    picture = Image.open(io.BytesIO(found.Images("passage/picture")[0].encoded_image_string))
    assert picture.size == (1200, 100 * 7)


def test_resumed_training_logs_the_same_excerpt(tmp_path, model, valid_set):
    train(tmp_path, model, valid_set, max_epochs=1)
    (tmp_path / "exp" / "best_model.pth").unlink()
    found = events(train(tmp_path, model, valid_set))
    assert [event.step for event in found.Audio("passage/mixture")] == [1]
    assert [event.step for event in found.Audio("passage/vocals/estimate")] == [1, 5]


def test_audio_logging_does_not_change_training(tmp_path, model, valid_set):
    states = []
    for every in (0, 1):
        exp_dir = train(tmp_path, model, valid_set, f"exp{every}", listen_every=every)
        state = safe_load.read_torch_file(exp_dir / "checkpoints" / "last.ckpt")
        states.append((state["state_dict"], state["optimizer_states"][0]["state"]))
        assert bool(events(exp_dir).Tags()["audio"]) == bool(every)
    (weights, moments), (others, other_moments) = states
    assert all(torch.equal(x, others[name]) for name, x in weights.items())
    for n, moment in moments.items():
        assert all(torch.equal(x, other_moments[n][name]) for name, x in moment.items())


def test_csv_logger_gets_no_media(tmp_path, model, valid_set, monkeypatch):
    monkeypatch.setattr(audio_logging, "choose_excerpt", None)
    exp_dir = train(tmp_path, model, valid_set, logger=["csv"])
    assert [path.name for path in (exp_dir / "logs").iterdir()] == ["csv"]


def test_wandb_gets_audio_and_image(tmp_path, model, valid_set, monkeypatch):
    """Its functions take channels last and lists of one."""
    from pytorch_lightning.loggers import WandbLogger

    calls = []
    for name in ("log_audio", "log_image"):
        monkeypatch.setattr(
            WandbLogger,
            name,
            lambda self, *given, name=name, **more: calls.append((name, given, more)),
        )
    (writer,) = loggers.media_writers([WandbLogger.__new__(WandbLogger)])
    piece = audio_logging.choose_excerpt(valid_set, model, seconds=0.5).excerpt
    writer.add_audio("passage/mixture", piece.mixture, RATE, 7)
    writer.add_image("passage/picture", spectrogram_images.comparison(piece), 7)
    (_, (tag, sounds, step), more), (_, (other_tag, pictures, _), _) = calls
    assert (tag, other_tag, step, more) == (
        "passage/mixture",
        "passage/picture",
        7,
        {"sample_rate": [RATE]},
    )
    assert sounds[0].shape == (2000, model.in_channels) and pictures[0].ndim == 3
