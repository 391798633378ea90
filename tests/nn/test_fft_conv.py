"""Through spectra a convolution is what it is by definition, in any length and precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from asteroid_waveunet.nn.fft_conv import correlate


@given(k=st.integers(1, 90), more=st.integers(0, 900), channels=st.integers(1, 3))
def test_it_is_the_convolution(k, more, channels):
    """Of signals shorter than a block, and of several."""
    x = torch.randn(2, channels, k + more, dtype=torch.float64)
    weight = torch.randn(4, channels, k, dtype=torch.float64)
    torch.testing.assert_close(correlate(x, weight), F.conv1d(x, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_computed_in_single_precision_at_least(dtype):
    x, weight = torch.randn(1, 8, 3000).to(dtype), torch.randn(5, 8, 500).to(dtype)
    exact = F.conv1d(x.double(), weight.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = correlate(x, weight)
    assert found.dtype == dtype
    torch.testing.assert_close(found, exact.to(dtype), atol=1e-3, rtol=0.01)
