"""Recognise the weights of other projects by the names of their tensors.

Tensor names are plain text near the beginning of every format, so the raw bytes are searched.
This includes files that cannot, or must not, be unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["advice_for_dictionary", "advice_for_file"]

SCANNED_BYTES = 4 * 2**20  # the largest models' tensor names take a few hundred thousand bytes

OTHER_ARCHITECTURE = (
    "That is another architecture, whose weights do not fit the paper's Wave-U-Net; load them with "
    "that project's code. (`waveunet convert` reads checkpoints of the paper's own code.)"
)
MISSING_ARGUMENTS = (
    "For model.safetensors, the arguments are in the config.json that belongs in the same folder. "
    "If they are lost, build WaveUNet(...) as it was trained, call model.load_state_dict(...), "
    "then torch.save(model.serialize(), path)."
)


@dataclass(frozen=True)
class Project:
    """A source of weights files.

    Attributes:
        name: the description for messages.
        patterns: regular expressions that all match in its files.
        advice: the remedy for messages.
    """

    name: str
    patterns: tuple[bytes, ...]
    advice: str = OTHER_ARCHITECTURE


PROJECTS = (
    Project(
        "a WaveUNet without its arguments",
        (rb"down\.0\.conv\.weight", rb"bottleneck\.weight", rb"(?s)\A(?!.*model_args)"),
        MISSING_ARGUMENTS,
    ),
    Project(
        "Wave-U-Net-Pytorch, which resamples with strided and transposed convolutions",
        (rb"(down|up)sampling_blocks\.\d+\.(pre|post)_shortcut_convs\.",),
    ),
    Project(
        "Wave-U-Net-for-Speech-Enhancement, which uses batch normalisation",
        (rb"encoder\.\d+\.main\.\d", rb"decoder\.\d+\.main\.\d", rb"middle\.0\.weight"),
    ),
    Project(
        "Demucs",
        (rb"demucs\.\w*demucs|encoder\.\d+\.(conv|rewrite|dconv)\.|encoder\.0\.0\.weight",),
    ),
    Project("Open-Unmix", (rb"lstm\.weight_ih_l0", rb"output_scale", rb"input_mean")),
    Project("an Asteroid model of encoder, masker and decoder", (rb"masker\.", rb"filterbank\.")),
)


def advice_for_file(path: str | os.PathLike) -> str | None:
    """Return a message that names a file's project and the remedy; None if it is unknown."""
    with open(path, "rb") as file:
        return _advice(os.fspath(path), file.read(SCANNED_BYTES))


def advice_for_dictionary(conf: Any, name: str = "The dictionary") -> str | None:
    """Return the message of `advice_for_file` for a state_dict, or a dictionary that holds one.

    >>> print(advice_for_dictionary({"state": {"encoder.0.0.weight": ...}}, "x.th"))
    x.th appears to be from Demucs. That is another architecture, whose weights do not fit the \
paper's Wave-U-Net; load them with that project's code. (`waveunet convert` reads checkpoints of \
the paper's own code.)
    """
    names: list[str] = []
    for key, value in conf.items() if isinstance(conf, Mapping) else ():
        names.append(str(key))
        names += map(str, value) if isinstance(value, Mapping) else ()
    return _advice(name, "\n".join(names).encode())


def _advice(name: str, content: bytes) -> str | None:
    for project in PROJECTS:
        if all(re.search(pattern, content) for pattern in project.patterns):
            return f"{name} appears to be from {project.name}. {project.advice}"
    return None
