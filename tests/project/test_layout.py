"""Limits on the size of folders, modules and functions, and the maps of packages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import asteroid_waveunet
from helpers.paths import LONGEST, TESTS

PACKAGE = Path(asteroid_waveunet.__file__).parent
MOST_MODULES, MOST_MODULE_LINES, MOST_FUNCTION_LINES = 12, 350, 50
NOT_COUNTED = ("__init__", "__main__", "conftest")

SOURCES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in [*SOURCES, *TESTS.rglob("*.py")]})


def modules_of(folder: Path) -> list[str]:
    return [
        p.stem
        for p in sorted(folder.glob("*.py"))
        if p.stem not in ("__init__", "__main__", "conftest")
    ]


def test_folders_have_at_most_twelve_modules():
    counts = {str(folder): len(modules_of(folder)) for folder in FOLDERS}
    assert {folder: n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_modules_above_350_lines_give_the_reason_in_their_docstring():
    """The docstring must contain the word "lines"."""
    long = {}
    for path in SOURCES:
        text = path.read_text("utf-8")
        n_lines = len(text.splitlines())
        if n_lines > MOST_MODULE_LINES and "lines" not in (
            ast.get_docstring(ast.parse(text)) or ""
        ):
            long[str(path)] = n_lines
    assert long == {}


def test_functions_have_at_most_50_lines():
    long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body
                n_lines = (body[-1].end_lineno or 0) - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    n_lines -= (body[0].end_lineno or 0) - body[0].lineno + 1
                if n_lines > MOST_FUNCTION_LINES:
                    long[f"{path}: {node.name}"] = n_lines
    assert long == {}


def test_package_docstrings_name_exactly_their_modules_and_packages():
    """A map has one line per module: its name, two or more spaces, and what it does."""
    wrong = {}
    for init in SOURCES:
        if init.name != "__init__.py" or init.parent == PACKAGE:
            continue
        folder = init.parent
        listed = re.findall(
            r"^(\w+)/? {2,}\S", ast.get_docstring(ast.parse(init.read_text("utf-8"))) or "", re.M
        )
        packages = [path.parent.name for path in folder.glob("*/__init__.py")]
        differing = set(listed) ^ {*modules_of(folder), *packages}
        if differing:
            wrong[str(folder)] = sorted(differing)
    assert wrong == {}


def test_text_files_are_read_and_written_with_an_encoding():
    """Without one, Python takes the locale's."""
    bare = []
    for path in [*SOURCES, *(PACKAGE.parent / "recipes").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _opens_text(node):
                bare += [f"{path}:{node.lineno}"]
    assert bare == []


def _opens_text(call: ast.Call) -> bool:
    """Return True for a call that opens a text file without an encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    if name == "open" and isinstance(call.func, ast.Name):
        modes = [a.value for a in call.args[1:] if isinstance(a, ast.Constant)]
        return not any("b" in str(mode) for mode in modes)
    return (name == "read_text" and not call.args) or (name == "write_text" and len(call.args) < 2)


def test_files_that_are_started_first_exist():
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []
