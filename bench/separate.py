"""Benchmark separation against the reference's algorithm and other separators.

From the repository's root:

    python bench/separate.py                          # everything, into bench/RESULTS.md
    python bench/separate.py --only speed memory
    python bench/separate.py --device cuda
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial

import measure
import torch
from others import OTHERS
from processes import command, memory, policy
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet import Stream, WaveUNet, presets
from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.streaming.base import MAX_HOP
from asteroid_waveunet.streaming.stateful_wave_unet import StatefulWaveUNet

PRESETS = ("M4", "M5-HighSR")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PACKAGES = ("torch", "asteroid", "asteroid-waveunet", "openunmix", "demucs")
CD = 44100


def fresh(name: str, device: str) -> WaveUNet:
    """Return a preset with reproducible random weights, in evaluation mode."""
    torch.manual_seed(0)
    return presets.make(name).eval().to(device)


def streamed(model: WaveUNet, track: Tensor, dtype: torch.dtype) -> Tensor:
    """Separate a track in blocks of the network's largest hop."""
    with Stream(model, dtype=dtype) as stream:
        parts = [stream.feed(block) for block in track.split(MAX_HOP, dim=-1)]
        parts.append(stream.flush())
    return torch.cat(parts, dim=-1)


def speed(args: argparse.Namespace) -> str:
    """Speed compared with the reference's algorithm."""
    rows = [row for name in PRESETS for row in speed_rows(name, args)]
    return (
        f"Seconds of computing per second of stereo audio, on {args.seconds:g} s: median (range) "
        f"of {args.repeats} turns. Target: `Stream` 5 times as fast as the reference's algorithm "
        "in float32, 10 times in bfloat16.\n\n"
        + measure.table(["model", "Hz", "way", "s / s", "times as fast"], rows)
    )


def speed_rows(name: str, args: argparse.Namespace) -> Iterator[list]:
    """Yield a table row per method."""
    model = fresh(name, args.device)
    clip = measure.white_noise(2, args.seconds, model.sample_rate).to(args.device)
    ways = {
        "reference: `predict_track`, float32": partial(model.predict_track, clip),
        "`model(track)`, float32": partial(model, clip),
        **{f"`Stream`, {dtype}": partial(streamed, model, clip, t) for dtype, t in DTYPES.items()},
    }
    seconds = measure.interleaved(ways, args.repeats, args.device)
    reference, *_ = (statistics.median(measured) for measured in seconds.values())
    for way, measured in seconds.items():
        ratio = f"{reference / statistics.median(measured):.1f}"
        yield [name, model.sample_rate, way, measure.spread(measured, args.seconds), ratio]


SONGS, SONG_SECONDS = 10, 60
"""Number of songs, and seconds of each, at most."""


def rounding(args: argparse.Namespace) -> str:
    """Accuracy loss of bfloat16 on music."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            kind, songs = measure.songs(args.music, folder, SONGS)
        except ImportError as reason:
            return f'Not measured: {reason}; `pip install ".[experiment]"` brings it.'
        models = {f"{name}, random weights": fresh(name, args.device) for name in PRESETS}
        if args.model:
            models[args.model] = WaveUNet.from_pretrained(args.model).to(args.device)
        rows = [row for title, model in models.items() for row in cost_rows(title, model, songs)]
    return (
        f"On {len(songs)} {kind}, {SONG_SECONDS} s of each at most. Error: of the estimates in "
        "bfloat16 to those in float32, relative to these, over all songs. SDR: of the estimates "
        "to the true sources, mean over the songs; and what bfloat16 loses of it, on average and "
        "in the worst song. Target: less than 0.01 dB.\n\n"
        + measure.table(
            ["model", "source", "error, dB", "SDR, float32, dB", "lost, dB", "at worst"], rows
        )
    )


def cost_rows(title: str, model: WaveUNet, songs: list) -> Iterator[list]:
    """Yield a table row per source."""
    figures = torch.stack([energies(model, song) for song in songs])  # (songs, 5, n_src)
    truth, exact, error, distance, rounded = figures.unbind(1)
    level = 10 * (error.sum(0) / exact.sum(0)).log10()
    sdr = 10 * (truth / distance).log10()
    lost = sdr - 10 * (truth / rounded).log10()
    for i, source in enumerate(model.sources):
        audible = truth[:, i] > 0  # a silent source has no SDR
        mean, worst = lost[audible, i].mean(), max(lost[audible, i].tolist(), default=math.nan)
        before = f"{level[i]:.1f}", f"{sdr[audible, i].mean():.2f}"
        yield [title, source, *before, f"{mean:.4f}", f"{worst:.4f}"]


def energies(model: WaveUNet, song) -> Tensor:
    """Return energies `(5, n_src)`.

    Rows: the true sources, the estimates in float32, the error of bfloat16, and the distance of the
    estimates from the true sources in float32 and in bfloat16.
    """
    mixture, groups, rate = song.mixture_and_groups(model.sources)
    signals = torch.stack([mixture, *(groups[source] for source in model.sources)])
    signals = resample(signals[..., : SONG_SECONDS * rate], rate, model.sample_rate)
    signals = to_channels(signals, model.in_channels).to(model.bottleneck.weight.device)
    mixture, truth = signals[0], signals[1:].double()
    exact, rounded = (streamed(model, mixture, t).double() for t in DTYPES.values())
    exact, rounded = exact.view_as(truth), rounded.view_as(truth)
    parts = [truth, exact, rounded - exact, truth - exact, truth - rounded]
    return torch.stack(parts).square().sum((-2, -1)).cpu()


# Down blocks of three levels: level, input channels, output channels.
CONVOLUTIONS = ((4, 96, 120), (6, 144, 168), (8, 192, 216))


def share(args: argparse.Namespace) -> str:
    """Share of the machine's peak performance."""
    rows = [row for dtype in DTYPES for row in share_rows(dtype, args)]
    return (
        "The peak is the fastest turn of the fastest matrix product or convolution; ours is the "
        "median. Done: the multiply-adds of the convolutions as they are run, upsampling folded "
        "into their kernels; nominal: of the network as it is drawn; both for the clip's samples, "
        "not for the context around it. Target: 60 % in float32; in bfloat16 memory is the limit."
        "\n\n" + measure.table(["dtype", "what", "multiply-adds", "GFLOP / s", "share"], rows)
    )


