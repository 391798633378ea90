"""Files of weights: there and back, whatever is wrong with them, whoever made them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.streaming import export
from asteroid_waveunet.weights import safe_load, serialization
from helpers.models import assert_same_model, tiny

MIXTURE = torch.linspace(-0.5, 0.5, 200)[None]


def saved(folder: Path, **infos) -> WaveUNet:
    model = tiny(sources=("a", "b", "c"), in_channels=2, upsampling="learned")
    serialization.save(model.serialize(**infos), folder)
    return model


@pytest.mark.parametrize("name", ["", serialization.BIN, serialization.SAFETENSORS])
@pytest.mark.parametrize("alone", [False, True])
def test_there_and_back_through_real_files(tmp_path, name, alone):
    model = saved(tmp_path / "whole")
    path = tmp_path / "whole" / name
    if alone:
        path = tmp_path / (name or serialization.SAFETENSORS)
        os.replace(tmp_path / "whole" / path.name, path)
    loaded = WaveUNet.from_pretrained(path if name else str(path))
    assert not loaded.training
    assert loaded.sources == ("a", "b", "c")
    assert loaded.sample_rate == model.sample_rate
    assert_same_model(loaded, model, torch.randn(2, 100))


def test_safetensors_are_taken_where_there_are_both(tmp_path):
    saved(tmp_path)
    (tmp_path / serialization.BIN).write_bytes(b"nothing")
    assert WaveUNet.from_pretrained(tmp_path).sources == ("a", "b", "c")


def test_links_in_a_folder_of_ones_own_are_followed(tmp_path):
    """The Hub's cache is made of them."""
    saved(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for name in (serialization.SAFETENSORS, serialization.CONFIG):
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
    assert WaveUNet.from_pretrained(tmp_path / "snapshot").sources == ("a", "b", "c")


def test_the_same_model_is_the_same_file(tmp_path):
    """Byte for byte, also of safetensors, which writes its metadata in any order."""
    model = tiny()
    for name in (serialization.BIN, serialization.SAFETENSORS):
        files = [tmp_path / f"{n}{name}" for n in range(8)]
        for file in files:
            serialization.write(model.serialize(scores="größer"), file)
        assert len({file.read_bytes() for file in files}) == 1
    header = int.from_bytes(files[0].read_bytes()[:8], "little")
    assert header % 8 == 0, "so that tensors lie where processors like them"
    with safetensors.safe_open(files[0], "pt") as file:
        assert json.loads(file.metadata()["config"])["infos"]["scores"] == "größer"


def test_a_file_does_not_tell_where_it_was_written(tmp_path):
    """torch.save keeps the name of a path in the file, which here is a passing one."""
    model = saved(tmp_path / "one")
    serialization.write(model.serialize(), tmp_path / "other.pth")
    assert (tmp_path / "one" / serialization.BIN).read_bytes() == (
        tmp_path / "other.pth"
    ).read_bytes()


def test_loading_draws_no_random_numbers():
    conf = tiny().serialize()
    before = torch.get_rng_state()
    WaveUNet.from_pretrained(conf)
    assert torch.equal(torch.get_rng_state(), before)


def test_loaded_weights_are_the_models_own():
    model = tiny()
    loaded = WaveUNet.from_pretrained(model.serialize())
    with torch.no_grad():
        loaded.bottleneck.bias.add_(1)
    assert not torch.equal(loaded.bottleneck.bias, model.bottleneck.bias)


def test_half_precision_weights_load_into_a_model_of_float32(tmp_path):
    conf = tiny().serialize()
    conf["state_dict"] = {name: tensor.half() for name, tensor in conf["state_dict"].items()}
    serialization.save(conf, tmp_path)
    for name in (serialization.BIN, serialization.SAFETENSORS):
        assert WaveUNet.from_pretrained(tmp_path / name).bottleneck.weight.dtype == torch.float32


def test_files_that_asteroid_wrote_load_too(tmp_path):
    """Its serialize() stores a TorchVersion, which its own from_pretrained then refuses."""
    model = tiny()
    conf = {**model.serialize(), "infos": {"software_versions": {"torch": torch.__version__}}}
    torch.save(conf, tmp_path / "model.pth")
    assert_same_model(WaveUNet.from_pretrained(tmp_path / "model.pth"), model, MIXTURE)


def test_what_is_serialised_is_plain():
    conf = tiny().serialize(scores={"SDR": np.float64(1.0)}, path=Path("a"), none=None)
    described = {k: v for k, v in conf.items() if k != "state_dict"}
    assert json.loads(json.dumps(described)) == described
    with pytest.raises(ValueError, match="A set cannot be stored"):
        tiny().serialize(targets={1})


# Arguments that are replaced.


@pytest.mark.parametrize(
    "replaced",
    [
        {"sample_rate": 8000},
        {"sources": ("x", "y")},
        {"output_activation": "linear"},
        {"context": False},
        {"levels": 2, "filter_growth": 4},
    ],
)
def test_arguments_that_leave_weights_alone_can_be_replaced(replaced):
    conf = tiny().serialize()
    before = dict(conf["model_args"])
    arguments = WaveUNet.from_pretrained(conf, **replaced).get_model_args()
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in replaced.items()}
    assert arguments == {**before, **given}
    assert conf["model_args"] == before, "the caller's dictionary is left alone"


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        ({"levels": 3}, "levels=3.*trained with levels=2"),
        ({"down_kernel_size": 7}, "trained with down_kernel_size=5"),
        ({"in_channels": 2}, "Cannot override in_channels=2"),
        ({"upsampling": "learned"}, "Cannot override upsampling='learned'"),
        ({"output": "direct"}, "overridden: .*sample_rate, output_activation, context"),
        ({"filter_growth": 10**9}, "Cannot override filter_growth=1000000000"),
        ({"sources": ["a"]}, r"sources=\['a'\]: .* with 2 sources"),
        ({"sources": ["a", "../b"]}, "The source '../b' cannot name a file"),
        ({"sample_rate": "fast"}, "sample_rate is 'fast'"),
        ({"lvels": 3}, "WaveUNet: .*'lvels'"),
    ],
)
def test_arguments_that_cannot_be_replaced_are_said(replaced, says):
    with pytest.raises(ValueError, match=says):
        WaveUNet.from_pretrained(tiny().serialize(), **replaced)


