"""Runs the tests of loading, training and publishing with other versions of what they stand on.

    python tools/try_versions.py oldest                  the oldest that setup.py allows
    python tools/try_versions.py newest                  the newest there are
    python tools/try_versions.py oldest torch==2.13.0    but with this one
    python tools/try_versions.py huggingface_hub==1.0.1  this one, and otherwise constraints.txt

Not a part of `make test`: it makes an environment in a temporary folder, some 1.5 GB, which is
removed again. Of torch, PyPI has builds for CUDA on Linux, of several GB; those for the CPU come
with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu. Ends with a line for the README.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "pytorch-lightning", "huggingface_hub")
TESTS = (
    *("weights", "remote", "hub", "publishing", "upload"),
    *("training", "checkpoints", "rounds", "averaging", "monitoring"),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="+", metavar="oldest|newest|PACKAGE==VERSION")
    pins = wanted(parser.parse_args().versions)
    with tempfile.TemporaryDirectory(prefix="versions-") as folder:
        python = str(make(Path(folder), pins))
        tests = [f"tests/test_{name}.py" for name in TESTS]
        environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
        result = subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(result.stdout)
        installed = [version(python, name) for name in PACKAGES]
    summary = result.stdout.splitlines()[-1].strip("= ")
    print(f"| {' | '.join([sys.version.split()[0], *installed, summary])} |")
    return result.returncode


def wanted(words: list[str]) -> dict[str, str]:
    """Package -> what pip is asked for."""
    ends = {
        "oldest": {name: f"{name}=={lowest(name)}" for name in PACKAGES},
        "newest": {name: f"{name}{bounds(name)}" for name in PACKAGES},
    }
    pins: dict[str, str] = {}
    for word in words:
        pins |= ends.get(word) or {word.partition("==")[0]: word}
    unknown = sorted(pins.keys() - set(PACKAGES))
    if unknown:
        sys.exit(f"error: {', '.join(unknown)}: expected oldest, newest or {', '.join(PACKAGES)}.")
    return pins


def bounds(name: str) -> str:
    """What setup.py asks of a package, such as `>=0.20,<3`."""
    found = re.search(rf'"{name}(>=[^"]*)"', (ROOT / "setup.py").read_text())
    assert found, f"setup.py does not name {name}"
    return found[1]


def lowest(name: str) -> str:
    return bounds(name).split(",")[0].removeprefix(">=")


def make(folder: Path, pins: dict[str, str]) -> Path:
    """An environment's Python, with these packages and otherwise those of constraints.txt."""
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    fixed = (ROOT / "constraints.txt").read_text().splitlines()
    kept = [line for line in fixed if line.partition("==")[0] not in pins]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(kept) + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints]
    # Torch first: what is there satisfies everybody who asks for some torch later.
    subprocess.run([*install, pins.get("torch", "torch"), "setuptools<82", "wheel"], check=True)
    tests = ["pytest", "pytest-timeout", "hypothesis"]
    package = ["--editable", f"{ROOT}[experiment,formats]"]
    subprocess.run([*install, *pins.values(), *tests, *package], check=True)
    return python


def version(python: str, name: str) -> str:
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run(
        [python, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
