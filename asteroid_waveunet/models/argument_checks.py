"""What a model's arguments may be, whoever gives them: its caller, or a file from elsewhere.

All of it is arithmetic: nothing is built, so that absurd sizes cost nothing.
"""

from __future__ import annotations

import itertools
import numbers
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asteroid_waveunet.nn.wave_unet_blocks import ACTIVATIONS, UPSAMPLING

__all__ = [
    "MAX_WEIGHTS",
    "check",
    "check_count",
    "check_ranges",
    "check_replaced",
    "check_size",
    "n_weights",
]

MAX_WEIGHTS = 2**29
"""Of one model: 2 GB in float32, fifty times the paper's M4."""

MAX_SAMPLE_RATE = 1_000_000
MAX_NAME_LENGTH = 100
"""Of a source, which is part of a file's name."""

FORBIDDEN_IN_FILE_NAMES = set('/\\:*?"<>|')

CHOICES = {
    "upsampling": tuple(UPSAMPLING),
    "output": ("direct", "difference"),
    "output_activation": tuple(ACTIVATIONS),
    "context": (True, False),
}

# Whole numbers: the least and the most. Each level doubles the step: at 24 one step is six minutes
# of music at 44.1 kHz. The other sizes end where their weights are more than MAX_WEIGHTS.
COUNTS = {
    "in_channels": (1, MAX_WEIGHTS),
    "levels": (1, 24),
    "initial_filters": (1, MAX_WEIGHTS),
    "filter_growth": (0, MAX_WEIGHTS),
    "down_kernel_size": (1, MAX_WEIGHTS),
    "up_kernel_size": (1, MAX_WEIGHTS),
    "output_kernel_size": (1, MAX_WEIGHTS),
}

UPSAMPLING_WEIGHTS: dict[str, Callable[[int], int]] = {
    "linear": lambda channels: 0,
    "learned": lambda channels: channels,
    "transposed": lambda channels: 3 * channels**2,
}


def check(arguments: Mapping[str, Any]) -> None:
    """The door of `WaveUNet`: all of its arguments, before anything is built.

    Raises:
        ValueError: if one is out of its range, or all together make an absurdly large model.
    """
    check_ranges(arguments, COUNTS, CHOICES)
    check_size(
        n_weights(arguments),
        "levels, initial_filters, filter_growth or the kernel sizes; the paper's models have 1e7",
    )
    if arguments["output"] == "difference" and len(arguments["sources"]) == 1:
        warnings.warn(
            f"The one source {arguments['sources'][0]!r} of a difference model is the mixture "
            "itself; output='direct' predicts it.",
            stacklevel=3,
        )


def check_ranges(
    arguments: Mapping[str, Any],
    counts: Mapping[str, tuple[int, int]],
    choices: Mapping[str, tuple],
) -> None:
    """Each argument for itself: the sources, the sample rate, whole numbers, and names.

    Args:
        counts: of the whole numbers, the least and the most.
        choices: of the names, those that there are.
    Raises:
        ValueError: if one is out of its range.
    """
    _check_sources(arguments["sources"])
    for name, (least, most) in counts.items():
        check_count(name, arguments[name], least, most)
    rate = arguments["sample_rate"]
    whole = _is_whole(rate) or (isinstance(rate, float) and rate.is_integer())
    if not whole or not 1 <= rate <= MAX_SAMPLE_RATE:
        raise ValueError(
            f"sample_rate is {_shown(rate)}; expected a whole number of Hz, 1 to {MAX_SAMPLE_RATE}."
        )
    for name, known in choices.items():
        if arguments[name] not in known:
            listed = " or ".join(repr(choice) for choice in known)
            raise ValueError(f"{name} is {_shown(arguments[name])}; expected {listed}.")


def check_count(name: str, value: Any, least: int, most: int) -> None:
    """Whether an argument is a whole number within its range.

    Raises:
        ValueError: if it is not.
    """
    if not _is_whole(value) or not least <= value <= most:
        raise ValueError(f"{name} is {_shown(value)}; expected a whole number, {least} to {most}.")


