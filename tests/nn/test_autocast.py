"""Mixed precision ends where it is told to, and is otherwise what it was."""

from __future__ import annotations

import contextlib

import pytest
import torch

from asteroid_waveunet.nn.autocast import HALVES, own_precision


@pytest.mark.parametrize("around", [None, *HALVES])
@pytest.mark.parametrize("instead_of", [HALVES, (torch.float16,)])
def test_it_ends_if_it_is_of_these_kinds(around, instead_of):
    x = torch.ones(2, 2)
    mixed = torch.autocast("cpu", around) if around else contextlib.nullcontext()
    with mixed:
        usual = (x @ x).dtype
        with own_precision(x.device, instead_of):
            assert (x @ x).dtype == (torch.float32 if around in instead_of else usual)
        assert (x @ x).dtype == usual == (around or torch.float32)


def test_where_there_is_none_nothing_happens():
    with own_precision(torch.device("meta")):
        pass
