"""At home in Asteroid: import, registry, and files that travel both ways."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import asteroid
import numpy as np
import pytest
import torch
from conftest import assert_same_model, tiny

import asteroid_waveunet
from asteroid_waveunet import WaveUNet, _host, weights

MIXTURE = torch.linspace(-0.5, 0.5, 200)[None]


def run(code: str, *args) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_asteroid_finds_the_model_by_name():
    assert asteroid.models.get("WaveUNet") is asteroid.models.get("waveunet")
    assert asteroid.models.get("WaveUNet").__name__ == "WaveUNet"


def test_importing_twice_and_reloading_do_not_raise():
    code = (
        "import importlib, asteroid_waveunet, asteroid, asteroid_waveunet.model as model\n"
        "importlib.reload(asteroid_waveunet); importlib.reload(model)\n"
        "assert asteroid.models.get('WaveUNet') is model.WaveUNet\n"
    )
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_somebody_elses_model_of_our_name_is_not_replaced():
    with pytest.raises(ValueError, match="already exists"):
        _host.register(type("ConvTasNet", (), {}))


@pytest.mark.parametrize("error", ["OSError", "RuntimeError"])
def test_a_torchaudio_that_cannot_load_costs_the_stoi_loss_only(error, tmp_path):
    """What `import asteroid` alone dies of wherever torchaudio is built for another torch."""
    (tmp_path / "torch_stoi.py").write_text(f"raise {error}('no such library')")
    code = (
        "import sys, warnings; sys.path.insert(0, sys.argv[1])\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import asteroid_waveunet\n"
        "assert any('STOI loss is off' in str(w.message) for w in caught)\n"
        "assert 'torch_stoi' not in sys.modules\n"
        "from asteroid.losses import pairwise_neg_sisdr, SingleSrcNegSTOI\n"
    )
    result = run(code, tmp_path)
    assert result.returncode == 0, result.stderr


def test_the_package_and_hubconf_need_none_of_the_heavy_libraries():
    code = (
        "import sys\n"
        "for name in ('pytorch_lightning', 'musdb', 'museval', 'stempeg', 'torchaudio',\n"
        "             'torch_stoi', 'matplotlib', 'tensorboard'):\n"
        "    sys.modules[name] = None\n"
        "import torch, asteroid_waveunet, hubconf\n"
        "model = hubconf.waveunet(levels=2)\n"
        "asteroid_waveunet.WaveUNet.from_pretrained(model.serialize())(torch.zeros(1, 9))\n"
    )
    root = str(Path(asteroid_waveunet.__file__).parents[1])
    result = run(f"import sys; sys.path.insert(0, {root!r})\n{code}")
    assert result.returncode == 0, result.stderr


def saved(tmp_path, **infos):
    model = tiny(sources=("a", "b", "c"), in_channels=2, upsampling="learned")
    weights.save(model.serialize(**infos), tmp_path)
    return model


@pytest.mark.parametrize("name", ["", "pytorch_model.bin", "model.safetensors"])
def test_there_and_back_through_real_files(tmp_path, name):
    model = saved(tmp_path)
    loaded = WaveUNet.from_pretrained(tmp_path / name if name else str(tmp_path))
    assert not loaded.training
    assert loaded.sources == ("a", "b", "c")
    assert loaded.sample_rate == model.sample_rate
    mixture = torch.randn(2, 100)
    assert_same_model(loaded, model, mixture)


def test_unpatched_asteroid_loads_our_file(tmp_path):
    model = saved(tmp_path, scores={"SDR": np.float32(3.5), "from": Path("exp")})
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


def test_files_that_asteroid_wrote_load_too(tmp_path):
    """Its serialize() stores a TorchVersion, which its own from_pretrained then refuses."""
    model = tiny()
    conf = {**model.serialize(), "infos": {"software_versions": {"torch": torch.__version__}}}
    torch.save(conf, tmp_path / "model.pth")
    loaded = WaveUNet.from_pretrained(tmp_path / "model.pth")
    assert_same_model(loaded, model, MIXTURE)


def test_what_is_serialised_is_plain():
    conf = tiny().serialize(scores={"SDR": np.float64(1.0)}, path=Path("a"), none=None)
    described = {k: v for k, v in conf.items() if k != "state_dict"}
    assert json.loads(json.dumps(described)) == described
    with pytest.raises(ValueError, match="A set cannot be stored"):
        tiny().serialize(targets={1})


def test_arguments_can_be_replaced_on_loading():
    conf = tiny().serialize()
    assert WaveUNet.from_pretrained(conf, sample_rate=8000).sample_rate == 8000
    assert conf["model_args"]["sample_rate"] == 22050, "the caller's dictionary is left alone"


def test_weights_of_another_configuration_name_the_tensors():
    with pytest.raises(ValueError, match=r"bottleneck.weight: \(12, 8, 5\), expected \(12, 8, 7\)"):
        WaveUNet.from_pretrained(tiny().serialize(), down_kernel_size=7)


def test_another_kind_of_model_is_refused():
    conf = {**tiny().serialize(), "model_name": "ConvTasNet"}
    with pytest.raises(ValueError, match="weights of a ConvTasNet, not of a WaveUNet"):
        WaveUNet.from_pretrained(conf)
    with pytest.raises(ValueError, match="model_args, state_dict missing or of another kind"):
        WaveUNet.from_pretrained({"model_name": "WaveUNet", "model_args": []})
    with pytest.raises(ValueError, match="state_dict missing or of another kind"):
        WaveUNet.from_pretrained({**tiny().serialize(), "state_dict": {"a": 3}})
    with pytest.raises(ValueError, match=r"no WaveUNet's: .*'lvels'"):
        WaveUNet.from_pretrained(tiny().serialize(), lvels=3)
    with pytest.raises(ValueError, match="A NoneType names no weights"):
        WaveUNet.from_pretrained(None)


def test_weights_that_are_not_finite_are_refused():
    conf = tiny().serialize()
    conf["state_dict"]["bottleneck.bias"][0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity \(bottleneck.bias\)"):
        WaveUNet.from_pretrained(conf)


class Harmful:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_a_corrupt_or_harmful_file_is_refused(tmp_path, capsys):
    saved(tmp_path)
    whole = (tmp_path / "pytorch_model.bin").read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}.items():
        path = tmp_path / f"{name}.bin"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.bin cannot be read"):
            WaveUNet.from_pretrained(path)
    torch.save({"model_name": Harmful()}, tmp_path / "harmful.bin")
    with pytest.raises(ValueError, match="never unpickled"):
        WaveUNet.from_pretrained(tmp_path / "harmful.bin")
    assert "unpickled" not in capsys.readouterr().out
    (tmp_path / "model.safetensors").write_bytes(whole[:100])
    with pytest.raises(ValueError, match="corrupt"):
        WaveUNet.from_pretrained(tmp_path / "model.safetensors")


def test_what_does_not_exist_is_said_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    for name in ("", "exp/best_model", "nowhere/best_model.pth", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="no name on the Hugging Face Hub"):
            WaveUNet.from_pretrained(name)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda **_: 1 / 0)
    with pytest.raises(FileNotFoundError, match="'user/model' here, and the Hugging Face Hub gave"):
        WaveUNet.from_pretrained("user/model")
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        WaveUNet.from_pretrained(str(tmp_path / "nowhere.bin"))
    with pytest.raises(FileNotFoundError, match="holds neither pytorch_model.bin"):
        WaveUNet.from_pretrained(tmp_path)


def test_reloading_keeps_the_class_usable():
    importlib.reload(asteroid_waveunet)
    assert isinstance(asteroid_waveunet.presets.make("M1", levels=1), asteroid_waveunet.WaveUNet)
