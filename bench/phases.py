"""Run a command line of `waveunet` and print the seconds of its parts, as JSON.

    python phases.py STARTED separate song.mp3 ...

STARTED is the time at which the process was started, in seconds since 1970. The parts are those of
the thread that runs the network; waiting for threads that write counts as encoding.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

__all__ = ["main"]

Seconds = dict[str, dict[int, float]]
"""Part -> thread -> seconds."""


def main() -> None:
    """Run the command of `sys.argv`; the last line of the output is the result."""
    started, *words = sys.argv[1:]
    sys.argv[1:] = words
    from asteroid_waveunet import __main__ as program
    from asteroid_waveunet.cli import main as cli

    waveunet = cli.main
    seconds: Seconds = {}
    imported = 0.0

    def measured() -> int:
        nonlocal imported
        from asteroid_waveunet.separation import separate  # noqa: F401 - with all it imports

        imported = time.time()
        with patched(seconds):
            return waveunet()

    cli.main = measured
    try:
        status = program.main()
    finally:
        cli.main = waveunet
    network = next(iter(seconds["network"]))
    parts = {name: by_thread.get(network, 0.0) for name, by_thread in seconds.items()}
    parts["start"] = imported - float(started)
    print(json.dumps({**parts, "ended": time.time(), "status": status}), flush=True)


@contextlib.contextmanager
def patched(seconds: Seconds) -> Iterator[None]:
    """Add the seconds of each part, and undo that at the end."""
    import soundfile

    from asteroid_waveunet.audio.reader import Reader
    from asteroid_waveunet.audio.resampling import Resampler
    from asteroid_waveunet.models.base import SourceModel
    from asteroid_waveunet.streaming.stateful_wave_unet import StatefulWaveUNet

    methods: list[tuple[Any, str, str]] = [
        (SourceModel, "from_pretrained", "weights"),
        (Reader, "blocks", "decode"),
        (Resampler, "feed", "resample"),
        (StatefulWaveUNet, "__call__", "network"),
        (soundfile.SoundFile, "write", "encode"),
        (Future, "result", "encode"),
    ]
    before = [vars(owner).get(name) for owner, name, _ in methods]
    for owner, name, part in methods:
        plain = vars(owner)[name] if name in vars(owner) else getattr(owner, name)
        setattr(owner, name, _timed(plain, seconds.setdefault(part, {})))
    try:
        yield
    finally:
        for (owner, name, _), plain in zip(methods, before, strict=True):
            setattr(owner, name, plain) if plain is not None else delattr(owner, name)


def _timed(plain: Any, seconds: dict[int, float]) -> Any:
    """Return a function or class method that adds its time; of a generator, that of its items."""
    if isinstance(plain, classmethod):
        return classmethod(_timed(plain.__func__, seconds))

    def measured(call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            return call()
        finally:
            thread = threading.get_ident()
            seconds[thread] = seconds.get(thread, 0.0) + time.perf_counter() - start

    def timed(*args: Any, **kwargs: Any) -> Any:
        result = measured(lambda: plain(*args, **kwargs))
        return items(result) if isinstance(result, Iterator) else result

    def items(result: Iterator) -> Iterator:
        end = object()
        while (item := measured(lambda: next(result, end))) is not end:
            yield item

    return timed


if __name__ == "__main__":
    main()
