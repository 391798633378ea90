"""Loggers by name; CSV tables and Weights & Biases runs continue after a resume."""

from __future__ import annotations

import csv

import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from asteroid_waveunet.experiment.training import loggers


def test_csv_is_always_written(tmp_path):
    for names in ([], ["csv"], ["tensorboard"], ["tensorboard", "csv", "csv"]):
        found = loggers.make(names, tmp_path)
        found[-1].log_metrics({"loss": 0.5}, step=3)
        found[-1].save()
        assert isinstance(found[-1], CSVLogger)
        assert [TensorBoardLogger] * ("tensorboard" in names) == [
            type(logger) for logger in found[:-1]
        ]
    with open(tmp_path / "logs" / "csv" / "metrics.csv") as file:
        assert list(csv.DictReader(file)) == [{"loss": "0.5", "step": "3"}]


def test_missing_wandb_is_refused_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="wandb.*pip install wandb"):
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
def test_wandb_run_is_continued_by_a_resumed_training_only(tmp_path, offline):
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


def log(exp_dir, steps, first=0, name="loss"):
    (table,) = loggers.make(["csv"], exp_dir, first)
    for step in steps:
        table.log_metrics({name: step / 2}, step)
    table.save()
    return (exp_dir / "logs" / "csv" / "metrics.csv").read_text().splitlines()


def test_csv_of_resumed_training_equals_uninterrupted(tmp_path):
    whole = log(tmp_path / "whole", range(6))
    log(tmp_path / "killed", range(5))
    assert log(tmp_path / "killed", range(3, 6), first=3) == whole
    assert log(tmp_path / "killed", [0]) == ["loss,step", "0.0,0"], "a new training starts over"


def test_csv_gets_new_columns(tmp_path):
    log(tmp_path, range(2))
    assert log(tmp_path, [2], first=2, name="val_loss") == [
        "loss,step,val_loss", "0.0,0,", "0.5,1,", ",2,1.0",
    ]  # fmt: skip


def test_csv_drops_truncated_rows(tmp_path):
    """`1.5,1` was to be step 10."""
    for number, truncated in enumerate(
        ["1.5", "1.5,1", "1.5,", "\0\0", "1.5,x\n", "1,2,3\n", "\n"]
    ):
        exp_dir = tmp_path / str(number)
        log(exp_dir, range(3))
        with open(exp_dir / "logs" / "csv" / "metrics.csv", "a") as file:
            file.write(truncated)
        rows = log(exp_dir, [9], first=9)
        assert rows == ["loss,step", "0.0,0", "0.5,1", "1.0,2", "4.5,9"], repr(truncated)
