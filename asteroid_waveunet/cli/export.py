"""`waveunet export`: a model as one file, its weights or one hop of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from asteroid_waveunet.cli.common import check_writable, is_preset, load

__all__ = ["add_options", "export"]

# Suffix -> format: copies of those in `streaming.export` and `weights.serialization`, which
# cannot be imported without torch.
STEP_SUFFIXES = {".onnx": "onnx", ".pt": "torchscript"}
WEIGHT_SUFFIXES = {".bin": "asteroid", ".pth": "asteroid", ".safetensors": "safetensors"}
SUFFIXES = {**STEP_SUFFIXES, **WEIGHT_SUFFIXES}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the description and options of the command."""
    parser.description = (
        "Writes a model's weights with their configuration, as Asteroid's dictionary "
        "or as safetensors; or the model as a function of one hop of the mixture and a state, "
        "zeros before a track, whose results are estimates and the next state. Estimates are not "
        "limited to full scale."
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder, file, Hub name (user/model), URL or preset")
    add("-o", "--output", required=True, metavar="FILE")
    suffixes = ", ".join(f"{form} for {suffix}" for suffix, form in SUFFIXES.items())
    forms = dict.fromkeys(SUFFIXES.values())
    add("--format", choices=forms, help=f"(default: {suffixes})")
    add("--hop", type=int, metavar="N", help="samples per call, a multiple of the model's step")
    add("--batch-size", type=int, metavar="N", help="tracks side by side (default: 1)")
    parser.set_defaults(command=export)


def export(options: argparse.Namespace) -> int:
    """`waveunet export`."""
    from asteroid_waveunet.streaming.export import export_step
    from asteroid_waveunet.weights import serialization

    path = Path(options.output).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file.")
    form = options.format or SUFFIXES.get(path.suffix)
    if form is None:
        *first, last = SUFFIXES
        known = f"{', '.join(first)} or {last}"
        raise ValueError(f"{path} does not end in {known}; say which with --format.")
    if form in WEIGHT_SUFFIXES.values() and (options.hop, options.batch_size) != (None, None):
        raise ValueError(
            f"--hop and --batch-size are of {' and '.join(STEP_SUFFIXES.values())} only."
        )
    check_writable(path.parent)
    model = load(options.model)
    if form in WEIGHT_SUFFIXES.values():
        conf = model.serialize()
        if not is_preset(options.model):
            conf["infos"] = serialization.plain(serialization.read(options.model)["infos"])
        serialization.write(conf, path, form)
        print(path)
        return 0
    batch_size = 1 if options.batch_size is None else options.batch_size
    exported = export_step(model, path, form, options.hop, batch_size)
    print(path)
    for name, value in exported.metadata.items():
        print(f"  {name}: {' '.join(value.splitlines())}")
    return 0
