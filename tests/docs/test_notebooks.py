"""The notebooks run from top to bottom, at small sizes, one after the other in one shell."""

from __future__ import annotations

import re
import sys

import matplotlib
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from asteroid_waveunet import WaveUNet
from helpers.paths import ROOT

FOLDER = ROOT / "notebooks"

# What replaces the values of the cell with the tag "parameters".
SIZES = {
    "separate": "SECONDS = 2.0",
    "train": (
        "SONGS, SECONDS, EPOCHS, STEPS, BATCH, SEGMENT = 4, 2.0, 2, 2, 1, 512\n"
        "LEVELS, FILTERS = 2, 4"
    ),
}


def with_sizes(name: str) -> nbformat.NotebookNode:
    """Read a notebook and add a cell of smaller sizes after its parameters."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    (index,) = [
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    notebook.cells.insert(index + 1, nbformat.v4.new_code_cell(SIZES[name]))
    return notebook


class Shell(InteractiveShell):
    def enable_gui(self, gui=None):
        """Plots are displayed in the notebook, without windows."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Jupyter's shell without its process: this one has imported the packages already."""
    backend = matplotlib.get_backend()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.setattr(sys, "path", [*sys.path])
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        shell = Shell.instance(config=Config({"HistoryManager": {"enabled": False}}))
        shell.run_line_magic("matplotlib", "inline")
        yield shell
        Shell.clear_instance()
    matplotlib.use(backend)


@pytest.fixture(scope="module")
def executed(shell, tmp_path_factory):
    """Run the notebooks in a new folder; return it and what they show, see `kinds`."""
    folder = tmp_path_factory.mktemp("notebooks")
    outputs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in SIZES:
            shell.reset(new_session=False)
            outputs[name] = [
                kind
                for cell in with_sizes(name).cells
                if cell.cell_type == "code"
                for kind in kinds(shell, cell.source)
            ]
    return folder, outputs


def kinds(shell: Shell, source: str) -> list[str]:
    """Run a cell. Printed text as it is; of what is displayed: audio, image/png or another type."""
    with shell.display_trap, capture_output() as shown:
        shell.run_cell(source).raise_error()
    found = [shown.stdout] if shown.stdout else []
    for output in shown.outputs:
        audio = "<audio" in output.data.get("text/html", "")
        found += ["audio"] if audio else sorted(output.data)
    return found


def test_every_notebook_is_run():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(SIZES)


def test_notebooks_are_kept_without_results():
    for name in SIZES:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_separation_notebook_writes_and_plays_the_stems(executed):
    folder, outputs = executed
    stems = {path.name for path in (folder / "stems").iterdir()}
    assert stems == {"mixture_accompaniment.wav", "mixture_vocals.wav"}
    shown = outputs["separate"]
    assert shown.count("audio") == 4 and shown.count("image/png") == 1


def test_training_notebook_trains_scores_and_plays(executed):
    folder, outputs = executed
    model = WaveUNet.from_pretrained(folder / "ten_songs" / "best_model.pth")
    assert model.sources == ("bass", "drums", "other", "vocals")
    assert len(list((folder / "data").glob("demo_4+1x2s_16000Hz/train/*"))) == 4
    shown = outputs["train"]
    assert shown.count("audio") == 5 + 4 and shown.count("image/png") == 1
    medians = re.findall(r"(\w+): model (-?[\d.]+) dB, mixture (-?[\d.]+) dB", "\n".join(shown))
    assert [name for name, *_ in medians] == list(model.sources)
