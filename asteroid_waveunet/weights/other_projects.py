"""Recognise the weights of other projects by the names of their tensors.

The names are looked for in the file as it is. Every format has them near its beginning in
plain text, those included that are not, or must not be, unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["of_dictionary", "of_file"]

SCANNED = 4 * 2**20  # bytes; the names of the largest models' tensors take a few hundred thousand

OTHER = (
    "That is another architecture, whose weights fit no Wave-U-Net of the paper: use the code that "
    "made them. (`waveunet convert` reads the checkpoints of the paper's own code.)"
)
BARE = (
    "Those of model.safetensors are in its config.json, which belongs beside it. If they are "
    "nowhere, build WaveUNet(...) as it was trained, model.load_state_dict(...), and keep "
    "torch.save(model.serialize(), path)."
)


@dataclass(frozen=True)
class Kind:
    """A project: its name, the tensor names it is recognised by, and what to do instead."""

    name: str
    marks: tuple[bytes, ...]
    advice: str = OTHER


KINDS = (
    Kind(
        "a WaveUNet, but without its arguments",
        (rb"down\.0\.conv\.weight", rb"bottleneck\.weight", rb"(?s)\A(?!.*model_args)"),
        BARE,
    ),
    Kind(
        "Wave-U-Net-Pytorch, which resamples by strided and transposed convolutions",
        (rb"(down|up)sampling_blocks\.\d+\.(pre|post)_shortcut_convs\.",),
    ),
    Kind(
        "Wave-U-Net-for-Speech-Enhancement, which normalises batches",
        (rb"encoder\.\d+\.main\.\d", rb"decoder\.\d+\.main\.\d", rb"middle\.0\.weight"),
    ),
    Kind(
        "Demucs",
        (rb"demucs\.\w*demucs|encoder\.\d+\.(conv|rewrite|dconv)\.|encoder\.0\.0\.weight",),
    ),
    Kind("Open-Unmix", (rb"lstm\.weight_ih_l0", rb"output_scale", rb"input_mean")),
    Kind("an Asteroid model of encoder, masker and decoder", (rb"masker\.", rb"filterbank\.")),
)


def of_file(path: str | os.PathLike) -> str | None:
    """Return a message naming the project and the remedy; None if it is unknown."""
    with open(path, "rb") as file:
        return _explanation(os.fspath(path), file.read(SCANNED))


def of_dictionary(conf: Any, name: str = "The dictionary") -> str | None:
    """The same of what a file held: a state_dict, or a dictionary that has one.

    >>> print(of_dictionary({"state": {"encoder.0.0.weight": ...}}, "x.th"))
    x.th seems to be of Demucs. That is another architecture, whose weights fit no Wave-U-Net of \
the paper: use the code that made them. (`waveunet convert` reads the checkpoints of the paper's \
own code.)
    """
    names: list[str] = []
    for key, value in conf.items() if isinstance(conf, Mapping) else ():
        names.append(str(key))
        names += map(str, value) if isinstance(value, Mapping) else ()
    return _explanation(name, "\n".join(names).encode())


def _explanation(name: str, content: bytes) -> str | None:
    for kind in KINDS:
        if all(re.search(mark, content) for mark in kind.marks):
            return f"{name} seems to be of {kind.name}. {kind.advice}"
    return None
