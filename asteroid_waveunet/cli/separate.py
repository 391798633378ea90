"""`waveunet separate`: the sources of songs as files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_waveunet.cli.common import PRECISIONS, check_writable, load, printable

if TYPE_CHECKING:
    from tqdm import tqdm

    from asteroid_waveunet.separation import batch
    from asteroid_waveunet.separation.separate import Progress
    from asteroid_waveunet.separation.stems import Target

__all__ = ["add_options", "separate"]

# Copies of `stems.FORMATS` and `stems.CLIPS`, which cannot be imported without torch.
FORMATS = ("wav", "flac", "mp3", "ogg", "stem.mp4")
CLIPS = {
    "clamp": "limit each stem and move the excess to the others, which preserves their sum",
    "rescale": "scale all stems of the song by one gain until none exceeds full scale",
    "none": "no treatment: integer formats clip each stem at full scale",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the description and options of the command."""
    parser.description = (
        "Writes OUT/SONG/SOURCE.wav for each source of each song, as long, at the same "
        "rate, with the same channels and bits as the song. Songs whose stems are there already "
        "are skipped, so that a run that was stopped goes on; a song that fails is reported at "
        "the end."
    )
    add = parser.add_argument
    add("songs", nargs="+", metavar="SONG", help="file, folder (with all below it) or pattern")
    add("-m", "--model", required=True, help="folder, file, Hub name (user/model), URL or preset")
    add("-o", "--output", default="separated", metavar="OUT", help="folder (default: %(default)s)")
    add("--two-stems", metavar="SOURCE", help="one source, and the sum of all others")
    add("--residual", action="store_true", help="also the song less all sources")
    add("--format", choices=FORMATS, default="wav", help="(default: %(default)s)")
    add("--bits", choices=("16", "24", "float"), help="of wav and flac (default: the song's)")
    clips = "; ".join(f"{name}: {what}" for name, what in CLIPS.items())
    add(
        "--clip",
        choices=CLIPS,
        default="clamp",
        help=f"beyond full scale, {clips} (default: clamp)",
    )
    add("--device", help="cpu, cuda, cuda:1, mps ... (default: cuda if there is one, or cpu)")
    add("--precision", choices=PRECISIONS, default="fp32", help="(default: %(default)s)")
    add("--shifts", type=int, default=1, metavar="N", help="average N shifted passes (default: 1)")
    add("--mixture-consistency", action="store_true", help="make estimates sum to the song")
    add("--jobs", type=int, default=1, metavar="N", help="songs at once (default: 1)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="separate finished songs anew")
    existing.add_argument("--skip-existing", action="store_true", help="skip them (the default)")
    parser.set_defaults(command=separate)


def separate(options: argparse.Namespace) -> int:
    """`waveunet separate`."""
    from tqdm import tqdm

    from asteroid_waveunet.audio import mp4
    from asteroid_waveunet.separation import batch
    from asteroid_waveunet.separation.separate import separate_file
    from asteroid_waveunet.separation.stems import Stems, subtype_of
    from asteroid_waveunet.streaming.options import SeparationOptions, check_shifts

    if options.jobs < 1:
        raise ValueError(f"--jobs is {options.jobs}; expected at least 1.")
    output, suffix = Path(options.output).expanduser(), f".{options.format}"
    subtype_of(suffix, options.bits, None)
    if suffix == mp4.STEM_SUFFIX:
        mp4.require_pyav()
    songs = batch.find(options.songs, output)
    model = load(options.model, options.device)
    names = Stems.of(model.sources, options.two_stems, options.residual).names
    targets = {song: batch.target_of(song, output, suffix, names, options.bits) for song in songs}
    _check_inputs_stay(songs, targets)
    check_shifts(options.shifts, model.geometry)
    check_writable(output)
    todo = [song for song in songs if options.overwrite or not _is_done(targets[song])]
    if len(todo) < len(songs):
        skipped = f"{len(songs) - len(todo)} of {len(songs)} songs"
        print(f"{skipped} are in {output} already; --overwrite separates them anew")
    if not todo:
        return 0
    how = SeparationOptions(options.precision, options.shifts, options.mixture_consistency)
    sizes = {song: batch.n_bytes(song) for song in todo}
    with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, disable=None) as bar:

        def work(song: batch.Song, check: Callable[[], None]) -> None:
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

        failures = batch.run(todo, work, options.jobs)
    if failures:
        print(f"{len(failures)} of {len(songs)} songs failed:", file=sys.stderr)
    for song, reason in failures.items():
        named = reason if str(song.path) in reason else f"{song.path}: {reason}"
        print(f"  {printable(named)}", file=sys.stderr)
    return 1 if failures else 0


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


def _check_inputs_stay(songs: Sequence[batch.Song], targets: dict[batch.Song, Target]) -> None:
    """
    Raises:
        ValueError: if stems would take the place of a song.
    """
    inputs = {song.path for song in songs}
    for target in targets.values():
        for path in target.paths:
            if path.resolve() in inputs:
                raise ValueError(
                    f"{path} is a song to separate, and stems would replace it; name another "
                    "output folder with -o."
                )


def _is_done(target: Target) -> bool:
    return all(path.exists() for path in target.paths)
