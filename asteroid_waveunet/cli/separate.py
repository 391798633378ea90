"""`waveunet separate`: write the stems of songs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from asteroid_waveunet import pretrained
from asteroid_waveunet.cli.choices import BITS, CLIPS, STEM_FORMATS
from asteroid_waveunet.cli.common import (
    MODEL_HELP,
    add_separation_options,
    check_writable,
    load_model,
    printable,
    separation_options,
)

if TYPE_CHECKING:
    from asteroid_waveunet.separation.batch import Song
    from asteroid_waveunet.separation.separate import Progress
    from asteroid_waveunet.separation.stems import Target

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Write OUT/SONG/SOURCE.wav for each source of each song, with the song's length, sample "
        "rate, channels and bit depth. Finished songs are skipped, so the same command resumes an "
        "interrupted run. A song that fails is reported at the end."
    )
    add = parser.add_argument
    add("songs", nargs="+", metavar="SONG", help="file, folder (searched recursively) or pattern")
    add("-m", "--model", help=f"{MODEL_HELP} (default: {pretrained.DEFAULT})")
    add("-o", "--output", default="separated", metavar="OUT", help="folder (default: %(default)s)")
    add("--two-stems", metavar="SOURCE", help="write this source and the sum of all others")
    add("--residual", action="store_true", help="also write the song minus all stems")
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
    add("--jobs", type=int, default=1, metavar="N", help="songs at once (default: 1)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="separate finished songs again")
    existing.add_argument("--skip-existing", action="store_true", help="skip them (the default)")


def run(options: argparse.Namespace) -> int:
    """Separate all songs that are not finished."""
    if options.jobs < 1:
        raise ValueError(f"--jobs is {options.jobs}; expected at least 1.")
    from asteroid_waveunet.audio import mp4
    from asteroid_waveunet.separation import batch
    from asteroid_waveunet.separation.stems import Stems, subtype_of

    output, suffix = Path(options.output).expanduser(), f".{options.format}"
    subtype_of(suffix, options.bits, None)
    if suffix == mp4.STEM_SUFFIX:
        mp4.require_pyav()
    songs = batch.find(options.songs, output)
    model = load_model(options.model or _default_model(), options.device)
    names = Stems.of(model.sources, options.two_stems, options.residual).names
    targets = {song: batch.target_of(song, output, suffix, names, options.bits) for song in songs}
    _check_inputs_stay(targets)
    how = separation_options(options, model)
    check_writable(output)
    todo = [song for song in songs if options.overwrite or not _is_done(targets[song])]
    if len(todo) < len(songs):
        skipped = f"{len(songs) - len(todo)} of {len(songs)} songs"
        print(f"{skipped} already in {output}; --overwrite separates them again")
    if not todo:
        return 0
    sizes = {song: batch.n_bytes(song) for song in todo}
    with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, disable=None) as bar:

        def separate_song(song: Song, check: Callable[[], None]) -> None:
            from asteroid_waveunet.separation.separate import separate_file

            separate_file(
                model,
                song.path,
                targets[song],
                two_stems=options.two_stems,
                residual=options.residual,
                clip=options.clip,
                options=how,
                progress=advancing(bar, sizes[song], check),
            )
            paths = targets[song].paths
            bar.write(printable(paths[0] if len(paths) == 1 else paths[0].parent))

        failures = batch.run(todo, separate_song, options.jobs)
    _report(failures, len(songs))
    return 1 if failures else 0


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


def _report(failures: Mapping[Song, str], n_songs: int) -> None:
    if failures:
        print(f"{len(failures)} of {n_songs} songs failed:", file=sys.stderr)
    for song, reason in failures.items():
        named = reason if str(song.path) in reason else f"{song.path}: {reason}"
        print(f"  {printable(named)}", file=sys.stderr)


def _check_inputs_stay(targets: Mapping[Song, Target]) -> None:
    """
    Raises:
        ValueError: if a stem would replace a song.
    """
    inputs = {song.path for song in targets}
    for target in targets.values():
        for path in target.paths:
            if path.resolve() in inputs:
                raise ValueError(
                    f"{path} is a song to separate, and a stem would replace it; choose another "
                    "output folder with -o."
                )


def _is_done(target: Target) -> bool:
    return all(path.exists() for path in target.paths)
