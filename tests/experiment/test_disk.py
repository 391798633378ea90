"""Room on a disk."""

from __future__ import annotations

import errno

import pytest

from asteroid_waveunet.experiment import disk


def test_room_is_looked_for_where_a_folder_will_be(tmp_path):
    disk.check_room(tmp_path / "not" / "yet", 1, "A byte")
    with pytest.raises(disk.NoSpace, match="All there is needs .* GB in .* are free. Make room"):
        disk.check_room(tmp_path / "not" / "yet", 10**18, "All there is")


def test_a_full_disk_is_explained_and_other_failures_stay(tmp_path):
    with (
        pytest.raises(disk.NoSpace, match="no space left for songs in .*needs 1.0 GB in all"),
        disk.room_explained(tmp_path, "songs", 10**9),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), disk.room_explained(tmp_path, "songs", 1):
        raise PermissionError(errno.EACCES, "not here")
