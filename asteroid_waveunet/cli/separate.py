"""`waveunet separate`: write the stems of songs."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from asteroid_waveunet import pretrained
from asteroid_waveunet.cli import catalogue
from asteroid_waveunet.cli.choices import BITS, CHANNELS, CLIPS, STEM_FORMATS
from asteroid_waveunet.cli.common import (
    MODEL_HELP,
    add_separation_options,
    output_folder,
)
from asteroid_waveunet.cli.streams.output import one_line
from asteroid_waveunet.cli.streams.pipes import (
    PIPE,
    check_one_file,
    folder_of_output,
    regular_files,
)
from asteroid_waveunet.file_utils import expanded
from asteroid_waveunet.system_errors import explain

if TYPE_CHECKING:
    from asteroid_waveunet.models.base import SourceModel
    from asteroid_waveunet.separation.batch import Song
    from asteroid_waveunet.separation.layout import Layout
    from asteroid_waveunet.separation.separate import Progress
    from asteroid_waveunet.separation.stem_options import StemOptions
    from asteroid_waveunet.separation.stem_store import StemStore
    from asteroid_waveunet.separation.stems import Target
    from asteroid_waveunet.streaming.options import SeparationOptions

__all__ = ["add_options", "run"]

HELP = "file, folder (searched recursively), pattern, URL, pipe, or - for standard input"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Write OUT/SONG/SOURCE.wav for each source of each song, with the song's length, sample "
        "rate, channels and bit depth. Finished songs are skipped, so the same command resumes an "
        "interrupted run; a song that has changed, or whose stems were made by other weights or "
        "with other options, is separated again. A song that fails is reported at the end."
    )
    add = parser.add_argument
    add("songs", nargs="*", metavar="SONG", help=HELP)
    add("-m", "--model", help=f"{MODEL_HELP} (default: {pretrained.DEFAULT})")
    add(
        "-o",
        "--output",
        default="separated",
        metavar="OUT",
        help="folder, URL, or - to write one file to standard output (default: %(default)s)",
    )
    add(
        "--name",
        metavar="TEMPLATE",
        help="names of the stems in OUT (default: {song}/{stem}.{ext}; {song}.{ext} for stem.mp4)",
    )
    _add_stem_options(parser)
    add("--format", choices=STEM_FORMATS, default="wav", help="(default: %(default)s)")
    add("--bits", choices=BITS, help="bit depth of wav and flac (default: the song's)")
    clips = "; ".join(f"{name}: {effect}" for name, effect in CLIPS.items())
    add(
        "--clip",
        choices=tuple(CLIPS),
        default="clamp",
        help=f"treatment of samples beyond full scale. {clips} (default: clamp)",
    )
    add_separation_options(parser)
    _add_input_options(parser)
    add("--jobs", type=int, default=1, metavar="N", help="songs at once (default: 1)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="separate finished songs again")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="skip songs whose stems' files exist, whatever they were made from",
    )
    catalogue.add_options(parser)


def _add_stem_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of which stems are written."""
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--stems", type=_names, metavar="SOURCE,...", help="write only these sources (default: all)"
    )
    which.add_argument(
        "--two-stems", metavar="SOURCE", help="write this source and the sum of all others"
    )
    add(
        "--without",
        type=_names,
        default=[],
        metavar="SOURCE,...",
        help="write the song minus these sources as one file, without_SOURCE, and no other source "
        "unless --stems or --two-stems names it",
    )
    add("--residual", action="store_true", help="also write the song minus all stems")


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of which part of a song is separated, and which of its channels."""
    add = parser.add_argument
    add("--start", type=float, default=0.0, metavar="S", help="begin S seconds into the song")
    add("--duration", type=float, metavar="S", help="separate S seconds (default: to the end)")
    add(
        "--channels",
        choices=CHANNELS,
        default="mix",
        help="surround sound: mix it down to the model's stereo, or separate each channel by "
        "itself (default: mix)",
    )


def _names(text: str) -> list[str]:
    """Return names separated by commas, each once."""
    names = dict.fromkeys(name.strip() for name in text.split(","))
    return [name for name in names if name] or [text]


def run(options: argparse.Namespace) -> int:
    """Separate all songs that are not done."""
    if catalogue.is_one(options):
        return catalogue.run(options, _default_model)
    if not options.songs:
        raise ValueError("Expected a SONG, or --manifest FILE.")
    to_stdout = options.output == PIPE
    with regular_files(options.songs) as songs, folder_of_output(options.output) as output:
        options.songs, options.output = songs, output
        return _run(options, to_stdout)


def _run(options: argparse.Namespace, to_stdout: bool) -> int:
    if options.jobs < 1:
        raise ValueError(f"--jobs is {options.jobs}; expected at least 1.")
    from asteroid_waveunet.audio import mp4
    from asteroid_waveunet.models.by_name import describe_device, load_model
    from asteroid_waveunet.separation import batch
    from asteroid_waveunet.separation.layout import Layout

    chosen = catalogue.stem_options(options)
    output = expanded(options.output)
    if chosen.suffix == mp4.STEM_SUFFIX:
        mp4.require_pyav()
    missing: dict[str, str] = {}
    songs = batch.find(options.songs, output, missing)
    model = load_model(options.model or _default_model(), options.device)
    names = chosen.names(model.sources)
    if to_stdout:
        check_one_file(len(songs), names, chosen.suffix)
    how = chosen.separation(model)
    layout = Layout(output, names, chosen.suffix, chosen.bits, options.name)
    store = _store(options, chosen, model, layout)
    with output_folder(output):
        todo, failures = _plan(songs, store)
        if todo:
            print(f"device: {describe_device(model)}", file=sys.stderr)
        shown = "standard output" if to_stdout else None
        failures |= _separate(todo, store, model, how, chosen, options.jobs, shown)
    reasons = missing | {str(song.path): reason for song, reason in failures.items()}
    _report(reasons, len(songs) + len(missing))
    return 1 if reasons else 0


def _store(
    options: argparse.Namespace, chosen: StemOptions, model: SourceModel, layout: Layout
) -> StemStore:
    from asteroid_waveunet.separation.stem_store import StemStore
    from asteroid_waveunet.weights import serialization

    weights = serialization.fingerprint(model.serialize())
    recorded = dataclasses.asdict(chosen)
    return StemStore(layout, weights, recorded, options.overwrite, options.skip_existing)


def _plan(songs: Sequence[Song], store: StemStore) -> tuple[list[Song], dict[Song, str]]:
    """Return the songs to separate, and those that cannot be, with the reasons; print the rest."""
    todo, failures, again = [], {}, 0
    inputs = {song.path for song in songs}
    for song in songs:
        try:
            _check_inputs_stay(store.layout.place(song.name).target, inputs)
            stems = store.find(song)
        except (OSError, ValueError) as reason:
            failures[song] = explain(reason)
            continue
        if not stems.done:
            todo.append(song)
            again += stems.exist
    output, total = store.layout.output, f"of {len(songs)} songs"
    if n_done := len(songs) - len(todo) - len(failures):
        print(f"{n_done} {total} already in {output}; --overwrite separates them again")
    if again and not store.overwrite:
        print(
            f"{again} {total} in {output} separated again: the song, the weights or the options "
            "differ from those of the stems there, or a stem is missing or damaged"
        )
    return todo, failures


def _separate(
    songs: Sequence[Song],
    store: StemStore,
    model: SourceModel,
    how: SeparationOptions,
    chosen: StemOptions,
    jobs: int,
    shown: str | None = None,
) -> dict[Song, str]:
    """Separate songs; return the reasons of those that failed.

    Args:
        shown: printed for each song in place of where its stems are.
    """
    from asteroid_waveunet.separation import batch
    from asteroid_waveunet.separation.separate import separate_file

    sizes = {song: batch.n_bytes(song) for song in songs}
    with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, disable=None) as bar:

        def separate_song(song: Song, check: Callable[[], None]) -> None:
            with store.writing(song, check) as target:
                if target is None:
                    return
                separate_file(
                    model,
                    song.path,
                    target,
                    clip=chosen.clip,
                    options=how,
                    progress=advancing(bar, sizes[song], check),
                    start=chosen.start,
                    duration=chosen.duration,
                    **chosen.selection,
                )
            paths = target.paths
            place = paths[0] if len(paths) == 1 else paths[0].parent
            bar.write(shown or one_line(str(place)))

        return batch.run(songs, separate_song, jobs)


def _default_model() -> str:
    """Return the name of the default weights, and print what they are."""
    name = pretrained.DEFAULT
    weights = pretrained.WEIGHTS[name]
    print(f"weights: {name} ({weights.summary}; {weights.scores})", file=sys.stderr)
    return name


def advancing(bar: tqdm, n_bytes: int, check: Callable[[], None]) -> Progress:
    """Return a progress function that advances the bar by the song's share of its bytes."""
    advanced = 0.0

    def progress(n_done: int, total: int | None) -> None:
        nonlocal advanced
        check()
        now = n_bytes * n_done / total if total else 0.0
        bar.update(now - advanced)
        advanced = now

    return progress


def _report(failures: Mapping[str, str], n_songs: int) -> None:
    if failures:
        print(f"{len(failures)} of {n_songs} songs failed:", file=sys.stderr)
    for path, reason in failures.items():
        line = reason if path in reason else f"{path}: {reason}"
        print(f"  {one_line(line)}", file=sys.stderr)


def _check_inputs_stay(target: Target, inputs: Collection[Path]) -> None:
    """Check that no stem replaces a song.

    Raises:
        ValueError: if one would.
    """
    for path in target.paths:
        if path.resolve() in inputs:
            raise ValueError(
                f"{path} is a song to separate, and a stem would replace it; choose another "
                "output folder with -o."
            )
