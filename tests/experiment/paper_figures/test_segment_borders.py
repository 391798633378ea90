"""Energies around joints, of synthetic estimates with known errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.paper_figures import segment_borders
from asteroid_waveunet.experiment.paper_figures.segment_borders import Borders, JointEnergy
from helpers.models import randomize, tiny
from helpers.scores import TWO, Song

OUTPUT = 64
JOINTS, END = segment_borders.joints(1000, OUTPUT)


def made_up(concatenated):
    """Return borders of estimates relative to a seamless pass with an error of 1 everywhere."""
    sources = torch.randn(2, 1, END)
    found = Borders("made up", 1000, OUTPUT)
    estimates = {"concatenated": sources + concatenated, "seamless": sources + 1}
    found.add(estimates, sources, JOINTS)
    return found


def at_joints(*offsets):
    """Return ones at these offsets from each joint."""
    ones = torch.zeros(END)
    for offset in offsets:
        ones[[joint + offset for joint in JOINTS if 0 <= joint + offset < END]] = 1
    return ones


def test_click_appears_only_at_its_position():
    found = made_up(1 + 2 * at_joints(0))
    assert found.n_joints == 14 and JOINTS[-1] + OUTPUT > END
    places = np.arange(-8, 9)
    levels = found.levels(found.errors, "concatenated", places)
    expected = np.where(places[:-1] == 0, 20 * np.log10(3), 0)
    np.testing.assert_allclose(levels, expected, atol=1e-4)
    np.testing.assert_allclose(found.levels(found.errors, "seamless", places), 0, atol=1e-4)


def test_step_appears_where_the_estimates_jump():
    """Ramps of 64 samples jump by 63 at every joint, instead of by 1."""
    place = torch.arange(END)
    ramp = {"concatenated": (place % OUTPUT).double(), "seamless": place.double()}
    found = Borders("ramps", 1000, OUTPUT)
    found.add({way: one[None] for way, one in ramp.items()}, torch.zeros(1, END), JOINTS)
    levels = found.levels(found.steps, "concatenated", np.array([-2, -1, 0, 1, 2]))
    np.testing.assert_allclose(levels, [0, 0, 20 * np.log10(63), 0], atol=1e-9)


def test_difference_is_relative_to_the_seamless_pass():
    found = made_up(1 + 0.5 * at_joints(-1, 0))
    energy = found.difference.binned(np.array([-2, -1, 0, 1, 2]))
    np.testing.assert_allclose(energy, [0, 0.25, 0.25, 0], atol=1e-6)
    assert found.difference.near(1) == pytest.approx(0.25, rel=1e-5)
    assert found.difference.far() == pytest.approx(0, abs=1e-12)


def test_means_cover_available_samples_only():
    around = JointEnergy(4)
    around.add(torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]), [1])
    np.testing.assert_allclose(
        around.binned(np.array([-4, -1, 0, 1, 2, 4])).tolist()[1:4], [0.5, 2, 5]
    )
    assert np.isnan(around.between(-4, -1)) and np.isnan(around.far())


def test_edges_span_one_segment():
    for half in (1, 2, 7, 8192, 8194):
        found = segment_borders.edges(half)
        assert (np.diff(found) > 0).all() and found[-1] == half == -found[0] and 0 in found


def test_same_padding_differs_at_joints_and_context_differs_evenly():
    """Segments of a multiple of the step differ at their ends only; others differ everywhere."""
    song, model = Song("song"), randomize(tiny(sources=TWO, in_channels=2, sample_rate=1000))
    length = model.geometry.fit(200).output
    assert length % model.geometry.step != 0
    found = segment_borders.measure(model, [song], "context", 200)
    assert found.n_joints == len(segment_borders.joints(4300, length)[0])
    same = randomize(tiny(sources=TWO, in_channels=2, sample_rate=1000, context=False))
    with_borders = segment_borders.measure(same, [song], "same", 200)
    # A multiple of the step: equal except at the borders.
    assert with_borders.difference.far() < 1e-9 < 1e-3 < with_borders.difference.near(4)
    even = found.difference.near(4) / found.difference.far()
    assert 0.3 < even < 3  # with context, differences are not larger at joints


def test_tracks_without_a_joint_and_short_segments_are_rejected():
    for context in (True, False):
        model = tiny(sources=TWO, in_channels=2, sample_rate=1000, context=context)
        with pytest.raises(ValueError, match="no joint"):
            segment_borders.measure(model, [Song("short", seconds=0.5)], "short", 600)
        with pytest.raises(ValueError, match="--output_length 64"):
            segment_borders.measure(model, [Song("song")], "short", 40)


def test_silence_has_no_levels():
    found, silence = Borders("silent", 1000, OUTPUT), torch.zeros(2, 1, END)
    found.add(dict.fromkeys(segment_borders.METHODS, silence), silence, JOINTS)
    text = segment_borders.table([found])
    assert "| silent, segments of 64 | 14 | – | – | – | – | – | – | – |" in text
    segment_borders.draw([found])


def test_table_has_a_row_for_each_method():
    text = segment_borders.table([made_up(1 + 2 * at_joints(0))])
    # 31 samples of energy 1 and one of 9; at the joint, 9 relative to 1.
    assert "| made up, segments of 64 | 14 | +1.0 | +1.0 | +0.0 |" in text
    assert "| made up, seamless | 14 | +0.0 | +0.0 | +0.0 |" in text
