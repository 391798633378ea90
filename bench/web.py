"""Benchmark the page that separates songs, in headless Chromium.

From the repository's root, after `bash tools/check_js.sh`, which brings onnxruntime-web:

    python bench/web.py                       # everything, into bench/RESULTS.md
    python bench/web.py --only web
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import measure
import numpy as np
import psutil
import soundfile
import torch

from asteroid_waveunet import Stream, WaveUNet, presets
from asteroid_waveunet.experiment.web import folder, server
from asteroid_waveunet.streaming.base import MAX_HOP

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from helpers.browser import chromium  # noqa: E402

RUNTIME = ROOT / "tools" / "web"
PACKAGES = ("torch", "onnxruntime", "playwright", "asteroid-waveunet")
MODELS = {
    "free": lambda: WaveUNet.from_pretrained("free"),
    "M4, random weights": lambda: presets.make("M4"),
}
RATES = (22050, 44100)
THREADS = (1, 2)
EVERY = 0.25  # seconds between readings of the memory


@dataclass
class Page:
    """A page that is open in the browser."""

    page: Any

    @classmethod
    @contextlib.contextmanager
    def open(cls, browser: Any, address: str, threads: int) -> Iterator[Page]:
        context = browser.new_context()
        context.set_default_timeout(3_600_000)
        opened = context.new_page()
        opened.goto(f"{address}?threads={threads}")
        opened.locator("#choose").wait_for()
        yield cls(opened)
        context.close()

    def separate(self, song: Path) -> None:
        self.page.locator("#state").evaluate("state => { state.textContent = ''; }")
        self.page.set_input_files("#file", str(song))
        self.page.locator("#state", has_text="Done").wait_for()


@contextlib.contextmanager
def served(model: WaveUNet) -> Iterator[tuple[Path, str]]:
    """Write the page of a model and serve it; yield its folder and its address."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary, "page")
        folder.write_page(model, place, folder.Description("model", ""), local_runtime=RUNTIME)
        with server.make_server(place) as running:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            yield place, server.url(running)
            running.shutdown()


def write_noise(path: Path, seconds: float, rate: int) -> Path:
    """Write stereo noise in 16 bits, minute by minute."""
    generator = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
        for at in range(0, round(seconds * rate), 60 * rate):
            length = min(60 * rate, round(seconds * rate) - at)
            file.write(0.1 * generator.standard_normal((length, 2)))
    return path


