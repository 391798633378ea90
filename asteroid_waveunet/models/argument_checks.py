"""Range checks of model arguments, whether they come from a caller or an untrusted file."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping
from typing import Any

from asteroid_waveunet.nn.wave_unet_blocks import ACTIVATIONS, UPSAMPLING

__all__ = ["check_count", "check_ranges", "check_wave_unet"]

MAX_SAMPLE_RATE = 1_000_000
MAX_COUNT = 2**29
MAX_NAME_LENGTH = 100
"""Maximum length of a source name, which becomes part of a file name."""

FORBIDDEN_IN_FILE_NAMES = set('/\\:*?"<>|')

CHOICES = {
    "upsampling": tuple(UPSAMPLING),
    "output": ("direct", "difference"),
    "output_activation": tuple(ACTIVATIONS),
    "context": (True, False),
}

# Whole numbers: minimum and maximum. Each level doubles the step: at 24, one step is six minutes
# of music at 44.1 kHz. The other sizes are bounded by the maximum number of weights.
COUNTS = {
    "in_channels": (1, MAX_COUNT),
    "levels": (1, 24),
    "initial_filters": (1, MAX_COUNT),
    "filter_growth": (0, MAX_COUNT),
    "down_kernel_size": (1, MAX_COUNT),
    "up_kernel_size": (1, MAX_COUNT),
    "output_kernel_size": (1, MAX_COUNT),
}


def check_wave_unet(arguments: Mapping[str, Any]) -> None:
    """Check each argument of `WaveUNet`, and warn of a trivial model.

    Raises:
        ValueError: if one is out of its range.
    """
    check_ranges(arguments, COUNTS, CHOICES)
    if arguments["output"] == "difference" and len(arguments["sources"]) == 1:
        warnings.warn(
            f"The only source {arguments['sources'][0]!r} of a model with difference output equals "
            "the mixture; use output='direct' to predict it.",
            stacklevel=3,
        )


def check_ranges(
    arguments: Mapping[str, Any],
    counts: Mapping[str, tuple[int, int]],
    choices: Mapping[str, tuple],
) -> None:
    """Check the sources, the sample rate, whole numbers and choices, each independently.

    Args:
        counts: minimum and maximum of each whole number.
        choices: allowed values of each other argument.
    Raises:
        ValueError: if one is out of its range.
    """
    _check_sources(arguments["sources"])
    for name, (minimum, maximum) in counts.items():
        check_count(name, arguments[name], minimum, maximum)
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


def check_count(name: str, value: Any, minimum: int, maximum: int) -> None:
    """Check that an argument is a whole number within its range.

    Raises:
        ValueError: if it is not.
    """
    if not _is_whole(value) or not minimum <= value <= maximum:
        raise ValueError(
            f"{name} is {_shown(value)}; expected a whole number, {minimum} to {maximum}."
        )


def _check_sources(sources: Any) -> None:
    expected = "expected distinct names, such as ['vocals']"
    if not isinstance(sources, (list, tuple)) or not sources:
        raise ValueError(f"sources is {_shown(sources)}; {expected}.")
    for name in sources:
        named = isinstance(name, str) and name.strip(" .") and name.isprintable()
        if not named or set(name) & FORBIDDEN_IN_FILE_NAMES or len(name) > MAX_NAME_LENGTH:
            raise ValueError(
                f"The source {_shown(name)} cannot name a file; expected a name such as 'vocals'."
            )
    if len(set(sources)) != len(sources):
        raise ValueError(f"sources is {_shown(sources)}; {expected}.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """Format a value for a message; values from an untrusted file may be of any length."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
