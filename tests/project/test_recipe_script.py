"""run.sh with a stand-in for Python: options, names of experiments, the stages that it calls."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from asteroid_waveunet.experiment.config import parse_overrides
from helpers.paths import RECIPE, ROOT
from helpers.recipe import calls, run, run_script, stand_in

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the recipe is a bash script")


def test_stages_are_called_in_order_with_the_experiments_folders(tmp_path):
    python = stand_in(tmp_path, 'echo "$RESUME $ACCEPT_LICENSE" > "$0.flags"\n')
    (tmp_path / "my songs").mkdir()
    result = run(
        "here", "--data", "my songs", "--lr=0.1", "--stop-stage", "2", "--resume",
        "--accept-license", python=python, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    folders = ["--exp_dir", "here/exp/small_my songs", "--data_dir", "here/data"]
    configure, *stages = calls(python)
    conf = ["--conf", str(RECIPE / "conf" / "small.yml")]
    assert configure == ["configure.py", *folders, *conf, "--lr", "0.1", "--dataset", "my songs"]
    assert stages == [[f"{name}.py", *folders] for name in ("data", "prepare", "train")]
    assert (tmp_path / "python.flags").read_text() == "true true\n"


def test_folders_whose_names_begin_with_a_dash_are_no_options(tmp_path):
    python = stand_in(tmp_path, 'echo "$OMP_WAIT_POLICY" > "$0.policy"\n')
    for name in ("-songs", "--songs", "-"):
        (tmp_path / name).mkdir()
        result = run("-out", "--data", name, "--stop_stage", "0", python=python, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        configure, stage = calls(python)[-2:]
        assert configure[-2:] == ["--dataset", f"./{name}"]
        assert stage[1:3] == ["--exp_dir", f"./-out/exp/small_{name}"]
    assert (tmp_path / "python.policy").read_text() == "PASSIVE\n"


def test_tag_of_an_existing_experiment_selects_its_configuration(tmp_path):
    python = stand_in(tmp_path)
    conf = tmp_path / "exp" / "demo" / "conf.yml"
    conf.parent.mkdir(parents=True)
    conf.touch()
    more = ["--repo_id", "user/model", "--stop_stage", "1", "--stage", "1"]
    assert run(tmp_path, "--tag", "demo", *more, python=python).returncode == 0
    configure, stage = calls(python)
    given = parse_overrides(configure[1:])
    assert given["conf"] == str(conf) and given["repo_id"] == "user/model"
    assert given["exp_dir"] == str(conf.parent) and stage[0] == "prepare.py"


def test_failed_stage_ends_the_run(tmp_path):
    for status in (1, 137):
        python = stand_in(tmp_path, f'case "$1" in *prepare.py) exit {status} ;; esac\n')
        result = run(tmp_path, python=python)
        assert result.returncode == 1
        assert "stage 1 (prepare) failed" in result.stderr
        assert [script for script, *_ in calls(python)][-1] == "prepare.py", status


def test_interrupted_stage_ends_the_run_with_its_status(tmp_path):
    python = stand_in(tmp_path, 'case "$1" in *prepare.py) exit 143 ;; esac\n')
    result = run(tmp_path, python=python)
    assert result.returncode == 143 and "failed" not in result.stderr
    assert [script for script, *_ in calls(python)][-1] == "prepare.py"


def test_invalid_command_lines_are_refused_before_anything_is_written(tmp_path):
    (tmp_path / "bin").mkdir()
    python, storage = stand_in(tmp_path / "bin"), tmp_path / "storage"
    for arguments, message in {
        ("--stage", "7"): "stage is '7'; expected 0, 1, 2, 3 or 4",
        ("--stage", "3", "--stop-stage", "2"): "--stage 3 is after --stop_stage 2",
        ("--lr",): "--lr needs a value",
        ("lr",): "'lr' is not an option",
        ("--tag", "a/b"): "'a/b' cannot name a folder",
        ("--tag", ".."): "'..' cannot name a folder",
    }.items():
        result = run(storage, *arguments, python=python)
        assert result.returncode == 1, arguments
        assert message in result.stderr, arguments
        assert not storage.exists() and calls(python) == [], arguments


def test_unknown_setting_is_refused_before_anything_is_written(tmp_path, capsys):
    folders = ("--exp_dir", tmp_path / "exp", "--data_dir", tmp_path / "data")
    with pytest.raises(SystemExit) as ended:
        run_script(
            "configure", *folders, "--conf", RECIPE / "conf" / "demo.yml", "--batch_sise", "4"
        )
    assert ended.value.code == 1
    message = "'batch_sise' (the command line). Did you mean 'batch_size'"
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_options():
    result = run("unused", "--help", python=sys.executable)
    assert result.returncode == 0
    assert "--stop_stage N" in result.stdout and "set -euo" not in result.stdout


def test_scripts_keep_their_line_ends_in_a_checkout_on_windows():
    scripts = ["recipes/musdb18/run.sh", "recipes/musdb18/shared.sh", "tools/make_env.sh"]
    found = subprocess.run(
        ["git", "check-attr", "eol", *scripts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        pytest.skip("not a checkout of git")
    assert found.stdout.splitlines() == [f"{script}: eol: lf" for script in scripts]
