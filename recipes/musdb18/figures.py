"""Draw figures of the paper's arguments from trained models, songs and scores.

python figures.py aliasing [--model exp/TAG/best_model.pth ...]
python figures.py borders --same MODEL --context MODEL --data ROOT
python figures.py additivity --direct MODEL --difference MODEL --data ROOT
python figures.py outliers --scores exp/TAG/scores --data ROOT

Each writes NAME.png to the folder --out and prints its numbers as a table.
"""

import interrupted  # noqa: F401  # isort: skip

import argparse
from pathlib import Path

from tqdm import tqdm

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import paired_comparison
from asteroid_waveunet.experiment.paper_figures import (
    additivity,
    aliasing,
    common,
    segment_borders,
    silent_windows,
)
from asteroid_waveunet.experiment.stages import exit_on_error
from asteroid_waveunet.models.base import SourceModel

HERE = Path(__file__).resolve().parent


def draw_aliasing(options):
    """Draw the spectral images left by each upsampling, initialised and trained."""
    trained = [
        aliasing.model_response(WaveUNet.from_pretrained(path), f"trained ({tag_of(path)})")
        for path in options.model
    ]
    found = [*map(aliasing.initial_response, ("linear", "learned", "transposed")), *trained]
    return aliasing.table(found), lambda: aliasing.draw(found)


def draw_borders(options):
    """Draw errors and clicks at segment borders, with same padding and with context."""
    models = load_models(
        WaveUNet,
        "context",
        {"same padding": (options.same, False), "context": (options.context, True)},
    )
    found = []
    for name, model in models.items():
        tracks = tracks_of(options, f"borders, {name}")
        found.append(segment_borders.measure(model, tracks, name, options.output_length))
    return segment_borders.table(found), lambda: segment_borders.draw(found)


def draw_additivity(options):
    """Draw mixture minus sum of estimates: direct, difference, mixture consistency."""
    models = load_models(
        SourceModel,
        "output",
        {"direct": (options.direct, "direct"), "difference": (options.difference, "difference")},
    )
    found = []
    for name, output, consistent in (
        ("direct", "direct", False),
        ("direct, mixture consistency", "direct", True),
        ("difference", "difference", False),
    ):
        tracks = tracks_of(options, f"additivity, {name}")
        found.append(additivity.measure(models[output], tracks, name, consistent))
    return additivity.table(found), lambda: additivity.draw(found)


def draw_outliers(options):
    """Draw the SDR of windows against the level of their source."""
    scores = paired_comparison.load(options.scores)
    found = silent_windows.measure(scores, tracks_of(options, "outliers"))
    return silent_windows.table(found, options.below), lambda: silent_windows.draw(
        found, options.below
    )


def tracks_of(options, description):
    """Iterate over the test tracks with a progress bar."""
    return tqdm(musdb.tracks(options.data, "test"), desc=description, unit="track")


def load_models(kind, argument, paths):
    """Load models given as name -> (path, expected value of `argument`).

    Raises:
        ValueError: if an argument differs, or the models separate different sources.
    """
    models = {}
    for name, (path, expected) in paths.items():
        model = models[name] = kind.from_pretrained(path)
        found = model.get_model_args().get(argument, "direct")  # models without an `output`
        if found != expected:
            raise ValueError(
                f"{path} is a model with {argument}={found!r}; expected one with {expected!r}."
            )
    one, other = (model.sources for model in models.values())
    if one != other:
        raise ValueError(
            f"One model separates {', '.join(one)}, the other {', '.join(other)}; use two models "
            "of the same sources."
        )
    return models


def tag_of(path):
    """Return the name of a model's experiment, or of its file."""
    path = Path(path).absolute()
    return path.parent.name if path.name == "best_model.pth" else path.stem


def parser():
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="name")

    def add(draw, name):
        command = commands.add_parser(name, help=draw.__doc__, description=draw.__doc__)
        command.set_defaults(draw=draw)
        command.add_argument("--out", type=Path, default=HERE / "figures", help="output folder")
        return command

    model = dict(required=True, metavar="MODEL", help="exp/TAG/best_model.pth or a published model")
    data = dict(required=True, metavar="ROOT", help="data set in MUSDB18's layout")
    command = add(draw_aliasing, "aliasing")
    command.add_argument("--model", action="append", default=[], metavar="MODEL", help="repeatable")
    command = add(draw_borders, "borders")
    command.add_argument("--same", **model)
    command.add_argument("--context", **model)
    command.add_argument("--data", **data)
    command.add_argument("--output_length", type=int, default=16384, help="in samples per segment")
    command = add(draw_additivity, "additivity")
    command.add_argument("--direct", **model)
    command.add_argument("--difference", **model)
    command.add_argument("--data", **data)
    command = add(draw_outliers, "outliers")
    command.add_argument("--scores", required=True, metavar="FOLDER", help="such as exp/TAG/scores")
    command.add_argument("--data", **data)
    command.add_argument(
        "--below",
        type=float,
        default=silent_windows.NEARLY_SILENT,
        help="level below which a source is nearly silent, in dBFS",
    )
    return parser


def main(options):
    """Measure, draw and print."""
    options.out.mkdir(parents=True, exist_ok=True)  # fails before the work
    text, draw = options.draw(options)
    path = options.out / f"{options.name}.png"
    common.save(draw, path)
    print(f"{text}\nThe figure is {path}.")


if __name__ == "__main__":
    options = parser().parse_args()
    exit_on_error(lambda: main(options))
