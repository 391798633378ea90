"""tools/release.py refuses a tree that is not ready, and its built wheel is checked."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import zipfile

import pytest

import release
from asteroid_waveunet import __version__
from helpers.paths import ROOT

READY = f"# Changelog\n\n## [Unreleased]\n\n## [{__version__}] - 2026-01-31\n\n### Added\n- All.\n"


def git(folder, *words):
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.example"]
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    """A repository that is ready, of the files that are checked."""
    (tmp_path / "asteroid_waveunet").mkdir()
    for name in ("asteroid_waveunet/_version.py", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(READY)
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_clean_tree_with_changelog_and_citation_is_ready(checkout):
    assert release.check(checkout) == __version__


def test_changed_and_untracked_files_are_refused(checkout, capsys):
    (checkout / "notes.txt").write_text("new")
    assert release.main(["--root", str(checkout)]) == 1
    assert "?? notes.txt" in capsys.readouterr().err
    (checkout / "notes.txt").unlink()
    (checkout / "CHANGELOG.md").write_text(f"{READY}more\n")
    with pytest.raises(release.NotReady, match=r"M CHANGELOG\.md"):
        release.check(checkout)


def test_tagged_version_is_refused(checkout):
    git(checkout, "tag", f"v{__version__}")
    with pytest.raises(release.NotReady, match=r"tagged already.*_version\.py"):
        release.check(checkout)


def test_citation_of_another_version_is_refused(checkout):
    path = checkout / "CITATION.cff"
    path.write_text(path.read_text().replace(f"version: {__version__}", "version: 0.0.9"))
    git(checkout, "commit", "-am", "citation")
    with pytest.raises(release.NotReady, match=rf"CITATION\.cff.*{__version__}"):
        release.check(checkout)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("## [Unreleased]\n\n- All.\n", r"no section.*\[Unreleased\].*YYYY-MM-DD"),
        (READY.replace(" - 2026-01-31", ""), "no date"),
        (READY.replace("- All.", ""), "lists no change"),
        (READY.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"), r"under \[Unreleased\]"),
    ],
)
def test_changelog_without_the_version_is_refused(text, facts):
    with pytest.raises(release.NotReady, match=facts):
        release.check_changelog(text, __version__)


def test_unreleased_entries_become_those_of_the_version(checkout, capsys):
    changelog = checkout / "CHANGELOG.md"
    changelog.write_text(
        "# Changelog\n\n## [Unreleased]\n\n### Added\n- All.\n\n## [0.0.1] - 2020-01-01\n"
    )
    assert release.main(["--root", str(checkout), "--prepare"]) == 0
    git(checkout, "commit", "-am", "changelog")
    assert release.check(checkout) == __version__
    unreleased, section, earlier = changelog.read_text().split("\n## ")[1:]
    assert unreleased == "[Unreleased]\n" and earlier.startswith("[0.0.1]")
    assert re.fullmatch(rf"\[{__version__}\] - \d{{4}}-\d\d-\d\d\n\n### Added\n- All\.\n", section)
    assert release.main(["--root", str(checkout), "--prepare"]) == 1
    assert f"section {__version__} already" in capsys.readouterr().err
    changelog.write_text("# Changelog\n\n## [Unreleased]\n")
    with pytest.raises(release.NotReady, match="lists no change"):
        release.prepare(checkout, datetime.date(2026, 1, 31))


def test_wheel_without_a_file_of_the_package_is_refused(checkout):
    wheel = checkout / "package.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("asteroid_waveunet/_version.py", "")
    release.check_content(checkout, wheel)
    (checkout / "asteroid_waveunet" / "weights.bin").write_text("0")
    git(checkout, "add", ".")
    with pytest.raises(release.NotReady, match=r"lacks asteroid_waveunet/weights\.bin;"):
        release.check_content(checkout, wheel)
