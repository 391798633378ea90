"""Segments: the right samples, drawn from the index alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from songs import RATE, STEMS

from asteroid_waveunet.experiment import augmentation, preparation
from asteroid_waveunet.experiment import segments as segments_of
from asteroid_waveunet.geometry import Lengths

LENGTHS, LEFT = Lengths(input=130, output=50), 45


def ramps(folder: Path, lengths=(400, 120, 20), n_src=2, groups=("a", "b", "rest"), channels=2):
    """Prepared tracks that count their samples: track t, group g is 1e4 t + 1e3 g + position."""
    prepared = []
    for t, length in enumerate(lengths):
        samples = np.zeros((len(groups), channels, length), np.float32)
        samples += 1 + np.arange(length) + 1e3 * np.arange(len(groups))[:, None, None] + 1e4 * t
        path = folder / f"{t}.npy"
        np.save(path, samples)
        prepared.append(preparation.Prepared(str(t), path, length, groups, n_src, channels, RATE))
    return prepared


def reference_item(track: np.ndarray, start: int, n_src: int):
    """The obvious way: pad the whole track, sum it, slice it."""
    padded = np.pad(track, ((0, 0), (0, 0), (LEFT, 1000)))
    mixture = padded.sum(axis=0)[:, start : start + LENGTHS.input]
    return mixture, padded[:n_src, :, LEFT + start : LEFT + start + LENGTHS.output]


def test_validation_walks_over_every_sample_once(tmp_path):
    tracks = ramps(tmp_path)
    segments = segments_of.Segments(tracks, LENGTHS, LEFT, random=False)
    expected = [(t, start) for t in tracks for start in range(0, t.length, LENGTHS.output)]
    assert len(segments) == len(expected)
    with pytest.raises(IndexError):
        segments[len(expected)]
    for i, (track, start) in enumerate(expected):
        mixture, targets = segments[i]
        wanted = reference_item(track.load(), start, 2)
        assert mixture.shape == (2, 130) and targets.shape == (2, 2, 50)
        assert (mixture.numpy() == wanted[0]).all() and (targets.numpy() == wanted[1]).all()


def test_random_segments_are_pieces_of_the_tracks(tmp_path):
    tracks = ramps(tmp_path)
    segments = segments_of.Segments(tracks, LENGTHS, LEFT, epoch_length=200, seed=3)
    counts = [0, 0, 0]
    for i in range(200):
        mixture, targets = segments[i]
        first = int(targets[0, 0, 0])
        track, start = first // 10000, first % 10000 - 1
        wanted = reference_item(tracks[track].load(), start, 2)
        assert (mixture.numpy() == wanted[0]).all() and (targets.numpy() == wanted[1]).all()
        assert start + LENGTHS.output <= max(tracks[track].length, LENGTHS.output)
        counts[track] += 1
    # 400 : 120 : 20 samples; four standard deviations of the draw.
    for count, share in zip(counts, (400 / 540, 120 / 540, 20 / 540), strict=True):
        assert abs(count - 200 * share) < 4 * (200 * share * (1 - share)) ** 0.5


def test_an_item_depends_on_seed_and_index_alone(tmp_path):
    tracks = ramps(tmp_path)

    def make(seed: int) -> segments_of.Segments:
        return segments_of.Segments(tracks, LENGTHS, LEFT, 4, seed, augmentation.random_gains)

    one, same, other = make(1), make(1), make(2)
    for i in (7, 0, 10**6):
        assert all((a == b).all() for a, b in zip(one[i], same[i], strict=True))
    assert any((one[i][0] != other[i][0]).any() for i in range(4))
    assert any((one[i][0] != one[i + 1][0]).any() for i in range(4))


def test_the_mixture_is_the_sum_after_augmentation(tmp_path):
    def mute_all_but_the_rest(groups, rng):
        return groups * np.array([0, 0, 1], np.float32)[:, None, None]

    tracks = ramps(tmp_path, lengths=(400,))
    segments = segments_of.Segments(tracks, LENGTHS, LEFT, 10, augmentation=mute_all_but_the_rest)
    mixture, targets = segments[0]
    assert mixture.abs().max() > 2000 and not targets.any()
    assert mixture.dtype == targets.dtype == torch.float32


def test_remixed_segments_take_each_source_from_a_place_of_its_own(tmp_path):
    tracks = ramps(tmp_path)
    plain = segments_of.Segments(tracks, LENGTHS, LEFT, 50, seed=1)
    remixed = segments_of.Segments(tracks, LENGTHS, LEFT, 50, seed=1, remix=1.0)
    half = segments_of.Segments(tracks, LENGTHS, LEFT, 50, seed=1, remix=0.5)

    def apart(segments):
        """How many items have targets that do not belong together in their track."""
        differences = [
            (t[1, 0, 0] - t[0, 0, 0]).item() for _, t in map(segments.__getitem__, range(50))
        ]
        together = {
            round((track.load()[1, 0, 0] - track.load()[0, 0, 0]).item(), 3) for track in tracks
        }
        return sum(round(d, 3) not in together for d in differences)

    assert apart(plain) == 0
    assert apart(remixed) > apart(half) > 0
    mixture, targets = remixed[0]
    assert mixture.shape == (2, LENGTHS.input) and targets.shape == (2, 2, LENGTHS.output)


def test_one_channel_has_no_channel_axis_in_the_targets(tmp_path):
    segments = segments_of.Segments(ramps(tmp_path, channels=1), LENGTHS, LEFT, 4)
    mixture, targets = segments[0]
    assert mixture.shape == (1, 130) and targets.shape == (2, 50)


def test_prepared_music_reaches_a_data_loader_in_workers(data, tmp_path):
    prepared = preparation.prepare(data, tmp_path / "out", STEMS, RATE, 2, progress=False)
    segments = segments_of.Segments(prepared, LENGTHS, LEFT, epoch_length=6)
    loader = torch.utils.data.DataLoader(segments, batch_size=3, num_workers=1)
    batches = list(loader)
    assert [m.shape for m, _ in batches] == [(3, 2, 130)] * 2
    assert (batches[0][0][1] == segments[1][0]).all()
    centre = batches[0][0][..., LEFT : LEFT + LENGTHS.output]
    torch.testing.assert_close(batches[0][1].sum(dim=1), centre)


def test_what_does_not_fit_is_refused(tmp_path):
    tracks = ramps(tmp_path)
    with pytest.raises(ValueError, match="left context of 81 does not fit"):
        segments_of.Segments(tracks, LENGTHS, 81, epoch_length=1)
    with pytest.raises(ValueError, match="epoch_length >= 1, got None"):
        segments_of.Segments(tracks, LENGTHS, LEFT)
    with pytest.raises(ValueError, match="at least one prepared track"):
        segments_of.Segments([], LENGTHS, LEFT, random=False)
    mono = ramps(tmp_path, channels=1)
    with pytest.raises(ValueError, match="different preparations"):
        segments_of.Segments([tracks[0], mono[0]], LENGTHS, LEFT, epoch_length=1)
