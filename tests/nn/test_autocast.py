"""Tests of `nn.autocast`."""

from __future__ import annotations

import contextlib

import torch

from asteroid_waveunet.nn.autocast import HALF_DTYPES, autocast_disabled


def test_autocast_disabled_applies_to_the_given_dtypes_only():
    x = torch.ones(2, 2)
    for dtypes in (HALF_DTYPES, (torch.float16,)):
        for outer in (None, *HALF_DTYPES):
            with torch.autocast("cpu", outer) if outer else contextlib.nullcontext():
                with autocast_disabled(x.device, dtypes):
                    expected = torch.float32 if outer in dtypes else outer or torch.float32
                    assert (x @ x).dtype == expected, (dtypes, outer)
                assert (x @ x).dtype == (outer or torch.float32), (dtypes, outer)


def test_autocast_disabled_accepts_devices_without_autocast():
    with autocast_disabled(torch.device("meta")):
        pass