# Configurations from outside.


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"levels": 40}, "levels is 40; expected a whole number, 1 to 24"),
        ({"levels": 10**30}, "levels is 1000000000000000000000000000000; expected"),
        ({"levels": 10**300}, "levels is a whole number of 997 bits"),
        ({"levels": "2"}, "levels is '2'"),
        ({"levels": [2]}, r"levels is \[2\]"),
        (
            {"initial_filters": 10**9},
            "initial_filters is 1000000000; expected a whole number, 1 to",
        ),
        (
            {"initial_filters": 10**6},
            "make a model of .* weights .* maximum is 5.4e[+]08",
        ),
        ({"down_kernel_size": 10**8}, "Lower its levels, filters or kernel"),
        ({"filter_growth": 10**5, "levels": 24}, "make a model of"),
        (
            {"initial_filters": 4000},
            r"The weights are not this model's: .* expected \(4004,\)",
        ),
        ({"sample_rate": 1e300}, "sample_rate is 1e[+]300; expected a whole number of Hz, 1 to"),
        ({"sample_rate": float("nan")}, "sample_rate is nan"),
        ({"sources": ["/etc/passwd", "b"]}, "The source '/etc/passwd' cannot name a file"),
        ({"sources": ["..", "b"]}, "The source '..' cannot name a file"),
        ({"sources": ["a" * 10**6, "b"]}, "The source 'aaaa.*aaa... cannot name a file"),
        ({"sources": "ab"}, "sources is 'ab'; expected distinct names"),
        ({"sources": ["a"] * 10**5}, "sources is .*; expected distinct names"),
        ({"sources": {"a": 1}}, "sources is {'a': 1}"),
        ({"upsampling": ["linear"]}, r"upsampling is \['linear'\]; expected 'linear' or"),
        ({"self": 1}, "Invalid arguments for WaveUNet"),
        ({"rm -rf": 1}, "Invalid arguments for WaveUNet"),
    ],
)
@pytest.mark.parametrize("name", [serialization.BIN, serialization.SAFETENSORS])
@pytest.mark.timeout(10)
def test_absurd_configurations_are_refused_before_anything_is_built(tmp_path, wrong, says, name):
    conf = tiny().serialize()
    conf["model_args"] |= wrong
    serialization.write(conf, tmp_path / name)
    with pytest.raises(ValueError, match=says) as caught:
        WaveUNet.from_pretrained(tmp_path / name)
    assert len(str(caught.value)) < 1000


