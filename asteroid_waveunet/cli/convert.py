"""`waveunet convert`: turn a TensorFlow checkpoint of the paper's code into a model."""

from __future__ import annotations

import argparse

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Convert a checkpoint of the paper's code to a folder OUT, for --model. Sizes are read "
        "from the checkpoint. The sample rate and the names of the sources are not stored in it: "
        "they come from the preset, or are inferred from file name and sizes, with a warning."
    )
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="CHECKPOINT",
        help="prefix of its files (baseline_stereo-186093), one of them, or their folder",
    )
    add("-o", "--output", required=True, metavar="OUT", help="folder")
    add("--preset", default="inferred", help="require this preset, e.g. M4 (default: %(default)s)")
    add("--sources", nargs="+", metavar="NAME", help="names of the estimates, in order")
    add("--sample-rate", type=int, metavar="HZ", help="sample rate of the training data")
    add("--padding", choices=("context", "same"), help="padding of the convolutions")
    add("--activation", choices=("tanh", "linear"), help="activation of the outputs")
    add("--verify", action="store_true", help="also check the checksums of the weights")


def run(options: argparse.Namespace) -> int:
    """Convert the checkpoint and print the model's arguments."""
    from asteroid_waveunet.experiment.tf_checkpoint import architecture, bundle, conversion
    from asteroid_waveunet.weights import serialization

    given = {
        "sources": options.sources,
        "sample_rate": options.sample_rate,
        "context": None if options.padding is None else options.padding == "context",
        "output_activation": options.activation,
    }
    given = {name: value for name, value in given.items() if value is not None}
    preset = None if options.preset == "inferred" else options.preset
    model = conversion.convert(options.checkpoint, preset, options.verify, **given)
    source = bundle.locate(options.checkpoint).name
    serialization.save(model.serialize(converted_from=source), options.output)
    print(options.output)
    for name, value in model.get_model_args().items():
        origin = "" if name not in architecture.NOT_STORED else "  (not from the checkpoint)"
        print(f"  {name}: {value}{origin}")
    print("from asteroid_waveunet import WaveUNet")
    print(f"model = WaveUNet.from_pretrained({options.output!r})")
    return 0
