"""Songs and manifests from web servers of all kinds."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asteroid_waveunet import separate_catalogue
from asteroid_waveunet.cli.main import main
from asteroid_waveunet.cloud import web

SIGNED = "X-Amz-Credential=AK%2F1%2Fs3&X-Amz-Expires=60&X-Amz-Signature=5f"


class Handler(BaseHTTPRequestHandler):
    """Sends the files of `content` whole, without ranges; `moved` names redirections."""

    protocol_version = "HTTP/1.1"
    content: dict[str, bytes]
    moved: dict[str, str]
    etags: dict[str, str]
    ended: threading.Event

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(405)  # as a URL that is signed for GET

    def do_GET(self):
        self.requests.append(self.path)
        path = unquote(self.path.split("?")[0])
        if path in self.moved:
            self.answer(302, Location=self.moved[path])
        elif path.startswith("/signed/") and not self.path.endswith(SIGNED):
            self.answer(403)
        elif path.startswith("/status/"):
            self.answer(int(path[8:11]))
        elif path.startswith("/busy/") and self.requests.count(self.path) < 3:
            self.answer(503)
        elif path.startswith("/stalled/") and self.requests.count(self.path) < 2:
            self.answer(200, b"RIFF", 1000)
            self.ended.wait(60)
        elif path.startswith("/private/") and "Authorization" not in self.headers:
            self.answer(401)
        elif path.startswith("/cut/"):
            content = self.content["/plain.wav"]
            self.answer(200, content[:-500], len(content))
            self.close_connection = True
        elif path in self.content:
            etag = {"ETag": self.etags[path]} if path in self.etags else {}
            self.answer(200, self.content[path], **etag)
        else:
            self.answer(404)

    def answer(self, status, content=b"", length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def site(songs, monkeypatch):
    """Address of a server, and its handler."""
    content = (songs / "single.wav").read_bytes()
    monkeypatch.setattr(web, "RETRY_SECONDS", (0.01, 0.01))
    names = ("/plain.wav", "/busy/b.wav", "/stalled/s.wav", "/a b/c+é.wav", "/signed/s.wav")
    names += ("/private/#1.wav", "/private/a::b.wav")
    kind = type(
        "Site",
        (Handler,),
        {
            "content": dict.fromkeys(names, content),
            "moved": {"/old.wav": "/plain.wav", "/round.wav": "/round.wav"},
            "etags": {},
            "requests": [],
            "ended": threading.Event(),
        },
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    kind.ended.set()
    server.shutdown()
    server.server_close()


def separate(model, out, *songs, **options):
    return separate_catalogue(songs, output=out, model=str(model), progress=False, **options)


def written(out: Path) -> set[str]:
    return {file.parent.relative_to(out).as_posix() for file in out.rglob("vocals.wav")}


def test_songs_have_the_names_of_their_urls(site, model, tmp_path):
    host, handler = site
    secret = host.replace("//", "//me:secret@")
    songs = ("/a b/c+é.wav", "/old.wav?version=2", f"/signed/s.wav?id=1&{SIGNED}")
    found = separate(model, tmp_path, f"{secret}/plain.wav", *(host + song for song in songs))
    assert (found.separated, found.reasons) == (4, {})
    assert written(tmp_path) == {"plain", "c+é", "old", "s"}
    assert f"/signed/s.wav?id=1&{SIGNED}" in handler.requests, "escapes stay as they were signed"
    rows = pq.read_table(tmp_path / "catalogue.parquet").to_pylist()
    assert {row["song"] for row in rows} == {f"{host}/plain.wav", f"{host}/a b/c+é.wav",
        f"{host}/old.wav?version=2", f"{host}/signed/s.wav?id=1"}  # fmt: skip
    for record in tmp_path.rglob(".waveunet.json"):
        assert not {"secret", "Signature"} & {*record.read_text().replace("=", "@").split("@")}


def test_busy_servers_are_asked_again(site, model, tmp_path):
    host, handler = site
    found = separate(model, tmp_path, f"{host}/busy/b.wav")
    assert (found.separated, found.reasons) == (1, {})
    assert separate(model, tmp_path, f"{host}/status/404.wav").failed == 1
    assert handler.requests.count("/status/404.wav") == 1, "what is missing is not"


def test_servers_that_stop_sending_are_asked_again(site, model, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "READ_SECONDS", 1.5)
    host, handler = site
    found = separate(model, tmp_path, f"{host}/stalled/s.wav")
    assert (found.separated, found.reasons) == (1, {})
    assert handler.requests.count("/stalled/s.wav") > 1


def test_manifest_lends_its_login_to_its_songs(site, model, tmp_path):
    host, handler = site
    handler.content["/private/m.csv"] = b"path\n#1.wav\na::b.wav\n"
    secret = host.replace("//", "//me:secret@")
    found = separate(model, tmp_path, manifest=f"{secret}/private/m.csv")
    assert (found.separated, found.reasons) == (2, {})
    assert written(tmp_path) == {"#1", "a::b"}
    for file in (*tmp_path.rglob("*.json"), *tmp_path.rglob("*.parquet")):
        assert b"secret" not in file.read_bytes()


def test_songs_of_one_name_are_named_without_their_signatures(site, model, tmp_path):
    host, _ = site
    songs = [f"{host}/{folder}/a.wav?{SIGNED}" for folder in ("one", "two")]
    with pytest.raises(ValueError, match="/one/a.wav, http.*/two/a.wav would all") as refused:
        separate(model, tmp_path, *songs)
    assert "Signature" not in str(refused.value)


def test_song_that_is_signed_again_is_done(site, model, tmp_path):
    host, _ = site
    separate(model, tmp_path, f"{host}/signed/s.wav?{SIGNED}")
    found = separate(model, tmp_path, f"{host}/signed/s.wav?X-Amz-Date=2&{SIGNED}")
    assert (found.known, found.separated) == (1, 0)


def test_song_is_compared_where_the_server_dates_nothing(site, model, songs, tmp_path):
    host, handler = site
    handler.etags["/plain.wav"] = "1"
    for file in ("/plain.wav", "/a b/c+é.wav"):
        separate(model, tmp_path / "out", host + file)
        other = (songs / "two.wav").read_bytes()
        assert len(other) == len(handler.content[file])
        handler.content[file] = other
        found = separate(model, tmp_path / "out", host + file)
        assert found.separated == (file != "/plain.wav"), "equal ETags mean equal content"


@pytest.mark.parametrize(
    ("song", "words"),
    {
        "/gone.wav?X-Amz-Signature=5f": ("/gone.wav does not exist",),
        "/signed/s.wav?X-Amz-Signature=old": ("/signed/s.wav cannot be read", "403", "expired"),
        "/status/503.wav": ("cannot be read", "503"),
        "/cut/a.wav": ("cannot be read", "before the end"),
        "/round.wav": ("cannot be read", "redirects"),
        "/*.wav": ("names no file", "--manifest", "%2A"),
        "/album/": ("names no file", "--manifest"),
    }.items(),
)
def test_failures_are_named_in_one_line(site, model, songs, song, words, monkeypatch, capsys):
    monkeypatch.chdir(songs)
    assert main(["separate", "-m", str(model), site[0] + song]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert [word for word in words if word not in said] == []
    assert "Signature" not in said
    assert not [*Path("separated").rglob("*.wav")]


def test_manifests_come_whole(site, model, tmp_path):
    host, handler = site
    rows = {"path": ["plain.wav", f"{host}/a%20b/c%2B%C3%A9.wav", f"{host}/gone.wav"]}
    pq.write_table(pa.table(rows), tmp_path / "m.parquet")
    handler.content["/m.parquet"] = (tmp_path / "m.parquet").read_bytes()
    lines = "\n".join(json.dumps({"path": path}) for path in rows["path"]).encode()
    handler.content["/m.jsonl"] = lines
    for place in ("/m.parquet", f"/m.jsonl?{SIGNED}&path=a/b"):
        out = tmp_path / place[3:6]
        found = separate(model, out, manifest=host + place)
        assert [*found.reasons] == [f"{host}/gone.wav"]
        assert written(out) == {"plain", "a b/c+é"}


@pytest.mark.parametrize(
    ("given", "public"),
    [
        ("https://h/a?sv=1&sig=x&se=2&id=3", "https://h/a?id=3"),
        ("https://h/a?se=2&sv=1", "https://h/a?se=2&sv=1"),
        ("https://h/a?access_token=1&token=2&tokens=3", "https://h/a?tokens=3"),
        ("https://h/a?X-Goog-Signature=x&X-Goog-Date=1", "https://h/a"),
        ("https://h/a?Policy=p&Signature=s&Key-Pair-Id=k&x=%2F", "https://h/a?x=%2F"),
        ("s3://b/a?Signature=1", "s3://b/a?Signature=1"),
    ],
)
def test_signatures_are_not_written_down(given, public):
    assert web.without_secrets(given) == public