def share_rows(dtype: str, args: argparse.Namespace) -> Iterator[list]:
    """Yield a table row per kernel, then two per model."""
    models = {name: fresh(name, args.device) for name in PRESETS}
    clips = {
        name: measure.white_noise(2, args.seconds, model.sample_rate).to(args.device)
        for name, model in models.items()
    }
    kernels = {**products(DTYPES[dtype], args.device), **convolutions(DTYPES[dtype], args.device)}
    ways = {name: kernel for name, (kernel, _) in kernels.items()}
    ours = {name: partial(streamed, models[name], clips[name], DTYPES[dtype]) for name in PRESETS}
    seconds = measure.interleaved({**ways, **ours}, args.repeats, args.device)
    rates = {name: 2e-9 * n / min(seconds[name]) for name, (_, n) in kernels.items()}
    peak = max(rates.values())
    for name, rate in rates.items():
        yield [dtype, name, "", f"{rate:.0f}", f"{rate / peak:.0%}"]
    for name, model in models.items():
        throughput = clips[name].shape[-1] / statistics.median(seconds[name])
        for how, each in (("done", done(model)), ("nominal", nominal(model))):
            rate = 2e-9 * each * throughput
            counted = f"{each / 1e3:.0f} k per sample, {how}"
            yield [dtype, name, counted, f"{rate:.0f}", f"{rate / peak:.0%}"]


def products(dtype: torch.dtype, device: str) -> dict[str, tuple[partial, float]]:
    """Return products of square matrices with their multiply-adds."""
    matrices = {n: torch.randn(n, n, device=device).to(dtype) for n in (2048, 4096)}
    return {f"product, {n}": (partial(torch.mm, a, a), n**3) for n, a in matrices.items()}


def convolutions(dtype: torch.dtype, device: str) -> dict[str, tuple[partial, float]]:
    """Return convolutions of 8 hops of their level with their multiply-adds."""
    work = {}
    for level, n_in, n_out in CONVOLUTIONS:
        n_samples = 8 * MAX_HOP >> level
        image = torch.randn(1, n_in, 1, n_samples + 14, device=device).to(dtype)
        weight = torch.randn(n_out, n_in, 1, 15, device=device).to(dtype)
        image, weight = (x.to(memory_format=torch.channels_last) for x in (image, weight))
        kernel = partial(F.conv2d, image, weight)
        work[f"convolution, {n_in} to {n_out}"] = kernel, weight.numel() * n_samples
    return work


def done(model: WaveUNet) -> float:
    """Count multiply-adds per sample of `StatefulWaveUNet`, for a model with context.

    A convolution uses each weight once per sample of its level, which has 2**-level samples per
    sample of the track. The convolution after an upsampling runs before it, one level below.
    """
    step = StatefulWaveUNet(model)
    total = step.bottleneck.weight.numel() / 2 ** len(step.down)
    levels = zip(step.down, step.skips, step.below, strict=True)
    for level, (down, skip, below) in enumerate(levels):
        total += (down.weight.numel() + skip.weight.numel()) / 2**level
        total += below.convolution.weight.numel() / 2 ** (level + 1)
    return total + sum(convolution.weight.numel() for convolution in step.head_convolutions)


def nominal(model: WaveUNet) -> float:
    """Count multiply-adds per sample of the network as the paper draws it."""
    total = model.bottleneck.weight.numel() / 2 ** len(model.down)
    for level, (down, up) in enumerate(zip(model.down, reversed(model.up), strict=True)):
        total += (down.conv.weight.numel() + up.conv.weight.numel()) / 2**level
    return total + model.head.conv.weight.numel()