def test_a_refusal_takes_neither_time_nor_memory(tmp_path):
    """In a process that may have 500 MB beyond what it has when all is imported."""
    conf = tiny().serialize()
    for index, wrong in enumerate(({"initial_filters": 4000}, {"down_kernel_size": 3 * 10**6})):
        torch.save({**conf, "model_args": conf["model_args"] | wrong}, tmp_path / f"{index}.bin")
    huge = {**conf["state_dict"], "bottleneck.bias": torch.zeros(1).expand(10**12)}
    torch.save({**conf, "state_dict": huge}, tmp_path / "expanded.bin")
    code = (
        "import resource, sys; from asteroid_waveunet import WaveUNet\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 5 * 10**8,) * 2)\n"
        "for path in sys.argv[1:]:\n"
        "    try: WaveUNet.from_pretrained(path)\n"
        "    except ValueError as reason: print(reason)\n"
    )
    paths = [tmp_path / name for name in ("0.bin", "1.bin", "expanded.bin")]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    filters, kernel, expanded = result.stdout.splitlines()
    assert "expected (4004,)" in filters and "expected (8, 4, 3000000)" in kernel
    assert "declares 40000000" in expanded and "made to fill the memory" in expanded


def test_weights_of_another_configuration_name_the_tensors():
    conf = tiny().serialize()
    conf["model_args"]["down_kernel_size"] = 7
    with pytest.raises(ValueError, match=r"bottleneck.weight: \(12, 8, 5\), expected \(12, 8, 7\)"):
        WaveUNet.from_pretrained(conf)


def test_a_config_that_is_not_of_these_weights_is_refused(tmp_path):
    """Same shapes, other meaning: a file beside another's config.json."""
    saved(tmp_path)
    path = tmp_path / serialization.CONFIG
    described = json.loads(path.read_text())
    for text, says in {
        json.dumps(described | {"model_args": described["model_args"] | {"context": False}}): (
            "config.json describes another model than model.safetensors itself does"
        ),
        "{": "config.json is corrupt",
        "[1]": "config.json describes no model: it is a list",
        "[" * 100000: "config.json is corrupt",
        " " * (safe_load.MAX_CONFIG + 1): "it describes no model",
        json.dumps({"model_type": "bert"}): "config.json describes another model",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            WaveUNet.from_pretrained(tmp_path)


# Files that are broken, or made to harm.


def test_corrupt_files_are_refused(tmp_path):
    saved(tmp_path)
    whole = (tmp_path / serialization.BIN).read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello",
        "pickle": pickle.dumps({"a": 1}),
    }.items():
        path = tmp_path / f"{name}.bin"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.bin cannot be read: it is truncated"):
            WaveUNet.from_pretrained(path)
    path = tmp_path / serialization.SAFETENSORS
    whole = path.read_bytes()
    huge_header = (2**62).to_bytes(8, "little") + whole[8:]
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"hello", huge_header):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="model.safetensors is corrupt"):
            WaveUNet.from_pretrained(tmp_path)


