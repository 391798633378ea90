"""MkDocs hooks: pages that live outside of docs/, and links as they are written for GitHub.

README.md and its like are pages of the site by inclusion. Their links, and those of docs/, are
relative to the file in the repository. Here they become links to pages. Another file that is
linked is put on the site as it is; `{{ colab:PATH }}` becomes a link that opens a notebook in
Colab, where the repository is on GitHub.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]

# Page -> the file that it shows.
INCLUDED = {
    "index.md": "README.md",
    "recipe.md": "recipes/musdb18/README.md",
    "results.md": "recipes/musdb18/RESULTS.md",
    "free.md": "asteroid_waveunet/pretrained/free/README.md",
    "benchmarks.md": "bench/RESULTS.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
PAGES = {path: page for page, path in INCLUDED.items()}

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
COLAB = re.compile(r"\{\{ colab:(\S+) \}\}")


def on_config(config: Any) -> Any:
    if name := repository():
        config.repo_url = f"https://github.com/{name}"
        config.repo_name = name
    return config


def on_files(files: Any, config: Any) -> Any:
    for page, path in INCLUDED.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    uri = page.file.src_uri
    source = INCLUDED.get(uri, f"docs/{uri}")

    def replace(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        target = place(path)
        if target == path and files.get_file_from_path(path) is None:
            if not (ROOT / path).is_file():
                raise PluginError(f"{source} links to {link[1]}, which is no file.")
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
        return posixpath.relpath(target, posixpath.dirname(uri) or ".") + (link[2] or "")

    return COLAB.sub(lambda found: colab_link(found[1]), LINK.sub(replace, markdown))


def place(path: str) -> str:
    """Return where a file of the repository is on the site, as MkDocs names it."""
    return PAGES.get(path) or path.removeprefix("docs/")


def colab_link(notebook: str) -> str:
    """Return a link that opens a notebook in Colab, or how to do so without one."""
    if name := repository():
        url = f"https://colab.research.google.com/github/{name}/blob/main/{notebook}"
        return f"[open in Colab]({url})"
    return "in [Colab](https://colab.research.google.com): File, Upload notebook"


def repository() -> str | None:
    """Return `owner/name` on GitHub: of the workflow that runs this, or of the remote `origin`."""
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return name
    command = ["git", "-C", ROOT, "remote", "get-url", "origin"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?$", result.stdout.strip())
    return found[1] if found else None
