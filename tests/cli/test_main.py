"""Help and wrong options are answered without torch; copied choices match the registries."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys

import pytest

from asteroid_waveunet import _early_interrupt
from asteroid_waveunet.cli import choices
from asteroid_waveunet.cli.main import COMMANDS
from asteroid_waveunet.experiment import settings
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import aggregation
from asteroid_waveunet.experiment.evaluation.metrics import track_metrics
from asteroid_waveunet.separation import stems
from asteroid_waveunet.streaming import export, options
from asteroid_waveunet.weights import serialization

LINES = [
    ([], 2),
    (["--help"], 0),
    (["--version"], 0),
    (["nonsense"], 2),
    *(([command, option], status) for command in COMMANDS for option, status in
      (("--help", 0), ("--nonsense", 2))),
    (["evaluate", "x"], 2),
    (["separate", "x", "-m", "y", "--jobs", "0"], 1),
    (["separate", "x", "-m", "M4", "--precision", "nonsense"], 2),
    (["export", "M4", "-o", "x", "--format", "nonsense"], 2),
]  # fmt: skip

# One process answers all lines and prints their statuses and the heavy modules that it loaded.
PROGRAM = """
import json, sys
from asteroid_waveunet.cli.main import main
statuses = []
for line in json.loads(sys.argv[1]):
    try:
        statuses.append(main(line))
    except SystemExit as end:
        statuses.append(end.code)
heavy = {"torch", "numpy", "soundfile", "asteroid"} & set(sys.modules)
print(json.dumps([statuses, sorted(heavy)]))
"""


def test_help_and_wrong_options_load_no_heavy_module():
    lines = json.dumps([line for line, _ in LINES])
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, lines], capture_output=True, text=True, check=True
    )
    statuses, heavy = json.loads(result.stdout.splitlines()[-1])
    assert dict(zip(map(str, LINES), statuses, strict=True)) == {
        str(line): line[1] for line in LINES
    }
    assert heavy == []


def test_choices_match_the_registries():
    assert choices.PRECISIONS == options.PRECISIONS
    assert choices.CHANNELS == options.CHANNELS
    assert tuple(suffix[1:] for suffix in stems.FORMATS) == choices.STEM_FORMATS
    assert choices.CLIPS == stems.CLIPS
    assert set(choices.BITS) == {bits for formats in stems.FORMATS.values() for bits in formats}
    assert sorted(choices.SUBSETS) == sorted(musdb.SUBSETS)
    assert tuple(track_metrics.ENGINES) == choices.ENGINES == settings.ENGINES
    assert choices.MISSING_STEMS == settings.MISSING_STEMS
    assert choices.LENGTHS == settings.LENGTHS
    assert choices.METRICS == aggregation.METRICS
    assert choices.WEIGHT_FORMATS == serialization.FORMAT_BY_SUFFIX
    assert {kind.suffix: name for name, kind in export.FORMATS.items()} == choices.EXPORT_FORMATS


def test_other_locales_than_utf_8_are_left():
    """Names have bytes of any encoding there, and C++ libraries take them for UTF-8."""
    other = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.run(
        [sys.executable, "-m", "asteroid_waveunet", "каша".encode()],
        env={**os.environ, **other},
        capture_output=True,
        check=False,
    )
    assert process.returncode == 2 and "'каша'".encode() in process.stderr


@pytest.mark.parametrize(
    ("words", "is_command"),
    [
        (["/usr/bin/waveunet", "separate"], True),
        (["-m", "separate"], False),  # of a module of another name, see sys.orig_argv
        (["/usr/bin/pytest"], False),
        ([], False),
    ],
)
def test_ctrl_c_ends_the_command_but_no_other_program_while_modules_load(
    monkeypatch, words, is_command
):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(sys, "argv", words)
        importlib.reload(_early_interrupt)
        assert (signal.getsignal(signal.SIGINT) is signal.SIG_DFL) == is_command
        _early_interrupt.restore()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        importlib.reload(_early_interrupt)
        _early_interrupt.restore()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        monkeypatch.undo()
        importlib.reload(_early_interrupt)
