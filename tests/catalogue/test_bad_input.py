"""Input that cannot work is named in one line before the first song."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from asteroid_waveunet.cli.main import main
from asteroid_waveunet.cloud import storage

MANIFESTS = {
    "column.csv": b"file,title\na.wav,A\n",
    "empty.csv": b"",
    "header.csv": b"path\n",
    "latin.csv": b"path\n\xff\n",
    "null.jsonl": b'{"path": "a.wav"}\n{"path": null}\n',
    "json.jsonl": b'{"path": "a.wav"}\n{"path"\n',
    "list.jsonl": b'["a.wav"]\n',
    "gzip.jsonl.gz": b"plain",
    "bad.parquet": b"PAR?",
    "songs.txt": b"a.wav\n",
    "up.jsonl": b'{"path": "../../a.wav"}\n',
    "scheme.csv": b"path\na.wav\ns4://bucket/a.wav\n",
    "package.csv": b"path\ngs://bucket/a.wav\n",
    "twice.jsonl": b'{"path": "a.wav"}\n{"path": "b.wav"}\n{"path": "a.flac"}\n',
}
# Words of a command line -> words of the message.
CASES = {
    "single.wav --cluster ray://127.0.0.1:1": ("ray://127.0.0.1:1", "refused", "head"),
    "single.wav --cluster=": ("''", "auto"),
    "single.wav --cluster anything": ("'anything'", "auto", "ray://HOST:10001"),
    "s4://bucket/a.wav": ("s4://bucket/a.wav", "s3://"),
    "gs://bucket/a.wav": ("gs://bucket", "pip install gcsfs"),
    "s3:///a.wav": ("s3:///a.wav", "bucket"),
    "s3://bucket/a.wav": ("s3://bucket/a.wav", "no credentials", "AWS_ACCESS_KEY_ID"),
    "single.wav -o s4://bucket": ("s4://bucket:", "unknown scheme"),
    "single.wav -o https://host/out": ("https://host/out", "only be read"),
    "single.wav -o single.wav --cluster local": ("single.wav", "file"),
    "missing.wav --cluster local": ("missing.wav", "does not exist"),
    "single.wav --manifest null.jsonl": ("songs or a manifest",),
    "--manifest none.csv": ("none.csv", "does not exist"),
    "--manifest column.csv": ("column.csv", "path", "file, title"),
    "--manifest empty.csv": ("empty.csv", "path"),
    "--manifest header.csv": ("no songs",),
    "--manifest latin.csv": ("latin.csv", "utf-8"),
    "--manifest null.jsonl": ("null.jsonl, row 2", "None"),
    "--manifest json.jsonl": ("json.jsonl, row 2", "JSON"),
    "--manifest list.jsonl": ("list.jsonl, row 1", "object"),
    "--manifest gzip.jsonl.gz": ("gzip.jsonl.gz", "gzip"),
    "--manifest bad.parquet": ("bad.parquet", "decoded"),
    "--manifest songs.txt": ("songs.txt", ".jsonl, .csv, .parquet"),
    "--manifest up.jsonl": ("up.jsonl, row 1", "'../../a'", "name"),
    "--manifest scheme.csv": ("scheme.csv, row 3: s4://bucket/a.wav", "unknown scheme"),
    "--manifest package.csv": ("package.csv, row 2: gs://bucket/a.wav", "pip install gcsfs"),
    "--manifest twice.jsonl": ("a.wav", "a.flac", "same stems"),
    "--cluster local two.wav --cpus-per-worker 0": ("cpus_per_worker", "0"),
    "two.wav --workers 3": ("workers", "--cluster", "--jobs"),
    "two.wav --gpus-per-worker 1": ("gpus_per_worker", "--cluster"),
    "two.wav --cluster local --jobs 2": ("jobs", "--workers"),
    "two.wav single.wav --cluster local --name {stem}.{ext}": ("{song}",),
    "single.wav --cluster local -m no-such-model": ("no-such-model",),
    "single.wav --cluster local --stems piano": ("'piano'", "bass, vocals"),
    "- --cluster local": ("- ", "--cluster"),
    "": ("SONG", "--manifest"),
}


@pytest.mark.parametrize("words", CASES)
def test_bad_input_is_said_in_one_line(words, songs, model, monkeypatch, capsys):
    if "gcsfs" in CASES[words][-1] and importlib.util.find_spec("gcsfs"):
        pytest.skip("gcsfs is installed")
    monkeypatch.chdir(songs)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    for name, content in MANIFESTS.items():
        (songs / name).write_bytes(content)
    assert main(["separate", "-m", str(model), *words.split()]) == 1
    out, said = capsys.readouterr()
    assert out == ""
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert [word for word in CASES[words] if word not in said] == []
    assert not (songs / "separated" / "catalogue.parquet").exists()


def test_missing_bucket_is_said(s3, songs, model, monkeypatch, capsys):
    monkeypatch.chdir(songs)
    for words in (["single.wav", "-o", "s3://missing/out"], ["s3://missing/songs"]):
        assert main(["separate", "-m", str(model), *words]) == 1
        said = capsys.readouterr().err
        assert "s3://missing" in said
        assert said.count("\n") == 1


def test_missing_packages_are_named(songs, model, monkeypatch, capsys):
    monkeypatch.chdir(songs)
    for package in ("ray", "pyarrow.parquet"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            assert main(["separate", "-m", str(model), "single.wav", "--cluster", "local"]) == 1
        assert "asteroid-waveunet[cluster]" in capsys.readouterr().err


def test_refused_credentials_are_said():
    with pytest.raises(PermissionError, match="AccessDenied.*aws configure"), \
            storage.explaining("s3://bucket/a.wav", "read"):  # fmt: skip
        raise RuntimeError("An error occurred (AccessDenied) when calling HeadObject")
