"""Names of the streams of `.stem.mp4` files, for DJ software and MUSDB18's readers."""

from __future__ import annotations

import json
import struct

import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio import mp4, stem_names
from asteroid_waveunet.audio.stem_names import in_musdb_order
from helpers.songs import write_stem_file

NAMES = ("mixture", "drums", "bass", "other", "vocals")


def write(path, names=NAMES):
    with mp4.open_stem_writer(path, names, 44100, 2) as write_block:
        write_block(0.1 * torch.randn(len(names), 2, 5000))
    return path


def boxes(content: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at < len(content):
        size, name = struct.unpack(">I4s", content[at : at + 8])
        found[name] = content[at + 8 : at + size]
        at += size
    assert at == len(content), "sizes cover the file"
    return found


def test_box_holds_the_stems_in_order(tmp_path):
    content = write(tmp_path / "song.stem.mp4").read_bytes()
    stem = json.loads(boxes(boxes(boxes(content)[b"moov"])[b"udta"])[b"stem"])
    assert [entry["name"] for entry in stem["stems"]] == list(NAMES[1:])
    assert stem["version"] == 1 and not stem["mastering_dsp"]["limiter"]["enabled"]
    assert audio_io.read(tmp_path / "song.stem.mp4")[0].shape == (2, 5000)


def test_names_are_read_from_the_box_and_from_titles(tmp_path):
    path = write(tmp_path / "song.stem.mp4", ("mixture", "Guitar", "Vox"))
    assert stem_names.read_names(path) == ("guitar", "vocals")
    path.write_bytes(path.read_bytes().replace(b"stem{", b"free{"))
    assert stem_names.read_names(path) == ("guitar", "vocals")


def test_names_of_musdb(tmp_path):
    path = write_stem_file(tmp_path)
    assert stem_names.read_names(path) == stem_names.MUSDB_ORDER


def test_missing_placeholder_and_repeated_names_are_none(tmp_path):
    for number, names in enumerate((("m", "Stem 1", "Stem 2"), ("m", "a", "a"), ("m", "", "b"))):
        assert stem_names.read_names(write(tmp_path / f"{number}.stem.mp4", names)) is None


def test_unreadable_file_is_refused(tmp_path):
    (tmp_path / "no.stem.mp4").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"no\.stem\.mp4 cannot be read"):
        stem_names.read_names(tmp_path / "no.stem.mp4")


def test_musdb_order_does_not_depend_on_the_spelling():
    assert in_musdb_order(("Vocals", "Bass", "Drum")) == ["Drum", "Bass", "Vocals"]
