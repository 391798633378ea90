"""The `waveunet` command: parse, one call, done."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from tqdm import tqdm

from . import WaveUNet, __version__, batch, mp4, presets, weights
from .export import FORMATS as EXPORT_FORMATS
from .export import export_step
from .refinement import check_shifts
from .separation import Progress, separate_file
from .stems import CLIPS, FORMATS, STEM_SUFFIX, Stems, Target, subtype_of
from .track import PRECISIONS

__all__ = ["main"]

EXPORT_SUFFIXES = {kind.suffix: form for form, kind in EXPORT_FORMATS.items()}
EXPORT_SUFFIXES |= weights.FORMAT_BY_SUFFIX

INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit status: 0 if all was done, 1 if something was not."""
    parser = argparse.ArgumentParser(
        prog="waveunet", description="Takes songs apart into their sources with the Wave-U-Net."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_separate(commands)
    _add_export(commands)
    _add_convert(commands)
    options = parser.parse_args(arguments)
    with _ending_as_interrupted(), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        try:
            return options.command(options)
        except (ValueError, OSError, ImportError) as reason:
            print(f"error: {reason}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped; the same command again goes on from here", file=sys.stderr)
            return INTERRUPTED


@contextlib.contextmanager
def _ending_as_interrupted() -> Iterator[None]:
    """A SIGTERM ends the command as Ctrl-C does: nothing half-written is left behind."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _add_separate(commands: Any) -> None:
    parser = commands.add_parser(
        "separate",
        help="write the sources of songs as files",
        description="Writes OUT/SONG/SOURCE.wav for each source of each song, as long, at the same "
        "rate, with the same channels and bits as the song. Songs whose stems are there already "
        "are skipped, so that a run that was stopped goes on; a song that fails is reported at "
        "the end.",
    )
    add = parser.add_argument
    add("songs", nargs="+", metavar="SONG", help="file, folder (with all below it) or pattern")
    add("-m", "--model", required=True, help="folder, file, Hub name (user/model), URL or preset")
    add("-o", "--output", default="separated", metavar="OUT", help="folder (default: %(default)s)")
    add("--two-stems", metavar="SOURCE", help="one source, and the sum of all others")
    add("--residual", action="store_true", help="also the song less all sources")
    formats = [suffix[1:] for suffix in FORMATS]
    add("--format", choices=formats, default="wav", help="(default: %(default)s)")
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
    if options.jobs < 1:
        raise ValueError(f"--jobs is {options.jobs}; expected at least 1.")
    output, suffix = Path(options.output).expanduser(), f".{options.format}"
    subtype_of(suffix, options.bits, None)
    if suffix == STEM_SUFFIX:
        mp4.pyav()
    songs = batch.find(options.songs, output)
    model = load(options.model, options.device)
    names = Stems.of(model.sources, options.two_stems, options.residual).names
    targets = {song: batch.target_of(song, output, suffix, names, options.bits) for song in songs}
    _check_inputs_stay(songs, targets)
    check_shifts(options.shifts, model)
    _check_writable(output)
    todo = [song for song in songs if options.overwrite or not _is_done(targets[song])]
    if len(todo) < len(songs):
        skipped = f"{len(songs) - len(todo)} of {len(songs)} songs"
        print(f"{skipped} are in {output} already; --overwrite separates them anew")
    if not todo:
        return 0
    seconds = {song: batch.seconds_of(song) for song in todo}
    with tqdm(total=sum(seconds.values()), unit="s", disable=None) as bar:

        def work(song: batch.Song, check: Callable[[], None]) -> None:
            separate_file(
                model,
                song.path,
                targets[song],
                two_stems=options.two_stems,
                residual=options.residual,
                clip=options.clip,
                progress=_advancing(bar, seconds[song], check),
                precision=options.precision,
                shifts=options.shifts,
                mixture_consistency=options.mixture_consistency,
            )
            paths = targets[song].paths
            bar.write(_printable(paths[0] if len(paths) == 1 else paths[0].parent))

        failures = batch.run(todo, work, options.jobs)
    if failures:
        print(f"{len(failures)} of {len(songs)} songs failed:", file=sys.stderr)
    for song, reason in failures.items():
        named = reason if str(song.path) in reason else f"{song.path}: {reason}"
        print(f"  {_printable(named)}", file=sys.stderr)
    return 1 if failures else 0


def _printable(text: object) -> str:
    """What a terminal of any encoding shows of a name in another."""
    encoding = sys.stdout.encoding or "ascii"
    return str(text).encode(encoding, "backslashreplace").decode(encoding)


def _advancing(bar: tqdm, seconds: float, check: Callable[[], None]) -> Progress:
    """What moves a bar by a song's seconds, as it is separated."""
    done = 0.0

    def progress(n_done: int, total: int | None) -> None:
        nonlocal done
        check()
        now = seconds * n_done / total if total else 0.0
        bar.update(now - done)
        done = now

    return progress


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write a model as one file: weights, or one hop of it for other programs",
        description="Writes a model's weights with their configuration, as Asteroid's dictionary "
        "or as safetensors; or the model as a function of one hop of the mixture and a state, "
        "zeros before a track, whose results are estimates and the next state. Estimates are not "
        "limited to full scale.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder, file, Hub name (user/model), URL or preset")
    add("-o", "--output", required=True, metavar="FILE")
    suffixes = ", ".join(f"{form} for {suffix}" for suffix, form in EXPORT_SUFFIXES.items())
    forms = dict.fromkeys(EXPORT_SUFFIXES.values())
    add("--format", choices=forms, help=f"(default: {suffixes})")
    add("--hop", type=int, metavar="N", help="samples per call, a multiple of the model's step")
    add("--batch-size", type=int, metavar="N", help="tracks side by side (default: 1)")
    parser.set_defaults(command=export)