def others(args: argparse.Namespace) -> str:
    """Speed compared with other separators."""
    clip = measure.white_noise(2, args.seconds, CD).to(args.device)
    ways = {
        f"{name}, {dtype}": partial(at_cd_rate, fresh(name, args.device), clip, DTYPES[dtype])
        for dtype in DTYPES
        for name in PRESETS
    }
    missing = []
    for title, (package, make) in OTHERS.items():
        try:
            ways[title] = make(clip)
        except ModuleNotFoundError:
            missing.append([title, f"not installed: `pip install {package}`", "", ""])
    seconds = measure.interleaved(ways, args.repeats, args.device)
    medians = {title: statistics.median(measured) for title, measured in seconds.items()}
    ours = [f"{name}, float32" for name in PRESETS]
    rows = []
    for title, measured in seconds.items():
        multiples = [f"{medians[title] / medians[our]:.2g}" for our in ours]
        rows.append([title, measure.spread(measured, args.seconds), *multiples])
    return (
        f"Seconds of computing per second of stereo audio of {CD} Hz, on {args.seconds:g} s: "
        f"median (range) of {args.repeats} turns, or of one that takes {measure.LONG:g} s or "
        f"more. M4 with the way to its {presets.make('M4').sample_rate} Hz and back. Random "
        "weights, which time does not depend on; of quality this says nothing. Open-Unmix and "
        "Demucs make four sources, the others two. Conv-TasNet has its default sizes, which are "
        "made for speech at 8000 Hz.\n\n"
        + measure.table(["what", "s / s", *(f"times {our}" for our in ours)], [*rows, *missing])
    )


def at_cd_rate(model: WaveUNet, clip: Tensor, dtype: torch.dtype) -> Tensor:
    """Separate a clip of 44100 Hz, including resampling."""
    estimates = streamed(model, resample(clip, CD, model.sample_rate), dtype)
    return resample(estimates, model.sample_rate, CD, length=clip.shape[-1])


def album(args: argparse.Namespace) -> str:
    """Duration of separating an album."""
    rows = []
    for name in PRESETS:
        model = fresh(name, args.device)
        track = measure.white_noise(2, 60 * args.album, model.sample_rate)
        ways = {dtype: partial(streamed, model, track, t) for dtype, t in DTYPES.items()}
        for dtype, measured in measure.interleaved(ways, args.repeats, args.device).items():
            factor = 60 * args.album / statistics.median(measured)
            rows.append([name, dtype, measure.spread(measured), f"{factor:.0f}"])
    return (
        f"{args.album:g} min of stereo audio, block by block from the computer's memory to the "
        "device and back.\n\n"
        + measure.table(["model", "dtype", "s", "times as fast as it plays"], rows)
    )


def padding(args: argparse.Namespace) -> str:
    """Streaming with same padding compared with context."""
    rows = []
    for dtype, upsampling in itertools.product(DTYPES, ("linear", "learned")):
        models = {
            context: presets.make("M4", context=context, upsampling=upsampling).eval()
            for context in (True, False)
        }
        clip = measure.white_noise(2, args.seconds, models[True].sample_rate).to(args.device)
        ways = {
            str(context): partial(streamed, model.to(args.device), clip, DTYPES[dtype])
            for context, model in models.items()
        }
        context, same = measure.interleaved(ways, args.repeats, args.device).values()
        ratios = [b / a for a, b in zip(context, same, strict=True)]
        spreads = (measure.spread(each, args.seconds) for each in (context, same))
        rows.append([dtype, upsampling, *spreads, measure.spread(ratios)])
    return (
        f"M4 at its sizes, {args.seconds:g} s of stereo: seconds per second, median (range) of "
        f"{args.repeats} turns, and same padding's multiple of context in the same turn. Target: "
        "1.2 at most.\n\n"
        + measure.table(["dtype", "upsampling", "context", "same padding", "multiple"], rows)
    )


PARTS = {
    part.__name__: part
    for part in (speed, padding, rounding, share, memory, command, policy, others, album)
}
ON_CPU = ("memory", "command", "policy")


def arguments() -> argparse.Namespace:
    parser = measure.parser(__doc__, PARTS)
    add = parser.add_argument
    add("--seconds", type=float, default=60, help="length of the clip")
    add("--minutes", type=float, nargs="+", default=[1, 10, 60], help="lengths of files")
    add("--album", type=float, default=45, help="minutes of an album")
    add("--song-seconds", type=float, default=240, help="length of the song of `command`")
    add("--against", metavar="DIR", help="another checkout, which `command` compares with")
    add("--levels", type=int, default=12, help="levels of M4 in `policy`; the paper's are 12")
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add("--model", help="trained model for WaveUNet.from_pretrained")
    args = parser.parse_args()
    unsuited = ("album",) if args.device == "cpu" else ON_CPU
    args.only = args.only or [name for name in PARTS if name not in unsuited]
    return args


@torch.no_grad()
def main(args: argparse.Namespace) -> None:
    measure.write_parts(PARTS, args, args.device, PACKAGES)


if __name__ == "__main__":
    main(arguments())
