"""SDR during training equals that of whole tracks for any segmentation."""

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.evaluation.metrics.windows import window_sdr
from asteroid_waveunet.experiment.segments.batch_sampler import collate
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training.callbacks.validation_sdr import ValidationSDR
from asteroid_waveunet.experiment.training.fit import fit
from helpers.models import randomize, tiny
from helpers.songs import write_prepared

RATE = 100


def prepared(folder, lengths, channels) -> list[Prepared]:
    tracks = []
    for t, length in enumerate(lengths):
        samples = np.random.default_rng(t).normal(0, 0.2, (3, channels, length))
        samples[0, :, RATE : 2 * RATE] = 0  # a silent window, where there is one
        tracks.append(write_prepared(folder, str(t), samples, ("a", "b", "rest"), rate=RATE))
    return tracks


@pytest.mark.parametrize(
    ("channels", "batch_size", "min_output"), [(1, 1, 30), (2, 3, 30), (2, 1, 350)]
)
def test_sdr_equals_that_of_whole_tracks(tmp_path, channels, batch_size, min_output):
    model = randomize(tiny(sources=("a", "b"), in_channels=channels, sample_rate=RATE))
    tracks = prepared(tmp_path, (455, 80, 300, 1), channels)
    segments = Segments(
        tracks, model.geometry.fit(min_output), model.geometry.left_context, random=False
    )
    validation = ValidationSDR(segments)
    for _ in range(2):  # reset works
        validation.reset()
        for mixture, targets in torch.utils.data.DataLoader(
            segments, batch_size, collate_fn=collate
        ):
            with torch.no_grad():
                validation.update(targets, model.forward_context(mixture))
        expected = np.concatenate(
            [whole_track(model, track, min_output) for track in tracks], axis=1
        )
        assert expected.shape[1] == 4 + 1 + 3 + 1
        np.testing.assert_allclose(validation.medians(), np.nanmedian(expected, axis=1), atol=1e-4)


def whole_track(model, track, min_output) -> np.ndarray:
    """Compute SDR directly: join the estimates of a track's segments."""
    groups = torch.from_numpy(np.array(track.load()))
    lengths, left = model.geometry.fit(min_output), model.geometry.left_context
    padded = torch.nn.functional.pad(groups.sum(0), (left, lengths.input))
    with torch.no_grad():
        parts = [
            model.forward_context(padded[None, :, start : start + lengths.input])[0]
            for start in range(0, track.length, lengths.output)
        ]
    estimates = torch.cat(parts, dim=-1)[..., : track.length]
    shape = (2, track.channels, track.length)
    return window_sdr(groups[:2], estimates.reshape(shape), RATE)


def test_without_scores_medians_are_nan(tmp_path):
    (track,) = prepared(tmp_path, (RATE,), 1)
    np.save(track.path, np.zeros((3, 1, RATE), np.float32))
    model = tiny(sources=("a", "b"))
    lengths, left = model.geometry.fit(RATE), model.geometry.left_context
    validation = ValidationSDR(Segments([track], lengths, left, random=False))
    validation.update(torch.zeros(1, 2, lengths.output), torch.zeros(1, 2, lengths.output))
    assert np.isnan(validation.medians()).all()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_training_logs_sdr_of_every_source(tmp_path):
    model = tiny(sources=("a", "b"), in_channels=1, sample_rate=RATE)
    tracks, lengths = prepared(tmp_path, (300,), 1), model.geometry.fit(50)
    train_set = Segments(tracks, lengths, model.geometry.left_context, epoch_length=2)
    valid_set = Segments(tracks, lengths, model.geometry.left_context, random=False)
    settings = Training(batch_size=2, max_epochs=2, num_workers=0)
    best = fit(model, train_set, valid_set, tmp_path, settings)
    header, *rows = (tmp_path / "logs" / "csv" / "metrics.csv").read_text().splitlines()
    logged = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    found = np.array([[row["val_sdr/a"], row["val_sdr/b"]] for row in logged if row["val_sdr/a"]])
    assert found.shape == (2, 2)
    expected = np.nanmedian(whole_track(best, tracks[0], 50), axis=1)
    assert (abs(found.astype(float) - expected) < 1e-3).all(axis=1).any(), "of the best epoch"