def check_size(n_weights: int, lower: str) -> None:
    """Whether a model of so many weights is one that a machine can have.

    Args:
        lower: which arguments make it smaller.
    Raises:
        ValueError: if it is absurdly large.
    """
    if n_weights > MAX_WEIGHTS:
        raise ValueError(
            f"These arguments make a model of {n_weights:.1e} weights ({4 * n_weights / 1e9:.1e} "
            f"GB); at most {MAX_WEIGHTS:.1e} are possible. Lower {lower}."
        )


def n_weights(arguments: Mapping[str, Any]) -> int:
    """How many weights a `WaveUNet` of these arguments has, all of them checked for themselves.

    >>> from asteroid_waveunet import presets
    >>> model = presets.make("M4")
    >>> n_weights(model.get_model_args()) == sum(p.numel() for p in model.parameters())
    True
    """
    sizes = {name: int(arguments[name]) for name in COUNTS}  # NumPy's would overflow
    channels, first = sizes["in_channels"], sizes["initial_filters"]
    filters = [first + sizes["filter_growth"] * level for level in range(sizes["levels"] + 1)]
    down = [(channels, filters[0]), *itertools.pairwise(filters)]
    up = [(here + below, here) for here, below in itertools.pairwise(filters)]
    predicted = len(arguments["sources"]) - (arguments["output"] == "difference")
    head = [(channels + first, predicted * channels)]
    convolutions = (
        (sizes["down_kernel_size"], down),
        (sizes["up_kernel_size"], up),
        (sizes["output_kernel_size"], head),
    )
    of_upsampling = UPSAMPLING_WEIGHTS[arguments["upsampling"]]
    return sum(map(of_upsampling, filters[1:])) + sum(
        (n_in * kernel + 1) * n_out for kernel, widths in convolutions for n_in, n_out in widths
    )


def check_replaced(
    stored: Mapping[str, Any], given: Mapping[str, Any], replaceable: Sequence[str]
) -> None:
    """Whether arguments can take the place of those that weights were trained with.

    Names of sources (as many) always can, and what leaves the weights as they are. The others
    decide on the shapes of weights.

    Args:
        stored: all arguments of the trained model.
        given: those to be replaced.
        replaceable: names of those that can be, beside the sources.
    Raises:
        ValueError: if one of them cannot be; says which.

    >>> check_replaced({"levels": 12, "sample_rate": 22050}, {"levels": 6}, ["sample_rate"])
    Traceback (most recent call last):
      ...
    ValueError: levels=6 is not possible: these weights are of levels=12, which decides on their \
shapes. sources (as many), sample_rate can be replaced.
    """
    for name, value in given.items():
        if name == "sources" and isinstance(value, Sequence):
            differs, kept = len(value) != len(stored[name]), f"{len(stored[name])} sources"
        else:
            differs, kept = value != stored.get(name, value), f"{name}={stored.get(name)!r}"
            differs = differs and name not in ("sources", *replaceable)
        if differs:
            raise ValueError(
                f"{name}={_shown(value)} is not possible: these weights are of {kept}, which "
                "decides on their shapes. "
                f"{', '.join(('sources (as many)', *replaceable))} can be replaced."
            )


def _check_sources(sources: Any) -> None:
    expected = "expected distinct names, such as ['vocals']"
    if not isinstance(sources, (list, tuple)) or not sources:
        raise ValueError(f"sources is {_shown(sources)}; {expected}.")
    for name in sources:
        named = isinstance(name, str) and name.strip(" .") and name.isprintable()
        if not named or set(name) & FORBIDDEN_IN_FILE_NAMES or len(name) > MAX_NAME_LENGTH:
            raise ValueError(
                f"The source {_shown(name)} cannot name a file; expected such as 'vocals'."
            )
    if len(set(sources)) != len(sources):
        raise ValueError(f"sources is {_shown(sources)}; {expected}.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value in a message: what a file from elsewhere holds may be of any length."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
