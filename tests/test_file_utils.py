"""Files that appear whole or not at all, and their checksums."""

from __future__ import annotations

import hashlib

import pytest

from asteroid_waveunet.file_utils import checksum, replacing


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
@pytest.mark.parametrize("length", [0, 5, 2**20, 3 * 2**20 + 7])
def test_a_checksum_is_of_the_whole_file_and_tells_how_far_it_is(tmp_path, algorithm, length):
    content, told = bytes(range(256)) * (length // 256) + b"x" * (length % 256), []
    (tmp_path / "file").write_bytes(content)
    found = checksum(tmp_path / "file", algorithm, told.append)
    assert found == hashlib.new(algorithm, content).hexdigest()
    assert found == checksum(tmp_path / "file", algorithm)
    assert sum(told) == length and len(told) == -(-length // 2**20)


def test_a_file_that_could_not_be_written_leaves_the_one_before(tmp_path):
    path = tmp_path / "folder" / "file"
    with replacing(path) as partial:
        partial.write_text("one")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half of ano")
        raise RuntimeError
    assert path.read_text() == "one" and [*path.parent.iterdir()] == [path]
