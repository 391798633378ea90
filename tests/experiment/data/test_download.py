"""A large file by HTTP: whatever the server and the network do, it is whole or it is not there."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
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
def no_long_waits(monkeypatch):
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
    given = {"size": len(CONTENT), "md5": MD5, "progress": False, **changed}
    download.download(server.url, path, **given)


def left(path):
    return sorted(file.name for file in path.parent.iterdir())


def leave(path, content, etag=""):
    path.parent.mkdir(parents=True)
    path.with_name("data.zip.partial").write_bytes(content)
    if etag:
        path.with_name("data.zip.partial.etag").write_text(etag)


def test_the_file_is_there_and_nothing_else(server, path):
    fetch(server, path)
    assert path.read_bytes() == CONTENT and left(path) == ["data.zip"]
    assert server.ranges == [None]


def test_a_connection_that_breaks_again_and_again_costs_nothing_twice(server, path):
    server.faults = [dropped(after) for after in range(B, 1_000_000, B)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and left(path) == ["data.zip"]
    assert server.ranges[:3] == [None, f"bytes={B}-", f"bytes={2 * B}-"]
    assert set(server.conditions[1:]) == {server.etag}


def test_without_etags_the_checksum_has_to_tell(server, path):
    server.has_etags = False
    server.faults = [dropped(B)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert (server.ranges, server.conditions) == ([None, f"bytes={B}-"], [None, None])


def test_what_an_earlier_run_left_is_gone_on_with(server, path):
    leave(path, CONTENT[:200_000], server.etag)
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.ranges == ["bytes=200000-"]


def test_a_download_that_was_complete_is_only_checked(server, path):
    leave(path, CONTENT, server.etag)
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.ranges == []


def test_a_run_that_is_killed_in_the_middle_is_gone_on_with(server, path):
    server.faults = [stalled(200_000)]
    code = (
        "import sys; from asteroid_waveunet.experiment.data.download import download\n"
        "url, path, size, md5 = sys.argv[1:]; download(url, path, int(size), md5, False)"
    )
    arguments = [server.url, str(path), str(len(CONTENT)), MD5]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)
    assert server.stalled.wait(60)
    partial = path.with_name("data.zip.partial")
    while not (partial.is_file() and partial.stat().st_size):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    came = partial.stat().st_size
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={came}-"] and server.answered == [200, 206]


def test_a_file_that_has_changed_meanwhile_is_begun_anew(server, path):
    leave(path, b"of an older version " * 1000, '"older"')
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.conditions == ['"older"'] and server.answered == [200]


def test_even_if_the_server_minds_no_conditions(server, path):
    leave(path, b"of an older version " * 1000, '"older"')

    def careless(handler):
        del handler.headers["If-Range"]
        send(handler)

    server.faults = [careless]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.answered == [206, 200]


@pytest.mark.parametrize("has_etags", [True, False])
def test_what_comes_after_it_was_begun_anew_counts(server, path, has_etags):
    """Of less than there was before, too: patience ends where nothing comes."""
    server.has_etags = has_etags
    leave(path, b"x" * 900_000, '"older"' if has_etags else "")
    begin = [] if has_etags else [refused(416)]
    server.faults = begin + [dropped(after) for after in range(B, 1_000_000, B)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={15 * B}-"


def test_a_server_that_knows_no_ranges_sends_it_from_the_beginning(server, path):
    server.knows_ranges = False
    server.faults = [dropped(B), dropped(2 * B)]
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.answered == [200] * 3


def test_and_is_not_asked_forever(server, path):
    server.knows_ranges, server.always = False, dropped(2 * B)
    with pytest.raises(OSError, match=r"broke.*0.1 MB of 1.0 MB have come and are kept"):
        fetch(server, path)
    assert len(server.ranges) == 1 + download.PATIENCE[True]


def test_a_range_that_is_none_begins_anew(server, path):
    server.faults = [refused(416)]
    leave(path, CONTENT[:1000], server.etag)
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(server, path, status):
    server.faults = [refused(status)] * 2
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.answered == [status, status, 200]


@pytest.mark.parametrize("after", ["1", "a date"])
def test_a_server_is_given_the_time_that_it_asks_for(server, path, monkeypatch, after):
    slept = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    header = formatdate(time.time() + 101, usegmt=True) if after != "1" else "1"
    server.faults = [refused(429, Retry_After=header)]
    fetch(server, path)
    assert slept[0] == (1 if after == "1" else pytest.approx(100, abs=3))


def test_a_server_that_asks_for_hours_is_left_alone(server, path):
    server.always = refused(429, Retry_After="7200")
    with pytest.raises(OSError, match="not to be had now.*come again in 120 minutes"):
        fetch(server, path)
    assert len(server.ranges) == 1


def test_nothing_that_cannot_be_read_is_waited_for(server, path):
    server.faults = [refused(503, Retry_After="soon")]
    fetch(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (refused(401), download.Restricted, "401 Unauthorized"),
        (refused(403), download.Restricted, "403 Forbidden"),
        (refused(404), FileNotFoundError, "404 Not Found"),
        (refused(410), FileNotFoundError, "410 Gone"),
        (refused(400), OSError, "400 Bad Request"),
        (page, OSError, "is a page, no file"),
    ],
)
def test_a_refusal_is_said_at_once(server, path, fault, kind, says):
    server.always = fault
    with pytest.raises(kind, match=says):
        fetch(server, path)
    assert len(server.ranges) == 1 and left(path) == []


def test_a_file_of_another_size_is_not_downloaded(server, path):
    with pytest.raises(OSError, match=r"has 1000000 bytes, expected 1000001: it is another file"):
        fetch(server, path, size=len(CONTENT) + 1)
    leave(path.parent / "b" / "data.zip", CONTENT[:1000])
    with pytest.raises(OSError, match="has 1000000 bytes, expected 1000001"):
        fetch(server, path.parent / "b" / "data.zip", size=len(CONTENT) + 1)


def test_a_server_that_claims_more_than_it_has_is_found_out(server, path):
    """As it seems, the connection breaks at the end every time."""
    server.claims = len(CONTENT) + 1000
    with pytest.raises(OSError, match=r"cannot be downloaded"):
        fetch(server, path, size=server.claims)
    assert not path.exists()


def test_a_server_that_does_not_say_how_much_it_has_may_not_send_more(server, path):
    server.faults = [without_length]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    server.faults = [without_length]
    with pytest.raises(OSError, match="more than the 999999 bytes"):
        fetch(server, path, size=len(CONTENT) - 1)
    assert left(path) == ["data.zip"]


def test_what_came_damaged_is_deleted(server, path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(OSError, match=f"came damaged, and was deleted.*expected {MD5}"):
        fetch(server, path)
    assert left(path) == []
    server.content = CONTENT
    fetch(server, path)
    assert path.read_bytes() == CONTENT


def test_more_than_there_can_be_is_begun_anew(server, path):
    leave(path, CONTENT + b"x")
    fetch(server, path)
    assert path.read_bytes() == CONTENT and server.ranges == [None]


def test_without_a_network_that_is_said_and_what_came_is_kept(server, path):
    leave(path, CONTENT[:200_000], server.etag)
    server.__exit__()
    with pytest.raises(OSError, match=r"no connection to 127.0.0.1:\d+: .*refused.*0.2 MB of 1.0"):
        fetch(server, path)
    assert path.with_name("data.zip.partial").read_bytes() == CONTENT[:200_000]


def test_an_address_that_is_none_is_not_tried_again(path):
    with pytest.raises(OSError, match="nowhere cannot be downloaded"):
        download.download("nowhere", path, 1, MD5, progress=False)


def test_room_is_asked_for_before(server, path, monkeypatch):
    monkeypatch.setattr(disk, "free", lambda folder: 900_000)
    with pytest.raises(disk.NoSpace, match=r"needs 1.0 MB .* 0.9 MB are free. Make room for 0.1"):
        fetch(server, path)
    assert server.ranges == []
    leave(path.parent / "b" / "data.zip", CONTENT[:200_000], server.etag)
    fetch(server, path.parent / "b" / "data.zip")
    assert server.ranges == ["bytes=200000-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_becomes_full_is_said_plainly(server, path, monkeypatch):
    class Full(download.Part):
        def begin(self, etag):
            self.path.symlink_to("/dev/full")

        have = 0

    monkeypatch.setattr(download, "Part", Full)
    with pytest.raises(disk.NoSpace, match=r"no space left for data.zip in .*needs 1.0 MB") as info:
        fetch(server, path)
    assert info.value.__cause__.errno == errno.ENOSPC


def test_other_files_are_checked_by_size_and_md5(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    download.check(file, None, MD5, progress=False)
    with pytest.raises(ValueError, match="has 1000000 bytes, expected 5"):
        download.check(file, 5, MD5, progress=False)
    with pytest.raises(ValueError, match=f"has the md5 {MD5}, expected 0"):
        download.check(file, len(CONTENT), "0" * 32, progress=False)
