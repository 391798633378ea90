"""Run the tests of loading, training and publishing with other versions of the dependencies.

    python tools/try_versions.py oldest                  oldest versions allowed by setup.py
    python tools/try_versions.py newest                  newest versions allowed
    python tools/try_versions.py oldest torch==2.13.0    oldest, except for this one
    python tools/try_versions.py huggingface_hub==1.0.1  this one, the others from constraints.txt

Not part of `make test`: it creates an environment of about 1.5 GB in a temporary folder, deleted
afterwards. On Linux PyPI's torch is a CUDA build of several GB; for a CPU build set
PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu. The last line of the output is a row for
docs/versions.md.
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
    "tests/weights",
    "tests/project/test_torch_hub.py",
    "tests/experiment/publishing",
    "tests/experiment/training",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="+", metavar="oldest|newest|PACKAGE==VERSION")
    pins = pip_arguments(parser.parse_args().versions)
    with tempfile.TemporaryDirectory(prefix="versions-") as folder:
        python = str(make_environment(Path(folder), pins))
        environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
        result = subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(result.stdout)
        installed = [installed_version(python, name) for name in PACKAGES]
    summary = result.stdout.splitlines()[-1].strip("= ")
    print(f"| {' | '.join([sys.version.split()[0], *installed, summary])} |")
    return result.returncode


def pip_arguments(words: list[str]) -> dict[str, str]:
    """Return package -> requirement for pip."""
    sets = {
        "oldest": {name: f"{name}=={lowest(name)}" for name in PACKAGES},
        "newest": {name: f"{name}{bounds(name)}" for name in PACKAGES},
    }
    pins: dict[str, str] = {}
    for word in words:
        pins |= sets.get(word) or {word.partition("==")[0]: word}
    unknown = sorted(pins.keys() - set(PACKAGES))
    if unknown:
        sys.exit(f"error: {', '.join(unknown)}: expected oldest, newest or {', '.join(PACKAGES)}.")
    return pins


def bounds(name: str) -> str:
    """Return the version bounds of a package in setup.py, such as `>=0.20,<3`."""
    found = re.search(rf'"{name}(>=[^"]*)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert found, f"setup.py does not name {name}"
    return found[1]


def lowest(name: str) -> str:
    """Return the lowest version allowed by setup.py."""
    return bounds(name).split(",")[0].removeprefix(">=")


def make_environment(folder: Path, pins: dict[str, str]) -> Path:
    """Install these requirements, and constraints.txt for the rest; return the interpreter."""
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    fixed = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constrained = [line for line in fixed if line.partition("==")[0] not in pins]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(constrained) + "\n", encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints]
    # Torch first: it then satisfies every later requirement of torch.
    subprocess.run([*install, pins.get("torch", "torch"), "setuptools<82", "wheel"], check=True)
    test_tools = ["pytest", "pytest-timeout", "hypothesis"]
    package = ["--editable", f"{ROOT}[experiment]"]
    subprocess.run([*install, *pins.values(), *test_tools, *package], check=True)
    return python


def installed_version(python: str, name: str) -> str:
    """Return the version of a package in an environment."""
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run(
        [python, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
