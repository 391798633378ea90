"""Choose the precision of training on this machine, the setting `precision: auto`."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from pathlib import Path

import torch

from asteroid_waveunet.experiment.settings import AUTO, Training
from asteroid_waveunet.models.base import SourceModel

__all__ = ["cpu_info", "has_bfloat16", "resolve", "speed_up"]

FLOAT32, BFLOAT16 = "32-true", "bf16-mixed"
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # Linux's names; the last is Arm's
AMPERE = 8  # CUDA compute capability of the first cards with bfloat16
WORTH = 1.2  # times as fast as float32; below, float32 is as good and more exact
TURNS = 3  # the first warms up


def resolve(settings: Training, model: SourceModel) -> tuple[Training, str]:
    """Replace the precision `auto` by the one for this machine and model.

    A GPU computes in bfloat16 if it has it (NVIDIA: Ampere and newer). On a processor that has
    bfloat16 instructions both precisions are tried on a batch of noise: small networks are not
    faster in bfloat16, or even slower. Processes that train together on processors use float32,
    since each would measure for itself. The model and torch's random numbers stay as they are.

    Returns:
        The settings, and the reason in one line.
    """
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        if has_bfloat16():
            return _with(settings, BFLOAT16, f"{name} computes in bfloat16")
        return _with(settings, FLOAT32, f"{name} has no bfloat16")
    if torch.backends.mps.is_available() and os.environ.get("CUDA_VISIBLE_DEVICES") != "-1":
        return _with(settings, FLOAT32, "bfloat16 is for CUDA and processors")
    if not has_bfloat16():
        return _with(settings, FLOAT32, "this processor has no bfloat16 instructions")
    if settings.devices * settings.num_nodes > 1:
        return _with(settings, FLOAT32, "several processes train on processors")
    factor = speed_up(model, settings.batch_size, settings.segment_length)
    chosen = BFLOAT16 if factor >= WORTH else FLOAT32
    return _with(settings, chosen, f"a step in bfloat16 is {factor:.1f} times as fast as float32")


def _with(settings: Training, precision: str, reason: str) -> tuple[Training, str]:
    return dataclasses.replace(settings, precision=precision), f"{AUTO}: {precision} ({reason})"


def has_bfloat16() -> bool:
    """Return True if the GPU, or without one the processor, computes in bfloat16."""
    if torch.cuda.is_available():
        return torch.version.hip is not None or torch.cuda.get_device_capability()[0] >= AMPERE
    info = cpu_info()
    flags = info.get("flags", info.get("Features", "")).split()
    return any(instruction in flags for instruction in INSTRUCTIONS)


def cpu_info() -> dict[str, str]:
    """Return what Linux says about the processor; on other systems, nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    fields = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in fields}


def speed_up(model: SourceModel, batch_size: int, segment_length: int) -> float:
    """Measure how many times as fast as in float32 a training step is in bfloat16, on the CPU.

    A step is a forward and a backward pass of a batch of noise. Its time is the processor's, which
    other processes do not change.

    Args:
        segment_length: target samples, as in the settings.
    """
    network = copy.deepcopy(model).train()
    lengths = model.geometry.fit(segment_length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mixture = 0.1 * torch.randn(batch_size, model.in_channels, lengths.input)
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(TURNS):
            for half, measured in seconds.items():
                start = time.process_time()
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    estimates = network.forward_context(mixture)
                estimates.float().square().mean().backward()
                measured.append(time.process_time() - start)
    exact, rounded = (min(measured[1:]) for measured in seconds.values())
    return exact / rounded
