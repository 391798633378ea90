"""`waveunet --version --verbose` names versions, devices and memory, and what is broken."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata

import pytest

from asteroid_waveunet import __version__, system_report
from asteroid_waveunet.cli.main import main


def test_report_states_versions_devices_and_memory(capsys):
    assert main(["--version", "--verbose"]) == 0
    first = capsys.readouterr().out
    lines = first.splitlines()
    assert lines[0] == f"asteroid-waveunet {__version__}"
    assert f"Python {platform.python_version()}, {platform.system()}" in lines[1]
    for name in ("torch", "asteroid", "soundfile", "av"):
        assert f"{name} {metadata.version(name)}" in lines[2]
    assert [line.split(":")[0] for line in lines[2:]] == [
        "Libraries",
        "Devices",
        "Audio",
        "Memory",
    ]
    assert f"cpu ({platform.machine()}" in lines[3]
    assert "libsndfile 1." in lines[4] and " in av" in lines[4]
    assert main(["--verbose", "--version"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == lines[:3]


def test_verbose_alone_is_refused():
    with pytest.raises(SystemExit) as end:
        main(["--verbose"])
    assert end.value.code == 2


def test_missing_and_broken_parts_are_said(monkeypatch):
    def broken(name):
        raise OSError("libcudart.so.13: cannot open shared object file")

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(system_report.importlib, "import_module", broken)
    monkeypatch.setattr(system_report.metadata, "version", absent)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(system_report, "MEMINFO", system_report.Path("/no/such/file"))
    text = system_report.system_report()
    for part in (
        "no torch,",
        "torch cannot be imported",
        "no libsndfile, no FFmpeg in av, no program ffmpeg",
        "Memory: unknown",
    ):
        assert part in text


def test_version_of_the_program_ffmpeg(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for line, expected in {
        "echo ffmpeg version 7.1-x Copyright": f"{program} 7.1-x",
        "echo no library; exit 127": f"{program} fails",
    }.items():
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
        assert system_report._ffmpeg() == expected
    program.write_text("#!/no/such/interpreter\n")
    assert system_report._ffmpeg() == f"{program} fails (FileNotFoundError)"


def test_memory_of_a_container_with_a_limit(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 8000000 kB\n")
    monkeypatch.setattr(system_report, "MEMINFO", meminfo)
    monkeypatch.setattr(system_report, "CGROUP", tmp_path)
    assert system_report._memory() == "8.2 GB of 16.4 GB free"
    (tmp_path / "memory.current").write_text("1500000000\n")
    for limit, expected in {
        "max": "8.2 GB of 16.4 GB free",
        "4000000000": "2.5 GB of 4.0 GB free",
        "1000000000": "0.0 GB of 1.0 GB free",
    }.items():
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert system_report._memory() == expected


def test_devices_of_a_machine_with_gpus(monkeypatch):
    torch = system_report._import("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")

    def memory(index):
        if index:
            raise RuntimeError("CUDA error: out of memory\nmore")
        return 2e9, 80e9

    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    assert system_report._devices().split("), ")[1:] == [
        "cuda:0 (GPU 0, 2.0 GB of 80.0 GB free",
        "cuda:1 (GPU 1, unusable: CUDA error: out of memory)",
    ]


def test_importing_the_report_loads_no_library():
    code = (
        "import sys, asteroid_waveunet.system_report; "
        "print({'torch', 'numpy', 'av', 'soundfile'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
