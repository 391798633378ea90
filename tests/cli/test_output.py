"""Closed, broken and full outputs, and encodings that lack letters, do not fail the work."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from asteroid_waveunet.cli.main import main
from asteroid_waveunet.cli.streams.output import one_line, safe_output

PROGRAM = """
from asteroid_waveunet.cli.streams.output import one_line, safe_output
import sys
with safe_output():
    print("a line")
    print("a line", file=sys.stderr)
    with open("result", "w") as file:
        print(file.fileno() > 2, file=file)
"""


def print_lines(tmp_path, redirections):
    command = [sys.executable, "-c", PROGRAM]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirections}', "bash", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("redirections", [">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full"])
def test_work_with_closed_or_full_output_is_done(tmp_path, redirections):
    process = print_lines(tmp_path, redirections)
    assert process.returncode == 0 and "Traceback" not in process.stderr
    assert (tmp_path / "result").read_text() == "True\n", "no file becomes standard output"
    assert ("was lost: No space left" in process.stderr) == ("full" in redirections)


def test_work_with_a_broken_pipe_is_done(tmp_path):
    process = print_lines(tmp_path, "| true; exit ${PIPESTATUS[0]}")
    assert (process.returncode, process.stderr) == (0, "a line\n")


def test_letters_that_the_encoding_lacks_are_escaped(monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, "ascii"))
    with safe_output():
        print("é", os.fsdecode(b"\xe9"))
    assert content.getvalue() == b"\\xe9 \\udce9\n"


def test_control_characters_of_names_are_escaped(monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, "utf-8"))
    with safe_output():
        print("a\x1b[31m\u202eb\r", one_line("two\nlines\x07"))
    assert content.getvalue() == b"a\\x1b[31m\\u202eb\r two\\x0alines\\x07\n"


def test_file_that_begins_with_a_dash_is_no_unknown_option(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-song.wav").touch()
    with pytest.raises(SystemExit):
        main(["separate", "-song.wav", "other.wav"])
    assert "write ./-song.wav" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["separate", "song.wav", "-o", "-stems"])
    assert "written as ./-NAME" in capsys.readouterr().err


def test_streams_are_restored(monkeypatch):
    before = sys.stdout, sys.stderr
    with pytest.raises(SystemExit):
        main(["--version"])
    assert (sys.stdout, sys.stderr) == before
