"""`waveunet convert`: a model of a TensorFlow checkpoint of the paper's code."""

from __future__ import annotations

import argparse

__all__ = ["add_options", "convert"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the description and options of the command."""
    parser.description = (
        "Writes the model that a checkpoint of the paper's own code holds as a folder "
        "OUT, for --model. Its sizes are read from the checkpoint; what that does not tell is the "
        "preset's, or is inferred from its name and sizes, with a warning that says what."
    )
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="CHECKPOINT",
        help="what its files begin with (baseline_stereo-186093), one of them, or their folder",
    )
    add("-o", "--output", required=True, metavar="OUT", help="folder")
    add("--preset", default="inferred", help="that it must be, such as M4 (default: %(default)s)")
    add("--sources", nargs="+", metavar="NAME", help="of the estimates, in order")
    add("--sample-rate", type=int, metavar="HZ", help="that it was trained at")
    add("--padding", choices=("context", "same"), help="of its convolutions")
    add("--activation", choices=("tanh", "linear"), help="of its outputs")
    add("--verify", action="store_true", help="check the checksums of the weights too")
    parser.set_defaults(command=convert)


def convert(options: argparse.Namespace) -> int:
    """`waveunet convert`."""
    from asteroid_waveunet.experiment.tf_checkpoint import architecture, bundle, conversion
    from asteroid_waveunet.weights import serialization

    said = {
        "sources": options.sources,
        "sample_rate": options.sample_rate,
        "context": None if options.padding is None else options.padding == "context",
        "output_activation": options.activation,
    }
    said = {name: value for name, value in said.items() if value is not None}
    preset = None if options.preset == "inferred" else options.preset
    model = conversion.convert(options.checkpoint, preset, options.verify, **said)
    source = bundle.locate(options.checkpoint).name
    serialization.save(model.serialize(converted_from=source), options.output)
    print(options.output)
    for name, value in model.get_model_args().items():
        told = "" if name not in architecture.NOT_STORED else "  (not from the checkpoint)"
        print(f"  {name}: {value}{told}")
    print("from asteroid_waveunet import WaveUNet")
    print(f"model = WaveUNet.from_pretrained({options.output!r})")
    return 0