def in_onnx_runtime(network: Path, seconds: float, threads: int) -> Callable[[], object]:
    """Return a function that separates noise hop by hop in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    _, *states = session.get_inputs()
    facts = session.get_modelmeta().custom_metadata_map
    shape = (1, int(facts["channels"]), int(facts["hop"]))
    hop = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    n_hops = -(-round(seconds * RATES[0]) // shape[-1])

    def run() -> None:
        state = [np.zeros(value.shape, np.float32) for value in states]
        for _ in range(n_hops):
            feed = {value.name: held for value, held in zip(states, state, strict=True)}
            _, *state = session.run(None, {"mixture": hop, **feed})

    return run


def in_torch(model: WaveUNet, seconds: float, threads: int) -> Callable[[], object]:
    """Return a function that separates noise with `Stream`."""
    track = torch.randn(2, round(seconds * RATES[0]))

    def run() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        with torch.inference_mode(), Stream(model) as stream:
            for block in track.split(MAX_HOP, dim=-1):
                stream.feed(block)
            stream.flush()
        torch.set_num_threads(before)

    return run


def web(args: argparse.Namespace) -> str:
    """Speed in the browser."""
    rows = [row for name, make in MODELS.items() for row in speed_rows(name, make().eval(), args)]
    return (
        f"Seconds of computing per second of stereo audio, on {args.seconds:g} s: median (range) "
        f"of {args.repeats} turns. The page in headless Chromium, by WebAssembly with SIMD, from "
        "the song's choice to its last stem; at 44100 Hz with the way to the model's rate and "
        "back. Target: M4 at 22050 Hz 5 times real time with 2 threads.\n\n"
        + measure.table(["model", "way", "threads", "song, Hz", "s / s", "times real time"], rows)
    )


def speed_rows(name: str, model: WaveUNet, args: argparse.Namespace) -> list[list[object]]:
    """Return the rows of a model: each way with each number of threads."""
    with chromium() as browser, served(model) as (place, address), contextlib.ExitStack() as stack:
        songs = {rate: write_noise(place / f"{rate}.wav", args.seconds, rate) for rate in RATES}
        short = write_noise(place / "short.wav", 1, RATES[0])
        ways: dict[tuple[str, int, int], Callable[[], object]] = {}
        for n in THREADS:
            page = stack.enter_context(Page.open(browser, address, n))
            page.separate(short)  # loads the model
            for rate, song in songs.items():
                ways["page", n, rate] = partial(page.separate, song)
            run = in_onnx_runtime(place / folder.NETWORK, args.seconds, n)
            ways["ONNX Runtime", n, RATES[0]] = run
            ways["PyTorch, `Stream`", n, RATES[0]] = in_torch(model, args.seconds, n)
        named = {str(way): run for way, run in ways.items()}
        timed = measure.interleaved(named, args.repeats)
    rows: list[list[object]] = []
    for way, seconds in zip(ways, timed.values(), strict=True):
        times = args.seconds / statistics.median(seconds)
        rows.append([name, *way, measure.spread(seconds, args.seconds), f"{times:.1f}"])
    return rows


def memory(args: argparse.Namespace) -> str:
    """Memory of the browser."""
    rows = []
    for minutes in args.minutes:
        with chromium() as browser, served(MODELS["free"]()) as (place, address):
            wav = write_noise(place / "song.wav", 60 * minutes, 44100)
            mp3 = place / "song.mp3"
            samples, rate = soundfile.read(wav, dtype="float32")
            soundfile.write(mp3, samples, rate)
            del samples
            for song in (wav, mp3):
                with Page.open(browser, address, args.threads) as page:
                    page.separate(write_noise(place / "short.wav", 1, RATES[0]))
                    before = browser_memory()
                    with peaks() as found:
                        page.separate(song)
                peak = [max(value, found[kind]) for kind, value in before.items()]
                after = [f"{value:.0f}" for value in (*before.values(), *peak)]
                rows.append([f"{minutes:g} min, {song.suffix[1:]}", *after])
    titles = [f"{kind}, {when}" for when in ("before", "peak") for kind in ("page", "other")]
    return (
        "MB of memory that Chromium's processes have for themselves, with `free` and stereo songs "
        "of 44100 Hz: before the song (with the model loaded), and at the peak of separating it. "
        "Page: the largest renderer, with the worker; other: all other processes, of which one "
        "keeps the stems and moves them to disk when they are many.\n\n"
        + measure.table(["song", *titles], rows)
    )


def browser_memory() -> dict[str, float]:
    """Return the memory of the browser's processes in MB: the largest renderer, the others."""
    page, total = 0.0, 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            own = process.memory_full_info().uss / 1e6
            is_page = "--type=renderer" in process.cmdline()
            total += own if "chrom" in process.name() else 0
            page = max(page, own if is_page else 0)
    return {"page": page, "other": total - page}


@contextlib.contextmanager
def peaks() -> Iterator[dict[str, float]]:
    """Yield the highest `browser_memory` of the block, complete at its end."""
    highest, ended = browser_memory(), threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            for name, value in browser_memory().items():
                highest[name] = max(highest[name], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield highest
    finally:
        ended.set()
        watcher.join()


PARTS: dict[str, measure.Part] = {"web": web, "web-memory": memory}


def arguments() -> argparse.Namespace:
    parser = measure.parser(__doc__, PARTS)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the timed songs")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10], help="of songs")
    args = parser.parse_args()
    args.only = args.only or list(PARTS)
    return args


def main() -> None:
    measure.write_parts(PARTS, arguments(), "cpu", PACKAGES)


if __name__ == "__main__":
    main()
