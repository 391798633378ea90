"""Small models in every configuration, and assertions about models."""

from __future__ import annotations

import functools

import torch
from hypothesis import strategies as st

from asteroid_waveunet import MRCAE, SpectrogramUNet, TasNet, WaveUNet
from asteroid_waveunet.streaming.base import BlockStream
from asteroid_waveunet.streaming.exported_step import ExportedStep

# All kinds of arguments of WaveUNet, in sizes that run in milliseconds.
configurations = st.fixed_dictionaries(
    dict(
        sources=st.sampled_from([("a",), ("a", "b"), ("a", "b", "c", "d", "e")]),
        in_channels=st.integers(1, 3),
        levels=st.integers(1, 3),
        initial_filters=st.integers(1, 4),
        filter_growth=st.integers(0, 3),
        down_kernel_size=st.integers(1, 6),
        up_kernel_size=st.integers(1, 6),
        output_kernel_size=st.integers(1, 4),
        upsampling=st.sampled_from(["linear", "learned", "transposed"]),
        output=st.sampled_from(["direct", "difference"]),
        output_activation=st.sampled_from(["tanh", "linear"]),
        context=st.booleans(),
    )
)

# The other models, in sizes that run in milliseconds.
SYSTEMS = {
    "spectrogram": functools.partial(
        SpectrogramUNet, window=16, hop=12, levels=2, initial_filters=3
    ),
    "tasnet": functools.partial(
        TasNet,
        n_filters=8,
        kernel_size=6,
        n_blocks=2,
        n_repeats=2,
        bn_chan=5,
        hid_chan=7,
        skip_chan=4,
        norm_type="cLN",
    ),
    "mrcae": functools.partial(MRCAE, filters=3, kernel_sizes=(1, 4, 9), in_channels=1),
}


def tiny(**arguments) -> WaveUNet:
    """Build a model that runs in a millisecond, with the tiny sizes of the golden files."""
    sizes = dict(levels=2, initial_filters=4, down_kernel_size=5, up_kernel_size=3)
    return WaveUNet(**{**sizes, **arguments}).eval()


def randomize(model: WaveUNet, seed: int = 0) -> WaveUNet:
    """Set all weights and biases at random; the biases of an untrained model are zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 10
        torch.nn.init.normal_(parameter, 0, fan**-0.5, generator=generator)
    return model


def assert_same_model(one: torch.nn.Module, other: torch.nn.Module, mixture: torch.Tensor) -> None:
    """Assert bit-equal weights, and equal estimates to rounding.

    The order of summation in a convolution depends on the memory layout of its tensors.
    """
    state, other_state = one.state_dict(), other.state_dict()
    assert state.keys() == other_state.keys()
    assert all(torch.equal(state[name], other_state[name]) for name in state)
    torch.testing.assert_close(one(mixture), other(mixture), atol=1e-5, rtol=0)


def in_blocks(track: torch.Tensor, cuts: list[int]) -> list[torch.Tensor]:
    """Split a track at these positions."""
    ends = sorted(min(cut, track.shape[-1]) for cut in cuts)
    return list(track.tensor_split(ends, dim=-1))


def streamed(stream: BlockStream, blocks: list[torch.Tensor]) -> torch.Tensor:
    """Return all estimates of a stream for the given blocks."""
    return torch.cat([*map(stream.feed, blocks), stream.flush()], dim=-1)


def write_placeholder(model, path, format, hop=None, any_length=False) -> ExportedStep:
    """Stand in for `export_step` where the exported file is not run: it takes two seconds."""
    path.write_bytes(b"network")
    shapes = ((1, model.in_channels, 1),)
    rate = int(model.sample_rate)
    return ExportedStep(model.sources, model.in_channels, rate, 1, hop, 5, shapes)