class Harmful:
    """Pickles as the call of a function, which is what a harmful file does."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "called"),
    [(os.system, r"(posix|nt)\.system"), (exec, r"(builtins\.)?exec"), (open, r"io\.open")],
)
@pytest.mark.parametrize("key", ["model_name", "model_args", "state_dict", "infos"])
def test_a_file_that_would_run_code_is_refused_with_the_reason(tmp_path, function, called, key):
    target = tmp_path / "written"
    words = {os.system: (f"touch {target}",), exec: (f"open({str(target)!r}, 'w')",)}
    words[open] = (str(target), "w")
    harmful = Harmful(function, *words[function])
    path = tmp_path / serialization.BIN
    torch.save({**tiny().serialize(), key: harmful}, path)
    for source in (path, tmp_path):
        with pytest.raises(ValueError, match=f"asks for {called}, .*Code in a file is never run"):
            WaveUNet.from_pretrained(source)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "so it would have been"


def rewritten(path: Path, target: Path, compression: int = zipfile.ZIP_STORED, *more: str) -> Path:
    """An archive's entries, and more of them, in another archive."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w", compression) as copy:
        for entry in archive.infolist():
            copy.writestr(entry.filename, archive.read(entry))
        for name in more:
            copy.writestr(name, b"evil")
    return target


def test_archives_that_grow_when_they_are_read_are_refused(tmp_path):
    saved(tmp_path)
    bomb = rewritten(tmp_path / serialization.BIN, tmp_path / "bomb.bin", zipfile.ZIP_DEFLATED)
    with pytest.raises(
        ValueError, match=r"compressed \(\d+ bytes in \d+\), which torch.save never"
    ):
        WaveUNet.from_pretrained(bomb)


def test_names_in_archives_stay_in_them(tmp_path):
    saved(tmp_path)
    path = tmp_path / "a" / "b" / "model.bin"
    path.parent.mkdir(parents=True)
    rewritten(tmp_path / serialization.BIN, path, zipfile.ZIP_STORED, "archive/../../../evil")
    before = sorted(tmp_path.rglob("*"))
    assert WaveUNet.from_pretrained(path).sources == ("a", "b", "c")
    rewritten(tmp_path / serialization.BIN, path, zipfile.ZIP_STORED, "../evil", f"{tmp_path}/evil")
    with pytest.raises(ValueError, match="cannot be read"):
        WaveUNet.from_pretrained(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_many_tensors_of_one_memory_are_counted(tmp_path):
    """A file of 40 kB that would become a model of 40 GB."""
    conf = tiny().serialize()
    memory = torch.zeros(10000)
    conf["state_dict"] = {f"{index}": memory for index in range(1000)}
    torch.save(conf, tmp_path / serialization.BIN)
    with pytest.raises(ValueError, match="declares 40000000 bytes of weights"):
        WaveUNet.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.zeros(12, dtype=torch.int64), "'bottleneck.bias' .* but torch.int64"),
        (torch.zeros(12, dtype=torch.complex64), "no dense tensor of floats"),
        (torch.zeros(12).to_sparse(), "no dense tensor"),
        (torch.zeros(12, device="meta"), "no dense tensor"),
        (torch.zeros(12).to(torch.float8_e4m3fn), "float8"),
        (3, "'bottleneck.bias' in its state_dict is no dense tensor of floats, but int"),
        (torch.full((12,), float("nan")), r"NaN or infinity \(bottleneck.bias\)"),
    ],
)
def test_weights_of_other_kinds_are_refused(tmp_path, tensor, says):
    conf = tiny().serialize()
    conf["state_dict"]["bottleneck.bias"] = tensor
    torch.save(conf, tmp_path / serialization.BIN)
    with pytest.raises(ValueError, match=says):
        WaveUNet.from_pretrained(tmp_path)


# What is no weights of ours.


