"""The table of curves: continued, without holes and without what is done again."""

from __future__ import annotations

import pytest

from asteroid_waveunet.experiment.training.curves import Curves


def log(folder, steps, first=0, name="loss"):
    curves = Curves(folder, first)
    for step in steps:
        curves.log_metrics({name: step / 2}, step)
    curves.save()
    return (folder / "csv" / "metrics.csv").read_text().splitlines()


def test_a_training_that_goes_on_continues_its_table(tmp_path):
    whole = log(tmp_path / "whole", range(6))
    log(tmp_path / "killed", range(5))
    assert log(tmp_path / "killed", range(3, 6), first=3) == whole


def test_new_columns_are_added(tmp_path):
    log(tmp_path, range(2))
    assert log(tmp_path, [2], first=2, name="val_loss") == [
        "loss,step,val_loss", "0.0,0,", "0.5,1,", ",2,1.0",
    ]  # fmt: skip


def test_a_row_that_a_kill_cut_off_is_left_out(tmp_path):
    log(tmp_path, range(3))
    with open(tmp_path / "csv" / "metrics.csv", "a") as file:
        file.write("1.5")
    assert log(tmp_path, [3], first=3) == ["loss,step", "0.0,0", "0.5,1", "1.0,2", "1.5,3"]


@pytest.mark.parametrize("torn", ["1.5,1", "1.5,", "\0\0", "1.5,x\n", "1,2,3\n", "\n"])
def test_what_is_no_whole_row_is_left_out(tmp_path, torn):
    """`1.5,1` was to be step 10; steps are digits."""
    log(tmp_path, range(3))
    with open(tmp_path / "csv" / "metrics.csv", "a") as file:
        file.write(torn)
    assert log(tmp_path, [9], first=9) == ["loss,step", "0.0,0", "0.5,1", "1.0,2", "4.5,9"]


def test_a_new_training_begins_an_empty_table(tmp_path):
    log(tmp_path, range(3))
    assert log(tmp_path, [0]) == ["loss,step", "0.0,0"]
