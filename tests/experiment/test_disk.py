"""Checks and messages about disk space."""

from __future__ import annotations

import errno

import pytest

from asteroid_waveunet.experiment import disk


def test_free_space_is_checked_for_folders_that_do_not_exist(tmp_path):
    disk.check_free_space(tmp_path / "not" / "yet", 1, "A byte")
    with pytest.raises(disk.NoSpace, match="A song needs 1000000000.0 GB .* are free"):
        disk.check_free_space(tmp_path / "not" / "yet", 10**18, "A song")


def test_full_disk_is_explained_and_other_errors_pass(tmp_path):
    with (
        pytest.raises(disk.NoSpace, match=r"No space .* for songs.* 1.0 GB"),
        disk.explain_full_disk(tmp_path, "songs", 10**9),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), disk.explain_full_disk(tmp_path, "songs", 1):
        raise PermissionError(errno.EACCES, "not here")
