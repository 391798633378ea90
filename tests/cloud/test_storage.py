"""URLs of object storage."""

from __future__ import annotations

import fsspec
import pytest

from asteroid_waveunet.cloud import storage


@pytest.mark.parametrize(
    ("url", "name", "found"),
    [
        ("abfs://c@me.dfs.core.windows.net/a", "c/a/b.wav",
         "abfs://c@me.dfs.core.windows.net/a/b.wav"),
        ("memory://c/a", "/c/a/b.wav", "memory:///c/a/b.wav"),
    ],
)  # fmt: skip
def test_files_that_are_found_keep_the_account(url, name, found):
    assert storage.listed_url(url, fsspec.filesystem("memory"), name) == found


def test_of_several_that_create_a_file_one_succeeds():
    url = "memory://created/file"
    assert [storage.create_bytes(url, content) for content in (b"1", b"2")] == [True, False]
    assert storage.read_bytes(url) == b"1"
