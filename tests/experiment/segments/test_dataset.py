"""Segments: the right samples, determined by seed and index alone."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.data.prepare import prepare
from asteroid_waveunet.experiment.segments import batch_sampler
from asteroid_waveunet.experiment.segments import dataset as segments_of
from asteroid_waveunet.nn.geometry import Lengths
from helpers.songs import RATE, STEMS, write_prepared

LENGTHS, LEFT = Lengths(input=130, output=50), 45


def ramps(folder: Path, lengths=(400, 120, 20), groups=("a", "b", "rest"), channels=2):
    """Prepared tracks with samples 1e4 * track + 1e3 * group + position + 1."""
    return [
        write_prepared(
            folder,
            str(t),
            np.zeros((len(groups), channels, length), np.int64)
            + (1 + np.arange(length) + 1000 * np.arange(len(groups))[:, None, None] + 10000 * t),
            groups,
        )
        for t, length in enumerate(lengths)
    ]


def reference_item(track: np.ndarray, start: int, n_src: int):
    """Reference: pad the whole track, sum it, slice it."""
    padded = np.pad(track, ((0, 0), (0, 0), (LEFT, 1000)))
    mixture = padded.sum(axis=0)[:, start : start + LENGTHS.input]
    return mixture, padded[:n_src, :, LEFT + start : LEFT + start + LENGTHS.output]


def test_validation_covers_every_sample_once(tmp_path):
    tracks = ramps(tmp_path)
    segments = segments_of.Segments(tracks, LENGTHS, LEFT, random=False)
    expected = [(t, start) for t in tracks for start in range(0, t.length, LENGTHS.output)]
    assert len(segments) == len(expected)
    with pytest.raises(IndexError):
        segments[len(expected)]
    for i, (track, start) in enumerate(expected):
        mixture, targets = segments[i]
        expected = reference_item(track.load(), start, 2)
        assert mixture.shape == (2, 130) and targets.shape == (2, 2, 50)
        assert (mixture.numpy() == expected[0]).all() and (targets.numpy() == expected[1]).all()


def test_random_segments_are_uniform_over_the_tracks(tmp_path):
    tracks = ramps(tmp_path)
    segments = segments_of.Segments(tracks, LENGTHS, LEFT, epoch_length=200, seed=3)
    counts = [0, 0, 0]
    for i in range(200):
        mixture, targets = segments[i]
        first = int(targets[0, 0, 0])
        track, start = first // 10000, first % 10000 - 1
        expected = reference_item(tracks[track].load(), start, 2)
        assert (mixture.numpy() == expected[0]).all() and (targets.numpy() == expected[1]).all()
        assert start + LENGTHS.output <= max(tracks[track].length, LENGTHS.output)
        counts[track] += 1
    # 400 : 120 : 20 samples; four standard deviations of the draw.
    for count, share in zip(counts, (400 / 540, 120 / 540, 20 / 540), strict=True):
        assert abs(count - 200 * share) < 4 * (200 * share * (1 - share)) ** 0.5


def test_items_depend_on_seed_and_index_alone(tmp_path):
    tracks = ramps(tmp_path)

    def make(seed: int) -> segments_of.Segments:
        return segments_of.Segments(tracks, LENGTHS, LEFT, 4, seed, ["random_gains"])

    one, same, other = make(1), make(1), make(2)
    for i in (7, 0, 10**6):
        assert all((a == b).all() for a, b in zip(one[i], same[i], strict=True))
    assert any((one[i][0] != other[i][0]).any() for i in range(4))
    assert any((one[i][0] != one[i + 1][0]).any() for i in range(4))


def test_mixture_is_the_sum_of_augmented_groups(tmp_path):
    everything = ["wide_gains", "flip_signs", "swap_channels", "pitch_tempo", "speed"]
    tracks = ramps(tmp_path, groups=("a", "b"))  # no rest: the targets are all of the mixture
    segments = segments_of.Segments(tracks, LENGTHS, LEFT, 10, 0, everything, remix=0.5)
    for i in range(40):
        mixture, targets = segments[i]
        centre = mixture[:, LEFT : LEFT + LENGTHS.output]
        torch.testing.assert_close(targets.sum(0), centre, rtol=1e-5, atol=1e-2)
        assert mixture.dtype == targets.dtype == torch.float32


@pytest.mark.parametrize("n_groups", [1, 3, 4, 9])
def test_any_number_of_groups_is_mixed(tmp_path, n_groups):
    groups = tuple("abcdefghi"[:n_groups])
    samples = np.random.default_rng(0).integers(-3000, 3000, (n_groups, 2, 300))
    track = write_prepared(tmp_path, "t", samples, groups, n_src=n_groups)
    segments = segments_of.Segments([track], LENGTHS, LEFT, random=False)
    for i in range(len(segments)):
        expected = reference_item(track.load(), i * LENGTHS.output, n_groups)
        assert all((got.numpy() == w).all() for got, w in zip(segments[i], expected, strict=True))


def test_batches_are_equal_with_threads_workers_and_single_items(tmp_path):
    tracks = ramps(tmp_path)
    arguments = LENGTHS, LEFT, 20, 5, ["random_gains", "pitch_tempo", "speed"], True, 0.3
    segments = segments_of.Segments(tracks, *arguments)
    items = [segments[i] for i in range(20)]
    threaded = segments_of.Segments(tracks, *arguments, threads=2)
    for dataset, workers in ((segments, 0), (segments, 2), (threaded, 0)):
        loader = torch.utils.data.DataLoader(
            dataset, 8, num_workers=workers, collate_fn=batch_sampler.collate
        )
        batches = [torch.cat(parts) for parts in zip(*loader, strict=True)]
        for got, expected in zip(batches, zip(*items, strict=True), strict=True):
            assert (got == torch.stack(expected)).all()


def test_remix_takes_groups_from_different_positions(tmp_path):
    tracks = ramps(tmp_path)
    plain = segments_of.Segments(tracks, LENGTHS, LEFT, 50, seed=1)
    remixed = segments_of.Segments(tracks, LENGTHS, LEFT, 50, seed=1, remix=1.0)
    half = segments_of.Segments(tracks, LENGTHS, LEFT, 50, seed=1, remix=0.5)

    def n_remixed(segments):
        """Count items whose targets are not simultaneous in one track."""
        differences = [
            (t[1, 0, 0] - t[0, 0, 0]).item() for _, t in map(segments.__getitem__, range(50))
        ]
        return sum(d != 1000 for d in differences)

    assert n_remixed(plain) == 0
    assert n_remixed(remixed) > n_remixed(half) > 0
    mixture, targets = remixed[0]
    assert mixture.shape == (2, LENGTHS.input) and targets.shape == (2, 2, LENGTHS.output)


def test_mono_targets_have_no_channel_axis(tmp_path):
    segments = segments_of.Segments(ramps(tmp_path, channels=1), LENGTHS, LEFT, 4)
    mixture, targets = segments[0]
    assert mixture.shape == (1, 130) and targets.shape == (2, 50)


def test_prepared_tracks_load_in_workers(data, tmp_path):
    prepared = prepare(data, tmp_path / "out", STEMS, RATE, 2, progress=False)
    segments = segments_of.Segments(prepared, LENGTHS, LEFT, epoch_length=6)
    loader = torch.utils.data.DataLoader(
        segments, batch_size=3, num_workers=1, collate_fn=batch_sampler.collate
    )
    batches = list(loader)
    assert [m.shape for m, _ in batches] == [(3, 2, 130)] * 2
    assert (batches[0][0][1] == segments[1][0]).all()
    centre = batches[0][0][..., LEFT : LEFT + LENGTHS.output]
    torch.testing.assert_close(batches[0][1].sum(dim=1), centre)


def test_pickled_segments_contain_no_samples(tmp_path):
    segments = segments_of.Segments(ramps(tmp_path, lengths=(30000,)), LENGTHS, LEFT, 4)
    before = segments[2]
    pickled = pickle.dumps(segments)
    assert len(pickled) < 10_000
    assert all((a == b).all() for a, b in zip(pickle.loads(pickled)[2], before, strict=True))


def test_invalid_arguments_are_refused(tmp_path):
    tracks = ramps(tmp_path)
    with pytest.raises(ValueError, match="left context of 81 does not fit"):
        segments_of.Segments(tracks, LENGTHS, 81, epoch_length=1)
    with pytest.raises(ValueError, match="epoch_length >= 1, got None"):
        segments_of.Segments(tracks, LENGTHS, LEFT)
    with pytest.raises(ValueError, match="threads is 0; expected at least 1"):
        segments_of.Segments(tracks, LENGTHS, LEFT, 1, threads=0)
    with pytest.raises(ValueError, match="at least one prepared track"):
        segments_of.Segments([], LENGTHS, LEFT, random=False)
    with pytest.raises(ValueError, match="unknown augmentation 'echo'; the known ones are"):
        segments_of.Segments(tracks, LENGTHS, LEFT, 1, augmentation=["echo"])
    mono = ramps(tmp_path, channels=1)
    with pytest.raises(ValueError, match="different preparations"):
        segments_of.Segments([tracks[0], mono[0]], LENGTHS, LEFT, epoch_length=1)
