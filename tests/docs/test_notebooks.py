"""The notebooks run from top to bottom, at small sizes, one after the other in one kernel."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient

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


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Run the notebooks in a new folder; return it and what they show, see `kinds`."""
    folder = tmp_path_factory.mktemp("notebooks")
    client = NotebookClient(
        nbformat.v4.new_notebook(), resources={"metadata": {"path": str(folder)}}, timeout=280
    )
    outputs = {}
    with client.setup_kernel():
        for name in SIZES:
            client.nb = with_sizes(name)
            client.reset_execution_trackers()
            for index, cell in enumerate(client.nb.cells):
                client.execute_cell(cell, index)
            outputs[name] = [
                kind for cell in client.nb.cells for kind in kinds(cell.get("outputs", []))
            ]
    return folder, outputs


def kinds(outputs: list) -> list[str]:
    """Printed text as it is; of what is displayed: audio, image/png or another type."""
    found = []
    for output in outputs:
        data = output.get("data", {})
        audio = "<audio" in data.get("text/html", "")
        found += [output["text"]] if "text" in output else ["audio"] if audio else sorted(data)
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
