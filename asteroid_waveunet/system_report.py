"""Versions, devices and memory of this machine, for bug reports: `waveunet --version --verbose`."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from asteroid_waveunet._version import __version__

__all__ = ["system_report"]

LIBRARIES = (
    "torch",
    "torchaudio",
    "asteroid",
    "numpy",
    "soundfile",
    "av",
    "soxr",
    "safetensors",
    "huggingface_hub",
    "pytorch-lightning",
    "museval",
    "onnxruntime",
    "ray",
)

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = ("memory.max", "memory.current")


def system_report() -> str:
    """Return a few lines for a bug report. A part that is missing or broken is said in its place.

    >>> print(system_report())  # doctest: +ELLIPSIS
    asteroid-waveunet ...
    Python ...
    """
    return "\n".join(
        (
            f"asteroid-waveunet {__version__}",
            f"Python {platform.python_version()}, {platform.platform()}",
            f"Libraries: {', '.join(map(_installed, LIBRARIES))}",
            f"Devices: {_devices()}",
            f"Audio: {_libsndfile()}, {_pyav()}, {_ffmpeg()}",
            f"Memory: {_memory()}",
        )
    )


def _installed(name: str) -> str:
    """Return a package and its version, without importing it."""
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"no {name}"


def _import(name: str) -> Any:
    """Return a module, or None where importing it fails, with whatever error."""
    try:
        return importlib.import_module(name)
    except Exception:
        return None


def _devices() -> str:
    """Return the processor and what torch can compute on."""
    cpu = f"cpu ({platform.machine()}, {os.cpu_count()} cores"
    torch = _import("torch")
    if torch is None:
        return f"{cpu}; torch cannot be imported)"
    found = [f"{cpu}, {torch.get_num_threads()} threads)"]
    for index in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(index)
            state = f"{_gigabytes(free)} of {_gigabytes(total)} free"
        except RuntimeError as reason:
            state = f"unusable: {str(reason).splitlines()[0]}"
        found.append(f"cuda:{index} ({torch.cuda.get_device_name(index)}, {state})")
    if torch.backends.mps.is_available():
        found.append("mps")
    return ", ".join(found)


def _libsndfile() -> str:
    module = _import("soundfile")
    return f"libsndfile {module.__libsndfile_version__}" if module else "no libsndfile"


def _pyav() -> str:
    """Return the version of FFmpeg that PyAV brings along."""
    module = _import("av")
    return f"FFmpeg {module.ffmpeg_version_info} in av" if module else "no FFmpeg in av"


def _ffmpeg() -> str:
    """Return the version of the program `ffmpeg` that is found first."""
    program = shutil.which("ffmpeg")
    if program is None:
        return "no program ffmpeg"
    try:
        text = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as reason:
        return f"{program} fails ({type(reason).__name__})"
    words = text.stdout.split()  # ffmpeg version 5.1.6-0+deb12u1 Copyright ...
    return f"{program} {words[2]}" if words[:2] == ["ffmpeg", "version"] else f"{program} fails"


def _memory() -> str:
    """Return free and total memory, of the container where it has a limit."""
    try:
        lines = MEMINFO.read_text(encoding="utf-8").splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        total, free = (1024 * kilobytes[name] for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError, IndexError):
        return "unknown"
    try:
        limit, used = (int((CGROUP / name).read_text("utf-8")) for name in CGROUP_FILES)
    except (OSError, ValueError):  # no container, or none with a limit ("max")
        return f"{_gigabytes(free)} of {_gigabytes(total)} free"
    free, total = min(free, max(0, limit - used)), min(total, limit)
    return f"{_gigabytes(free)} of {_gigabytes(total)} free"


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB"
