"""Build a release and try it: `make release`.

    python tools/release.py              checks, wheel and sdist in dist/, both tried
    python tools/release.py --prepare    CHANGELOG.md's unreleased entries become the version's

Checks that the tree is clean, and that changelog, citation and package state one version. The
wheel is built from the sdist. Each is installed into a new environment in a temporary folder, where
the package's own weights separate a generated song. Nothing is tagged or uploaded: the last lines
say how.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import venv
import wave
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEMS = ("accompaniment", "vocals")  # of the weights that `waveunet separate` uses by default
RATE, FRAMES = 44100, 33075


class NotReady(Exception):
    """A reason against the release of this tree, and what to do."""


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout to release")
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="move CHANGELOG.md's unreleased entries to a section of the version and today; "
        "look at it, and commit it",
    )
    options = parser.parse_args(words)
    try:
        if options.prepare:
            prepare(options.root, datetime.date.today())
            return 0
        version = check(options.root)
        wheel, sdist = build(options.root, version)
        check_content(options.root, wheel)
        with tempfile.TemporaryDirectory(prefix="release-") as folder:
            try_out(options.root, Path(folder), version, (wheel, sdist))
    except (NotReady, subprocess.CalledProcessError) as reason:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    print(f"Version {version} is ready:\n  {wheel}\n  {sdist}")
    push = f"git tag v{version} && git push origin v{version}"
    print(f"Next: {push} && twine upload {wheel} {sdist}")
    return 0


def check(root: Path) -> str:
    """Return the version if the tree can be released.

    Raises:
        NotReady: if not.
    """
    if changed := git(root, "status", "--porcelain").strip():
        raise NotReady(f"The tree has changes; commit or remove them:\n{changed}")
    version = version_of(root)
    if f"v{version}" in git(root, "tag").split():
        raise NotReady(
            f"v{version} is tagged already; raise the version in asteroid_waveunet/_version.py."
        )
    if re.findall(r"^version: (.+)$", read(root / "CITATION.cff"), re.M) != [version]:
        raise NotReady(f"CITATION.cff states another version than {version}; change it.")
    check_changelog(read(root / "CHANGELOG.md"), version)
    return version


def version_of(root: Path) -> str:
    """Return the version that the package states."""
    code = read(root / "asteroid_waveunet/_version.py")
    return re.findall(r'^__version__ = "(.+)"$', code, re.M)[0]


def prepare(root: Path, today: datetime.date) -> None:
    """Move the unreleased entries of the changelog to a section of the version.

    Raises:
        NotReady: if there is such a section, or no unreleased entry.
    """
    path, version = root / "CHANGELOG.md", version_of(root)
    unreleased = "## [Unreleased]\n"
    text = read(path)
    if f"## [{version}]" in text:
        raise NotReady(
            f"CHANGELOG.md has a section {version} already; raise the version in "
            "asteroid_waveunet/_version.py and CITATION.cff, or move the entries by hand."
        )
    text = text.replace(unreleased, f"{unreleased}\n## [{version}] - {today}\n", 1)
    check_changelog(text, version)
    path.write_text(text, encoding="utf-8")


def check_changelog(text: str, version: str) -> None:
    """Require a dated section for the version, with entries, and none left under Unreleased.

    Raises:
        NotReady: if not.
    """
    headings = re.split(r"^## \[(.+?)\](.*)$", text, flags=re.M)[1:]
    sections = {
        name: (date, content)
        for name, date, content in zip(headings[::3], headings[1::3], headings[2::3], strict=True)
    }
    heading = f"## [{version}] - YYYY-MM-DD"
    if version not in sections:
        raise NotReady(
            f"CHANGELOG.md has no section {version}; move the entries of [Unreleased] to "
            f"'{heading}'."
        )
    date, content = sections[version]
    if not re.fullmatch(r" - \d{4}-\d\d-\d\d", date.rstrip()):
        raise NotReady(f"CHANGELOG.md gives {version} no date; expected '{heading}'.")
    if "\n- " not in content:
        raise NotReady(f"CHANGELOG.md lists no change of {version}.")
    if "\n- " in sections.get("Unreleased", ("", ""))[1]:
        raise NotReady(f"CHANGELOG.md has entries under [Unreleased]; move them to {version}.")


def build(root: Path, version: str) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it."""
    dist = root / "dist"
    run(sys.executable, "-m", "build", "--outdir", dist, root)
    name = f"asteroid_waveunet-{version}"
    return dist / f"{name}-py3-none-any.whl", dist / f"{name}.tar.gz"


def check_content(root: Path, wheel: Path) -> None:
    """Require every file of the package in the wheel.

    Raises:
        NotReady: if one is missing.
    """
    tracked = set(git(root, "ls-files", "-z", "asteroid_waveunet").split("\0")) - {""}
    if missing := sorted(tracked - set(zipfile.ZipFile(wheel).namelist())):
        raise NotReady(
            f"{wheel.name} lacks {', '.join(missing)}; add them to package_data in setup.py."
        )


def try_out(root: Path, folder: Path, version: str, files: Sequence[Path]) -> None:
    """Install each file into one new environment, with the tested versions, and use it."""
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    pip = [programs / "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--constraint", root / "constraints.txt"]
    run(*pip, "torch", "setuptools<82", "wheel")
    write_song(folder / "song.wav")
    for number, file in enumerate(files):
        if number:
            run(programs / "pip", "uninstall", "--yes", "--quiet", "asteroid-waveunet")
        run(*pip, file)
        use(programs, folder, version, folder / f"stems{number}")


def use(programs: Path, folder: Path, version: str, output: Path) -> None:
    """Import the package, ask its version, separate a song.

    Raises:
        NotReady: if the package comes from elsewhere, or a result is not as expected.
    """
    code = "import asteroid_waveunet; print(asteroid_waveunet.__file__)"
    place = run(programs / "python", "-c", code, cwd=folder).strip()
    if not Path(place).is_relative_to(folder.resolve()) and not Path(place).is_relative_to(folder):
        raise NotReady(f"The package was imported from {place}; expected the new environment.")
    waveunet = programs / "waveunet"
    if (stated := run(waveunet, "--version", cwd=folder).strip()) != version:
        raise NotReady(f"waveunet --version prints {stated}; expected {version}.")
    print(run(waveunet, "--version", "--verbose", cwd=folder))
    run(waveunet, "separate", "song.wav", "--output", output, cwd=folder)
    for stem in STEMS:
        with wave.open(str(output / "song" / f"{stem}.wav")) as file:
            found = (file.getframerate(), file.getnchannels(), file.getnframes())
        if found != (RATE, 2, FRAMES):
            raise NotReady(f"{stem}.wav has rate, channels and frames {found}.")


def write_song(path: Path) -> None:
    """Write 0.75 s of two tones, stereo, 16 bits."""
    tones = (
        int(8000 * math.sin(2 * math.pi * hertz * n / RATE))
        for n in range(FRAMES)
        for hertz in (220, 330)
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE, FRAMES, "NONE", ""))
        file.writeframes(struct.pack(f"<{2 * FRAMES}h", *tones))


def run(*words: str | os.PathLike, cwd: Path | None = None) -> str:
    """Run a program without this process's PYTHONPATH; return what it prints."""
    print("$", *words, flush=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        words, cwd=cwd, env=clean, stdout=subprocess.PIPE, text=True, check=True
    )
    return result.stdout


def git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", root, *words], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