def test_another_kind_of_dictionary_is_refused():
    conf = {**tiny().serialize(), "model_name": "ConvTasNet"}
    with pytest.raises(ValueError, match="weights of a ConvTasNet; expected a WaveUNet"):
        WaveUNet.from_pretrained(conf)
    with pytest.raises(ValueError, match="model_args, state_dict missing or of another kind"):
        WaveUNet.from_pretrained({"model_name": "WaveUNet", "model_args": []})
    with pytest.raises(ValueError, match="infos missing or of another kind"):
        WaveUNet.from_pretrained({**tiny().serialize(), "infos": [1]})
    with pytest.raises(ValueError, match="A NoneType names no weights"):
        WaveUNet.from_pretrained(None)


# The names of tensors as these projects' own code makes them.
OTHERS = {
    "Wave-U-Net-Pytorch, which resamples": [
        "waveunets.vocals.downsampling_blocks.0.pre_shortcut_convs.0.filter.weight",
        "waveunets.vocals.bottlenecks.0.filter.weight",
    ],
    "Wave-U-Net-for-Speech-Enhancement": [
        "encoder.0.main.0.weight",
        "middle.0.weight",
        "decoder.0.main.1.running_mean",
    ],
    "Demucs": ["encoder.0.conv.weight", "encoder.0.dconv.layers.0.0.weight"],
    "Open-Unmix": ["input_mean", "output_scale", "fc1.weight", "lstm.weight_ih_l0"],
    "an Asteroid model of encoder, masker": ["encoder.filterbank._filters", "masker.TCN.0.weight"],
}


@pytest.mark.parametrize("owner", OTHERS)
@pytest.mark.parametrize(
    "form", ["bare", "checkpoint", "before torch 1.6", "pickle", "safetensors"]
)
def test_weights_of_others_are_refused_with_whose_they_seem_to_be(tmp_path, owner, form):
    state = {name: torch.zeros(2) for name in OTHERS[owner]}
    path = tmp_path / ("model.safetensors" if form == "safetensors" else "model.pth")
    if form == "safetensors":
        safetensors.torch.save_file(state, path)
    elif form == "checkpoint":
        torch.save({"model_state_dict": state, "optimizer_state_dict": {}}, path)
    elif form == "pickle":
        torch.save({"model": state, "args": Harmful(print, "harm")}, path)
    else:
        new = form == "bare"
        torch.save(state, path, _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match=f"seems to be of {owner}.* another architecture"):
        WaveUNet.from_pretrained(path)
    with pytest.raises(ValueError, match=f"The dictionary seems to be of {owner}"):
        WaveUNet.from_pretrained(state)


def test_a_bare_state_dict_of_ours_is_told_what_it_lacks(tmp_path):
    torch.save(tiny().state_dict(), tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"a WaveUNet, but without its arguments.*serialize\(\)"):
        WaveUNet.from_pretrained(tmp_path / "model.pth")
    safetensors.torch.save_file(tiny().state_dict(), tmp_path / serialization.SAFETENSORS)
    with pytest.raises(ValueError, match="in its config.json, which belongs beside it"):
        WaveUNet.from_pretrained(tmp_path)


def test_an_exported_step_is_no_weights(tmp_path):
    export.export_step(tiny(), tmp_path / "step.pt", "torchscript", hop=8)
    with pytest.raises(ValueError, match=r"step.pt cannot be read: it is a TorchScript program"):
        WaveUNet.from_pretrained(tmp_path / "step.pt")


def test_what_does_not_exist_is_said_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    for name in ("", "exp/best_model", "nowhere/best_model.pth", "a/b/c", "ftp://a/b.bin"):
        with pytest.raises(FileNotFoundError, match="no name on the Hugging Face Hub"):
            WaveUNet.from_pretrained(name)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        WaveUNet.from_pretrained(str(tmp_path / "nowhere.bin"))
    with pytest.raises(FileNotFoundError, match="holds neither model.safetensors nor pytorch_m"):
        WaveUNet.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x"}}')
    with pytest.raises(FileNotFoundError, match="holds neither"):
        WaveUNet.from_pretrained(tmp_path)
