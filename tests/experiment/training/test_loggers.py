"""Loggers by name: what is always there, what is not installed, and the run that goes on."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from asteroid_waveunet.experiment.training import loggers


def kinds(found):
    return [type(logger) for logger in found]


def test_the_table_is_written_whatever_else_is_asked_for(tmp_path):
    for names in ([], ["csv"], ["tensorboard"], ["tensorboard", "csv", "csv"]):
        found = loggers.make(names, tmp_path)
        found[-1].log_metrics({"loss": 0.5}, step=3)
        found[-1].save()
        assert isinstance(found[-1], CSVLogger)
        assert [TensorBoardLogger] * ("tensorboard" in names) == kinds(found[:-1])
    with open(tmp_path / "logs" / "csv" / "metrics.csv") as file:
        assert list(csv.DictReader(file)) == [{"loss": "0.5", "step": "3"}]


def test_what_is_not_installed_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="wandb needs a package .*: pip install wandb"):
        loggers.make(["wandb", "csv"], tmp_path)
    assert list(tmp_path.iterdir()) == []
    loggers.check(["csv", "tensorboard"])


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


def wandb_of(exp_dir, step=0):
    found, _ = loggers.make(["wandb"], exp_dir, step)
    assert isinstance(found, WandbLogger)
    return found


@pytest.mark.filterwarnings("ignore")
def test_a_training_that_goes_on_logs_to_the_same_run_and_a_new_one_does_not(tmp_path, offline):
    pytest.importorskip("wandb")
    exp_dir = tmp_path / "m4_songs"
    first = wandb_of(exp_dir)
    run = first.experiment
    assert (run.project, run.name, run.offline) == ("asteroid-waveunet", "m4_songs", True)
    first.log_metrics({"loss": 1.0}, step=1)
    run.finish()
    again = wandb_of(exp_dir, step=10)
    assert again.experiment.id == run.id
    again.experiment.finish()
    assert wandb_of(exp_dir).version != run.id
    assert list((exp_dir / "logs" / "wandb").glob(f"offline-run-*-{run.id}/*.wandb"))


def test_a_configuration_names_loggers_without_lightning():
    code = (
        "import sys\n"
        "for name in ('pytorch_lightning', 'wandb', 'tensorboard'): sys.modules[name] = None\n"
        "from asteroid_waveunet.experiment.settings import Training\n"
        "Training(logger=['wandb'])\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
