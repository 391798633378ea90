"""An S3 store on this machine, songs in it and a model that separates them in milliseconds."""

from __future__ import annotations

import logging
from pathlib import Path

import fsspec
import pytest
import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.weights import serialization
from helpers.models import randomize, tiny

RATE = 8000


@pytest.fixture(scope="module")
def s3():
    """The file system of an empty S3 store; the environment leads all clients to it."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield fsspec.filesystem("s3", use_listings_cache=False)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(s3, request) -> str:
    """The URL of an empty bucket."""
    name = f"b{abs(hash(request.node.nodeid)):x}"
    s3.mkdir(name)
    return f"s3://{name}"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model's folder."""
    folder = tmp_path_factory.mktemp("model")
    network = randomize(tiny(sources=("bass", "vocals"), in_channels=2, sample_rate=RATE))
    serialization.save(network.serialize(), folder)
    return folder


@pytest.fixture
def songs(tmp_path) -> Path:
    """A folder of four songs."""
    for number, name in enumerate(("album/01.wav", "album/02.flac", "single.wav", "two.wav")):
        generator = torch.Generator().manual_seed(number)
        samples = 0.1 * torch.randn(2, 1600, generator=generator)
        audio_io.write(tmp_path / "songs" / name, samples, RATE, "PCM_16")
    return tmp_path / "songs"
