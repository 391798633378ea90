"""Tests of `nn.fft_conv`: equal to direct convolution at any length and precision."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from asteroid_waveunet.nn.fft_conv import correlate


@given(k=st.integers(1, 90), more=st.integers(0, 900), channels=st.integers(1, 3))
@settings(deadline=None, max_examples=50)
def test_correlate_equals_conv1d(k, more, channels):
    """For signals shorter than a block, and for several blocks."""
    x = torch.randn(2, channels, k + more, dtype=torch.float64)
    weight = torch.randn(4, channels, k, dtype=torch.float64)
    torch.testing.assert_close(correlate(x, weight), F.conv1d(x, weight))


def test_correlate_computes_in_single_precision_at_least():
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = torch.randn(1, 8, 3000).to(dtype), torch.randn(5, 8, 500).to(dtype)
        exact = F.conv1d(x.double(), weight.double())
        with torch.autocast("cpu", torch.bfloat16):
            output = correlate(x, weight)
        assert output.dtype == dtype
        torch.testing.assert_close(output, exact.to(dtype), atol=1e-3, rtol=0.01)
