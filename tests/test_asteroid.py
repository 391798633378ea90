"""Tests of the integration in Asteroid: import, registry, files, command."""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import asteroid
import numpy as np
import pytest
import torch

import asteroid_waveunet
from asteroid_waveunet import _asteroid, _import_hook, infer
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.weights import serialization
from helpers.models import tiny


def run(code: str, *args) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_asteroid_gets_the_model_by_name():
    assert asteroid.models.get("WaveUNet") is asteroid.models.get("waveunet")
    assert asteroid.models.get("WaveUNet").__name__ == "WaveUNet"


def test_reloading_replaces_the_registered_class():
    code = (
        "import importlib, asteroid_waveunet, asteroid\n"
        "import asteroid_waveunet.models.wave_unet as model\n"
        "importlib.reload(asteroid_waveunet); importlib.reload(model)\n"
        "assert asteroid.models.get('WaveUNet') is model.WaveUNet\n"
    )
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_registered_model_of_another_package_is_not_replaced():
    with pytest.raises(ValueError, match="already exists"):
        _asteroid.register(type("ConvTasNet", (), {}))


def test_broken_torchaudio_disables_the_stoi_loss_only(tmp_path):
    """`import asteroid` alone fails where torchaudio was built for another torch."""
    (tmp_path / "torch_stoi.py").write_text("raise OSError('no such library')")
    code = (
        "import sys, warnings; sys.path.insert(0, sys.argv[1])\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import asteroid_waveunet, importlib.util\n"
        "    assert importlib.util.find_spec('asteroid')  # as torch.hub looks for dependencies\n"
        "    from asteroid.losses import pairwise_neg_sisdr, SingleSrcNegSTOI\n"
        "assert any('STOI loss is off' in str(w.message) for w in caught)\n"
        "assert 'torch_stoi' not in sys.modules\n"
    )
    result = run(code, tmp_path)
    assert result.returncode == 0, result.stderr


def test_torchaudio_of_another_cuda_disables_the_stoi_loss(tmp_path, monkeypatch):
    """It fails with RuntimeError instead of OSError."""
    (tmp_path / "torch_stoi.py").write_text("raise RuntimeError('another CUDA')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch_stoi", raising=False)
    warned = pytest.warns(UserWarning, match="STOI loss is off.*another CUDA")
    with warned, _import_hook.without_broken_stoi():
        assert sys.modules["torch_stoi"] is None
    assert "torch_stoi" not in sys.modules


def test_asteroid_loads_a_saved_model_in_a_fresh_process(tmp_path):
    model = tiny(sources=("a", "b", "c"), in_channels=2, upsampling="learned")
    conf = model.serialize(scores={"SDR": np.float32(3.5), "from": Path("exp")})
    serialization.save(conf, tmp_path)
    mixture = torch.randn(2, 100)
    torch.save({"mixture": mixture, "expected": model(mixture)}, tmp_path / "io.pt")
    code = (
        "import sys, torch, asteroid_waveunet\n"
        "from asteroid.models import BaseModel\n"
        "allowed = torch.serialization.get_safe_globals()\n"
        "assert torch.torch_version.TorchVersion not in allowed, 'as Asteroid finds it'\n"
        "model = BaseModel.from_pretrained(sys.argv[1] + '/pytorch_model.bin').eval()\n"
        "io = torch.load(sys.argv[1] + '/io.pt')\n"
        "torch.testing.assert_close(model(io['mixture']), io['expected'], atol=1e-5, rtol=0)\n"
    )
    result = run(code, tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.filterwarnings("ignore:.*asteroid_waveunet.infer.*:RuntimeWarning")  # imported
def test_asteroid_infer_separates_with_our_models(tmp_path, monkeypatch):
    """Asteroid's own function keeps one channel and cannot write stereo."""
    from asteroid.scripts import asteroid_cli

    monkeypatch.setattr(asteroid_cli, "separate", asteroid_cli.separate)
    channels = 2
    model = tiny(sources=("a", "b"), in_channels=channels, sample_rate=8000)
    serialization.save(model.serialize(), tmp_path)
    song = 0.1 * torch.randn(channels, 8000)
    audio_io.write(tmp_path / "song.wav", song, 16000, "PCM_16")
    arguments = [
        tmp_path / serialization.BIN,
        "--files",
        tmp_path / "song.wav",
        "-o",
        tmp_path / "out",
        "-r",
    ]
    monkeypatch.setattr(sys, "argv", ["infer", *map(str, arguments)])
    runpy.run_module("asteroid_waveunet.infer", run_name="__main__", alter_sys=True)
    stems = [audio_io.read(tmp_path / "out" / f"song_{name}.wav") for name in ("a", "b")]
    assert {(samples.shape, rate) for samples, rate in stems} == {((channels, 8000), 16000)}


def test_asteroid_infer_separates_with_asteroids_models(tmp_path, monkeypatch):
    from asteroid.scripts import asteroid_cli

    monkeypatch.setattr(asteroid_cli, "separate", asteroid_cli.separate)
    model = asteroid.models.ConvTasNet(
        2, n_filters=4, kernel_size=4, n_blocks=1, n_repeats=1, bn_chan=4, hid_chan=4, skip_chan=4
    )
    torch.save({**model.serialize(), "infos": {}}, tmp_path / "model.pth")
    audio_io.write(tmp_path / "song.wav", 0.1 * torch.randn(1, 8000), 8000, "PCM_16")
    infer.main([str(tmp_path / "model.pth"), "--files", str(tmp_path / "song.wav")])
    assert (tmp_path / "song_est2.wav").is_file()


def test_reloaded_package_builds_models():
    importlib.reload(asteroid_waveunet)
    assert isinstance(asteroid_waveunet.presets.make("M1", levels=1), asteroid_waveunet.WaveUNet)
