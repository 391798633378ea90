"""Download: the file is complete or absent, whatever the server and the network do."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.data import download
from helpers.file_server import FileServer, dropped, page, refused, send, stalled, without_length
from helpers.paths import ROOT

CONTENT = random.Random(0).randbytes(1_000_000)
B = download.BLOCK
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(download, "LONGEST_WAIT", 0.02)


@pytest.fixture
def server():
    with FileServer(CONTENT) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "data.zip"


def fetch(server, path, **changed):
    arguments = {"size": len(CONTENT), "md5": MD5, "progress": False, **changed}
    download.download(server.url, path, **arguments)


def files_next_to(path):
    return sorted(file.name for file in path.parent.iterdir())


def write_partial(path, content, etag=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name("data.zip.partial").write_bytes(content)
    if etag:
        path.with_name("data.zip.partial.etag").write_text(etag)


def test_download_leaves_only_the_file(server, path):
    fetch(server, path)
    assert path.read_bytes() == CONTENT and files_next_to(path) == ["data.zip"]
    assert server.ranges == [None]


@pytest.mark.parametrize("has_etags", [True, False])
def test_dropped_connections_resume_without_repeating_bytes(server, path, has_etags):
    server.has_etags = has_etags
    server.faults = [dropped(after) for after in range(B, 1_000_000, B)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and files_next_to(path) == ["data.zip"]
    assert server.ranges[:3] == [None, f"bytes={B}-", f"bytes={2 * B}-"]
    assert set(server.conditions[1:]) == {server.etag if has_etags else None}


def test_partial_file_of_an_earlier_run_is_resumed(server, path):
    for n_bytes, ranges in (
        (200_000, ["bytes=200000-"]),
        (1_000_000, []),  # complete
        (1_000_001, [None]),  # too long: starts again
    ):
        write_partial(path, (CONTENT + b"x")[:n_bytes], server.etag)
        server.ranges.clear()
        fetch(server, path)
        assert path.read_bytes() == CONTENT and server.ranges == ranges, n_bytes
        path.unlink()


def test_killed_process_is_resumed(server, path):
    server.faults = [stalled(200_000)]
    code = (
        "import sys; from asteroid_waveunet.experiment.data.download import download\n"
        "url, path, size, md5 = sys.argv[1:]; download(url, path, int(size), md5, False)"
    )
    arguments = [server.url, str(path), str(len(CONTENT)), MD5]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)
    try:
        assert server.stalled.wait(60)
        partial = path.with_name("data.zip.partial")
        deadline = time.monotonic() + 60
        while not (partial.is_file() and partial.stat().st_size):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert not path.exists()
    received = partial.stat().st_size
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={received}-"] and server.answered == [200, 206]


def test_changed_file_starts_again(server, path):
    write_partial(path, b"of an older version " * 1000, '"older"')
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.conditions == ['"older"'] and server.answered == [200]


def test_changed_file_starts_again_if_the_server_ignores_if_range(server, path):
    write_partial(path, b"of an older version " * 1000, '"older"')

    def ignore_if_range(handler):
        del handler.headers["If-Range"]
        send(handler)

    server.faults = [ignore_if_range]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.answered == [206, 200]


@pytest.mark.parametrize("has_etags", [True, False])
def test_progress_after_a_restart_resets_the_attempts(server, path, has_etags):
    """Also while less has been received than before the restart."""
    server.has_etags = has_etags
    write_partial(path, b"x" * 900_000, '"older"' if has_etags else "")
    restart = [] if has_etags else [refused(416)]
    server.faults = restart + [dropped(after) for after in range(B, 1_000_000, B)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={15 * B}-"


def test_server_without_ranges_starts_again_a_limited_number_of_times(server, path):
    server.knows_ranges = False
    server.faults = [dropped(B), dropped(2 * B)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.answered == [200] * 3
    server.ranges.clear()
    server.always = dropped(2 * B)
    with pytest.raises(OSError, match=r"dropped.*0.1 MB of 1.0 MB .*kept.*to resume"):
        fetch(server, path)
    assert len(server.ranges) == 1 + download.MAX_ATTEMPTS[True]


def test_rejected_range_starts_again(server, path):
    server.faults = [refused(416)]
    write_partial(path, CONTENT[:1000], server.etag)
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.ranges == ["bytes=1000-", None]


def test_busy_server_is_retried(server, path):
    for statuses in ([429, 500, 502], [408, 425, 503], [504]):
        server.faults = [refused(status) for status in statuses]
        server.answered.clear()
        fetch(server, path)
        assert path.read_bytes() == CONTENT and server.answered == [*statuses, 200]
        path.unlink()


def test_retry_after_is_obeyed(server, path, monkeypatch):
    slept = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    date = formatdate(time.time() + 600, usegmt=True)
    server.faults = [refused(429, Retry_After=value) for value in ("1", date, "soon")]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert slept[0] == 1 and 100 < slept[1] <= 600 and slept[2] < 1, "the last is invalid"


def test_retry_after_hours_is_an_error(server, path):
    server.always = refused(429, Retry_After="7200")
    with pytest.raises(OSError, match="429.*120 minutes"):
        fetch(server, path)
    assert len(server.ranges) == 1


def test_refusals_are_not_retried(server, path):
    for fault, kind, facts in (
        (refused(401), download.Restricted, "401 Unauthorized"),
        (refused(403), download.Restricted, "403 Forbidden"),
        (refused(404), FileNotFoundError, "404 Not Found"),
        (refused(410), FileNotFoundError, "410 Gone"),
        (refused(400), OSError, "400 Bad Request"),
        (page, OSError, "web page"),
    ):
        server.always = fault
        server.ranges.clear()
        with pytest.raises(kind, match=facts):
            fetch(server, path)
        assert len(server.ranges) == 1 and files_next_to(path) == [], facts


def test_file_of_another_size_is_not_downloaded(server, path):
    with pytest.raises(OSError, match="1000000 bytes, expected 1000001"):
        fetch(server, path, size=len(CONTENT) + 1)
    write_partial(path.parent / "b" / "data.zip", CONTENT[:1000])
    with pytest.raises(OSError, match="1000000 bytes, expected 1000001"):
        fetch(server, path.parent / "b" / "data.zip", size=len(CONTENT) + 1)


def test_server_that_sends_less_than_announced_is_an_error(server, path):
    server.claims = len(CONTENT) + 1000
    with pytest.raises(OSError, match="cannot be downloaded"):
        fetch(server, path, size=server.claims)
    assert not path.exists()


def test_server_that_announces_no_length_may_not_send_too_much(server, path):
    server.faults = [without_length]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    server.faults = [without_length]
    with pytest.raises(OSError, match="more than .* 999999 bytes"):
        fetch(server, path, size=len(CONTENT) - 1)
    assert files_next_to(path) == ["data.zip"]


def test_damaged_file_is_deleted(server, path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(OSError, match=f"damaged.*deleted.*expected {MD5}"):
        fetch(server, path)
    assert files_next_to(path) == []
    server.content = CONTENT
    fetch(server, path)
    assert path.read_bytes() == CONTENT


def test_unreachable_server_is_named_and_the_partial_file_kept(server, path):
    write_partial(path, CONTENT[:200_000], server.etag)
    server.__exit__()
    with pytest.raises(OSError, match=r"no connection to 127.0.0.1:\d+: .*refused.*0.2 MB of 1.0"):
        fetch(server, path)
    assert path.with_name("data.zip.partial").read_bytes() == CONTENT[:200_000]
    with pytest.raises(OSError, match="nowhere cannot be downloaded"):
        download.download("nowhere", path, 1, MD5, progress=False)


def test_free_space_is_checked_first(server, path, monkeypatch):
    monkeypatch.setattr(disk, "free_space", lambda folder: 900_000)
    with pytest.raises(disk.NoSpace, match=r"needs 1.0 MB .* 0.9 MB are free. Free 0.1 MB"):
        fetch(server, path)
    assert server.ranges == []
    write_partial(path.parent / "b" / "data.zip", CONTENT[:200_000], server.etag)
    fetch(server, path.parent / "b" / "data.zip")
    assert server.ranges == ["bytes=200000-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk_is_reported_with_the_required_space(server, path, monkeypatch):
    class Full(download.PartialFile):
        def restart(self, etag):
            self.path.symlink_to("/dev/full")

        received = 0

    monkeypatch.setattr(download, "PartialFile", Full)
    with pytest.raises(disk.NoSpace, match="data.zip.* needs 1.0 MB") as info:
        fetch(server, path)
    assert info.value.__cause__.errno == errno.ENOSPC


def test_check_compares_size_and_md5(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    download.check(file, None, MD5, progress=False)
    with pytest.raises(ValueError, match="1000000 bytes, expected 5"):
        download.check(file, 5, MD5, progress=False)
    with pytest.raises(ValueError, match=f"md5 {MD5}, expected 0"):
        download.check(file, len(CONTENT), "0" * 32, progress=False)