def export(options: argparse.Namespace) -> int:
    """`waveunet export`."""
    path = Path(options.output).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file.")
    form = options.format or EXPORT_SUFFIXES.get(path.suffix)
    if form is None:
        *first, last = EXPORT_SUFFIXES
        known = f"{', '.join(first)} or {last}"
        raise ValueError(f"{path} does not end in {known}; say which with --format.")
    if form in weights.FORMATS and (options.hop, options.batch_size) != (None, None):
        raise ValueError(f"--hop and --batch-size are of {' and '.join(EXPORT_FORMATS)} only.")
    _check_writable(path.parent)
    model = load(options.model)
    if form in weights.FORMATS:
        conf = model.serialize()
        if not _is_preset(options.model):
            conf["infos"] = weights.plain(weights.read(options.model)["infos"])
        weights.write(conf, path, form)
        print(path)
        return 0
    batch_size = 1 if options.batch_size is None else options.batch_size
    exported = export_step(model, path, form, options.hop, batch_size)
    print(path)
    for name, value in exported.metadata.items():
        print(f"  {name}: {' '.join(value.splitlines())}")
    return 0


def _add_convert(commands: Any) -> None:
    parser = commands.add_parser(
        "convert",
        help="make a model of a TensorFlow checkpoint of the paper's code",
        description="Writes the model that a checkpoint of the paper's own code holds as a folder "
        "OUT, for --model. Its sizes are read from the checkpoint; what that does not tell is the "
        "preset's, or is inferred from its name and sizes, with a warning that says what.",
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
    from .experiment import tf_bundle, tf_checkpoint

    said = {
        "sources": options.sources,
        "sample_rate": options.sample_rate,
        "context": None if options.padding is None else options.padding == "context",
        "output_activation": options.activation,
    }
    said = {name: value for name, value in said.items() if value is not None}
    preset = None if options.preset == "inferred" else options.preset
    model = tf_checkpoint.convert(options.checkpoint, preset, options.verify, **said)
    source = tf_bundle.locate(options.checkpoint).name
    weights.save(model.serialize(converted_from=source), options.output)
    print(options.output)
    for name, value in model.get_model_args().items():
        told = "" if name not in tf_checkpoint.UNTOLD else "  (not from the checkpoint)"
        print(f"  {name}: {value}{told}")
    print("from asteroid_waveunet import WaveUNet")
    print(f"model = WaveUNet.from_pretrained({options.output!r})")
    return 0


def load(name: str, device: str | None = None) -> WaveUNet:
    """A model that does not clip, by folder, file, Hub name, URL or preset.

    It is `--clip` that decides on samples beyond full scale, when files are written.

    Raises:
        FileNotFoundError: if nothing has that name.
        ValueError: if it holds no model, or there is no such device.
    """
    if _is_preset(name):
        model = presets.make(name)
        warnings.warn(
            f"{name} is a preset: a model that was never trained, whose estimates mean nothing. "
            "Name a trained one by its folder, file, Hub name or URL.",
            stacklevel=2,
        )
    else:
        model = WaveUNet.from_pretrained(name)
    return model.to(_device(device)).train()


def _is_preset(name: str) -> bool:
    return "/" not in name and not Path(name).suffix and not Path(name).exists()


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=name).cpu()
        return torch.device(name)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as reason:
        detail = str(reason).splitlines()[0]
        raise ValueError(f"There is no device {name!r} here ({detail}); cpu always is.") from reason


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


def _check_writable(folder: Path) -> None:
    """Finds out before the work.

    Raises:
        OSError: if files cannot be written into the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as reason:
        raise OSError(
            f"Nothing can be written into {folder} ({reason.strerror}); name another with -o."
        ) from reason


if __name__ == "__main__":
    sys.exit(main())
