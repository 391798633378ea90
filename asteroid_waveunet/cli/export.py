"""`waveunet export`: write a model as one file, its weights or one hop of it, or as a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from asteroid_waveunet.cli.choices import EXPORT_FORMATS, WEB, WEIGHT_FORMATS
from asteroid_waveunet.cli.common import check_writable
from asteroid_waveunet.file_utils import expanded

__all__ = ["add_options", "run"]

SUFFIXES = EXPORT_FORMATS | WEIGHT_FORMATS


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Write a model's weights with their configuration, as Asteroid's dictionary or as "
        "safetensors. Or write the network as a function of one hop of the mixture and a state "
        "(zeros at the start of a track), which returns estimates and the next state. Estimates "
        "are not clipped. Or, with --format web, write a folder for any web server: a page that "
        "separates songs in the browser."
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder, file, Hub name (user/model), URL or preset")
    add("-o", "--output", required=True, metavar="FILE", help="file, or folder of the page")
    suffixes = ", ".join(f"{form} for {suffix}" for suffix, form in SUFFIXES.items())
    formats = (*dict.fromkeys(SUFFIXES.values()), WEB)
    add("--format", choices=formats, help=f"(default: {suffixes})")
    add("--hop", type=int, metavar="N", help="samples per call, a multiple of the model's step")
    add("--batch-size", type=int, metavar="N", help="tracks in parallel (default: 1)")
    add_runtime_option(parser)


def add_runtime_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of a page's runtime, shared by the commands that write a page."""
    parser.add_argument(
        "--runtime",
        metavar="DIR",
        help="for the page: a copy of onnxruntime-web to include (default: its CDN, jsDelivr)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the file."""
    path = expanded(options.output)
    if options.format == WEB:
        return _write_page(options, path)
    if options.runtime is not None:
        raise ValueError(f"--runtime only applies to --format {WEB}.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file name.")
    form = options.format or SUFFIXES.get(path.suffix)
    if form is None:
        *first, last = SUFFIXES
        known = f"{', '.join(first)} or {last}"
        raise ValueError(f"{path} does not end in {known}; choose a format with --format.")
    is_weights = form in WEIGHT_FORMATS.values()
    if is_weights and (options.hop, options.batch_size) != (None, None):
        formats = " and ".join(EXPORT_FORMATS.values())
        raise ValueError(f"--hop and --batch-size only apply to {formats}.")
    check_writable(path.parent)
    (_write_weights if is_weights else _write_hop)(options, path, form)
    return 0


def _write_weights(options: argparse.Namespace, path: Path, form: str) -> None:
    from asteroid_waveunet.models.by_name import is_preset, load_model
    from asteroid_waveunet.weights import serialization

    conf = load_model(options.model).serialize()
    if not is_preset(options.model):
        conf["infos"] = serialization.to_plain_python(serialization.read(options.model)["infos"])
    serialization.write(conf, path, form)
    print(path)


def _write_hop(options: argparse.Namespace, path: Path, form: str) -> None:
    from asteroid_waveunet.models.by_name import load_model
    from asteroid_waveunet.streaming.export import export_step

    batch_size = 1 if options.batch_size is None else options.batch_size
    exported = export_step(load_model(options.model), path, form, options.hop, batch_size)
    print(path)
    for name, value in exported.metadata.items():
        print(f"  {name}: {' '.join(value.splitlines())}")


def _write_page(options: argparse.Namespace, path: Path) -> int:
    from asteroid_waveunet.experiment.web import folder

    if options.batch_size is not None:
        raise ValueError(f"--batch-size does not apply to --format {WEB}.")
    folder.check_place(path)
    check_writable(path.parent)
    print(write_page(options.model, path, options.hop, options.runtime))
    return 0


def write_page(name: str, path: Path, hop: int | None = None, runtime: str | None = None) -> Path:
    """Write the page of a model by name; see `web.folder.write_page`."""
    from asteroid_waveunet.experiment.web import folder
    from asteroid_waveunet.models.by_name import load_model

    model = load_model(name)
    local = None if runtime is None else expanded(runtime)
    return folder.write_page(model, path, folder.Description.of(name, model), hop, local)
