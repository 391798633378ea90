"""The files for contributors parse, and agree with setup.py, the Makefile and the version."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from asteroid_waveunet import __version__
from asteroid_waveunet.cli.main import main
from helpers.paths import ROOT


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_workflow_runs_ci_on_the_oldest_and_newest_python_of_setup():
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    oldest = re.findall(r'python_requires=">=([\d.]+)"', read("setup.py"))
    listed = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', read("setup.py"))
    assert [*oldest, listed[-1]] == jobs["tests"]["strategy"]["matrix"]["python"]
    assert listed == [f"3.{minor}" for minor in range(10, 10 + len(listed))]
    assert [step["run"] for step in jobs["tests"]["steps"] if "run" in step] == ["bash .ci/run"]
    assert {"run": "make docs"} in jobs["site"]["steps"]
    assert listed[-1] in jobs["site"]["container"]


def test_constraints_hold_on_every_supported_python():
    """A pin with a marker has a pin for the other versions of Python."""
    pins = [line for line in read("constraints.txt").splitlines() if ";" in line]
    for name in {line.split("==")[0] for line in pins}:
        markers = [line.split("; ")[1] for line in pins if line.startswith(f"{name}==")]
        assert markers == ['python_version >= "3.11"', 'python_version < "3.11"']


def test_pre_commit_runs_what_make_check_runs():
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    hooks = [hook["entry"] for hook in repository["hooks"]]
    check = re.search(r"^check: env\n((?:\t.+\n)+)", read("Makefile"), re.M)
    commands = re.findall(r"^\t@?(.+)", check[1].replace("$(VENV)", ".venv"), re.M)
    assert hooks == commands


def test_citation_states_the_version_and_the_paper():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    paper = citation["preferred-citation"]
    assert paper["title"] in read("README.md").replace("{", "").replace("}", "")
    assert [author["family-names"] for author in paper["authors"]] == ["Stoller", "Ewert", "Dixon"]


def test_issue_templates_ask_for_a_command_that_runs(capsys):
    forms = [yaml.safe_load(read(f".github/ISSUE_TEMPLATE/{n}.yml")) for n in ("bug", "feature")]
    for form in forms:
        assert {"name", "description", "body"} <= form.keys()
        labels = [item["attributes"]["label"] for item in form["body"]]
        (asked,) = [label for label in labels if "`" in label]
        words = re.search("`waveunet (.+)`", asked)[1].split()
        assert main(words) == 0
        assert "Devices: cpu" in capsys.readouterr().out


def test_contributing_names_files_and_targets_that_exist():
    text = read("CONTRIBUTING.md")
    folders = "asteroid_waveunet|tests|recipes|docs|tools|bench"
    for path in re.findall(rf"`((?:{folders})/[\w/.]*)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path
    commands = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if not line.startswith("#")
    ]
    for line in commands:
        if test := re.fullmatch(r"\.venv/bin/python -m pytest (\S+?)(?:::(\w+))?", line):
            assert f"def {test[2] or 'test_'}" in read(test[1])
        else:
            assert line.startswith("make "), line
            subprocess.run([*line.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("base", ["SourceModel", "LOSSES", "DATA"])
def test_contributing_names_what_new_parts_are_added_to(base):
    assert base in read("CONTRIBUTING.md")
