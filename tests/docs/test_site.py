"""The site's pages, links and figures; `make docs` builds it with strict links."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import yaml
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files

import draw_figures
import site_hooks
from asteroid_waveunet import presets
from helpers.paths import ROOT

DOCS = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
SHOWN = [*(ROOT / "docs").glob("*.md"), *(ROOT / path for path in site_hooks.INCLUDED.values())]
RUN_BY_TESTS, DATA = {"bash", "python", "cpp"}, {"text", "bibtex", "yaml"}


def pages(entry) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages(part)]


def test_navigation_holds_every_page_once():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    assert sorted(pages(nav)) == sorted([*DOCS, *site_hooks.INCLUDED])
    assert all((ROOT / path).is_file() for path in site_hooks.INCLUDED.values())


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_is_run_by_tests_or_says_what_it_needs(path):
    for language, code in re.findall(
        r"^```(\w*)\n(.*?)^```$", path.read_text("utf-8"), re.M | re.DOTALL
    ):
        if language == "sh":
            assert re.match(r"(#!.*\n)?# needs \w", code), code
        else:
            assert language in RUN_BY_TESTS | DATA, code


def markdown_on(page: str, text: str, files: Files) -> str:
    file = SimpleNamespace(src_uri=page)
    config = SimpleNamespace(
        site_dir="/site", use_directory_urls=True, plugins=SimpleNamespace(_current_plugin="hooks")
    )
    return site_hooks.on_page_markdown(
        text, page=SimpleNamespace(file=file), config=config, files=files
    )


def test_links_of_the_repository_become_links_of_the_site():
    files = Files([])
    for page, text, expected in (
        ("index.md", "[a](docs/separate.md)", "[a](separate.md)"),
        ("index.md", "[a](recipes/musdb18/README.md#training)", "[a](recipe.md#training)"),
        ("recipe.md", "[a](../../docs/evaluate.md#x)", "[a](evaluate.md#x)"),
        ("recipe.md", "[a](RESULTS.md)", "[a](results.md)"),
        ("separate.md", "[a](../bench/RESULTS.md) [b](#top)", "[a](benchmarks.md) [b](#top)"),
        ("start.md", "[a](https://a.example/b.md)", "[a](https://a.example/b.md)"),
        ("results.md", "![a](figures/aliasing.png)", "![a](recipes/musdb18/figures/aliasing.png)"),
        ("versions.md", "[a](../constraints.txt)", "[a](constraints.txt)"),
    ):
        assert markdown_on(page, text, files) == expected
    assert {file.src_uri for file in files} == {
        "recipes/musdb18/figures/aliasing.png",
        "constraints.txt",
    }
    with pytest.raises(PluginError, match=r"docs/start\.md links to \.\./absent\.md"):
        markdown_on("start.md", "[a](../absent.md)", files)


def test_notebooks_open_in_colab_where_the_repository_is_on_github(monkeypatch):
    text = "{{ colab:notebooks/separate.ipynb }}"
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    url = "https://colab.research.google.com/github/owner/name/blob/main/notebooks/separate.ipynb"
    assert markdown_on("start.md", text, Files([])) == f"[open in Colab]({url})"
    config = SimpleNamespace()
    assert site_hooks.on_config(config).repo_url == "https://github.com/owner/name"
    monkeypatch.delenv("GITHUB_REPOSITORY")
    for remote, name in {
        "git@github.com:a/b.c.git": "a/b.c",
        "https://github.com/a/b": "a/b",
        "/srv/git/a": None,
    }.items():
        result = SimpleNamespace(stdout=f"{remote}\n")
        monkeypatch.setattr(site_hooks.subprocess, "run", lambda *_, r=result, **__: r)
        assert site_hooks.repository() == name
    assert "Upload notebook" in markdown_on("start.md", text, Files([]))


@pytest.mark.parametrize("name", draw_figures.FIGURES)
def test_figures_are_those_that_the_script_draws(name):
    assert (draw_figures.IMAGES / name).read_text("utf-8") == draw_figures.FIGURES[name]()


def test_lengths_in_the_figure_are_the_network_of_m4():
    skips, ups, bottleneck = draw_figures.lengths()
    geometry = presets.make("M4").geometry
    assert geometry == draw_figures.GEOMETRY
    assert (len(skips), bottleneck, ups[0]) == (12, 9, geometry.fit(16384).output)
