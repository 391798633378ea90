"""Shared by the benchmarks: interleaved timing, tables, the results file, the machine."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path

import torch

from asteroid_waveunet.experiment.evaluation.model_cost import process_memory, white_noise

__all__ = [
    "interleaved",
    "machine",
    "parser",
    "process_memory",
    "songs",
    "spread",
    "table",
    "white_noise",
    "write_parts",
]

Part = Callable[[argparse.Namespace], str]
"""A part of a benchmark: measures and returns a text; its docstring is the title."""

LONG = 60.0
"""A call longer than this, in seconds, is not repeated."""

CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")  # Linux's names


def interleaved(
    ways: dict[str, Callable[[], object]], repeats: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Time each of the ways `repeats` times, in seconds.

    They take turns (A B C A B C ...), so a temporary slowdown of the machine affects all of them.
    The first turn is a warm-up; it counts only if no other follows (see `LONG`).
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + repeats):
        for name, way in ways.items():
            if not seconds[name] or seconds[name][0] < LONG:
                seconds[name].append(duration(way, device))
    return {name: measured[1:] or measured for name, measured in seconds.items()}


def duration(way: Callable[[], object], device: str = "cpu") -> float:
    """Time a call in seconds, including the device's pending work."""
    start = time.perf_counter()
    way()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def spread(values: Sequence[float], unit: float = 1.0) -> str:
    """Format median and range of values, in multiples of a unit.

    >>> spread([1.0, 3.0, 2.0], unit=2.0)
    '1 (0.5-1.5)'
    """
    middle, low, high = (f(values) / unit for f in (statistics.median, min, max))
    return f"{middle:.3g} ({low:.3g}-{high:.3g})"


def songs(folder: str | None, draft: str, most: int) -> tuple[str, list]:
    """Return a description and test songs in MUSDB18's layout; generate them without a folder."""
    from asteroid_waveunet.experiment.data import musdb
    from asteroid_waveunet.experiment.demo_songs import generate

    if folder:
        return "songs of a folder given by --music", musdb.tracks(folder, "test")[:most]
    generate.generate(draft, 1, 4, seconds=20, sample_rate=44100, progress=False)
    return "generated songs", musdb.tracks(draft, "test")[:most]


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine(device: str, packages: Iterable[str]) -> str:
    """Describe the measurement: command, processor, threads, versions, date."""
    versions = [f"{name} {metadata.version(name)}" for name in packages if is_installed(name)]
    if device == "cpu":
        hardware = f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    else:
        tf32 = "in TF32" if torch.backends.cudnn.allow_tf32 else "not in TF32"
        hardware = f"{torch.cuda.get_device_name()}, float32 convolutions {tf32}"
    return "; ".join(
        [
            f"`{shlex.join(['python', *sys.argv])}`",
            hardware,
            f"{platform.system()}, Python {platform.python_version()}, {', '.join(versions)}",
            f"{datetime.date.today()}",
        ]
    )


def is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def processor() -> str:
    """Return the processor's name and its vector and matrix instructions, where known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = fields.get("flags", fields.get("Features", "")).split()
    features = " ".join(feature for feature in CPU_FEATURES if feature in flags)
    return f"{fields.get('model name', platform.machine())} ({features})"


def parser(description: str | None, parts: dict[str, Part]) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    listed = "\n".join(f"{name:10}{part.__doc__}" for name, part in parts.items())
    result = argparse.ArgumentParser(
        description=f"{description}\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--only", nargs="+", choices=parts, help="parts to run (default: all that suit the device)")
    add("--threads", type=int, default=2)
    add("--repeats", type=int, default=5, help="timed turns, after one to warm up")
    add("--music", default=os.environ.get("WAVEUNET_TEST_MUSIC"), help="in MUSDB18's layout; by "
        "default $WAVEUNET_TEST_MUSIC, or generated songs")  # fmt: skip
    add("--output", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    return result


def write_parts(
    parts: dict[str, Part], args: argparse.Namespace, device: str, packages: Iterable[str]
) -> None:
    """Measure the parts `args.only`, print them and write them to the results file."""
    torch.set_num_threads(args.threads)
    for name in args.only:
        title = (parts[name].__doc__ or name).rstrip(".") + (
            ", on a GPU" if device != "cpu" else ""
        )
        text = f"## {title}\n\n{parts[name](args)}\n\n{machine(device, packages)}"
        print(text, end="\n\n", flush=True)
        write_section(args.output, f"{name} {device}", text)


def write_section(path: Path, name: str, text: str) -> None:
    """Replace the section between its marks in a results file, or append it."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    page = (
        path.read_text(encoding="utf-8")
        if path.exists()
        else "# Results\n\nGenerated: see README.md here.\n"
    )
    before, found, rest = page.partition(begin)
    after = rest.partition(end)[2] if found else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"{before if found else before + chr(10)}{begin}\n{text}\n\n{end}{after}", encoding="utf-8"
    )
