"""Model files: round trips, overridden arguments, and invalid, harmful or foreign files."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
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
FILES = (serialization.BIN, serialization.SAFETENSORS)


@contextlib.contextmanager
def case(label: object) -> Iterator[None]:
    """Name the case of a loop that fails."""
    try:
        yield
    except (Exception, pytest.fail.Exception) as reason:
        raise AssertionError(f"case {label!r:.200}: {reason}") from reason


def save(folder: Path) -> WaveUNet:
    model = tiny(sources=("a", "b", "c"), in_channels=2, upsampling="learned")
    serialization.save(model.serialize(), folder)
    return model


def test_model_in_a_folder_whose_name_is_no_utf_8(tmp_path):
    model = save(tmp_path / os.fsdecode(b"mod\xe8le"))
    for name in ("", *FILES):
        loaded = WaveUNet.from_pretrained(tmp_path / os.fsdecode(b"mod\xe8le") / name)
        assert_same_model(loaded, model, torch.randn(2, 100))


def test_saved_model_loads_from_its_folder_and_from_each_file(tmp_path):
    for alone in (False, True):
        for name in ("", *FILES):
            with case((name, alone)):
                folder = tmp_path / f"{name}{alone}"
                model = save(folder)
                path = folder / name
                if alone:  # without config.json and the other format
                    path = tmp_path / f"alone{name}" / (name or serialization.SAFETENSORS)
                    path.parent.mkdir()
                    os.replace(folder / path.name, path)
                loaded = WaveUNet.from_pretrained(path if name else str(path))
                assert not loaded.training
                assert loaded.sources == ("a", "b", "c")
                assert loaded.sample_rate == model.sample_rate
                assert_same_model(loaded, model, torch.randn(2, 100))


def test_folder_with_both_formats_loads_safetensors(tmp_path):
    save(tmp_path)
    (tmp_path / serialization.BIN).write_bytes(b"nothing")
    assert WaveUNet.from_pretrained(tmp_path).sources == ("a", "b", "c")


def test_symbolic_links_to_weights_and_config_are_followed(tmp_path):
    """The Hub's cache consists of them."""
    save(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for name in (serialization.SAFETENSORS, serialization.CONFIG):
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
    assert WaveUNet.from_pretrained(tmp_path / "snapshot").sources == ("a", "b", "c")


def test_files_of_one_model_are_identical_under_any_name(tmp_path):
    """torch.save would store the path's name; safetensors writes metadata in random order."""
    model = tiny()
    for name in FILES:
        files = [tmp_path / str(n) / f"{n}{name}" for n in range(8)]
        for file in files:
            serialization.write(model.serialize(scores="größer"), file)
        assert len({file.read_bytes() for file in files}) == 1, name
    header = int.from_bytes(files[0].read_bytes()[:8], "little")
    assert header % 8 == 0, "the tensors are aligned"
    with safetensors.safe_open(files[0], "pt") as file:
        assert json.loads(file.metadata()["config"])["infos"]["scores"] == "größer"


def test_loading_draws_no_random_numbers():
    conf = tiny().serialize()
    before = torch.get_rng_state()
    WaveUNet.from_pretrained(conf)
    assert torch.equal(torch.get_rng_state(), before)


def test_loaded_weights_are_copies():
    model = tiny()
    loaded = WaveUNet.from_pretrained(model.serialize())
    with torch.no_grad():
        loaded.bottleneck.bias.add_(1)
    assert not torch.equal(loaded.bottleneck.bias, model.bottleneck.bias)


def test_half_precision_weights_load_into_a_float32_model(tmp_path):
    conf = tiny().serialize()
    conf["state_dict"] = {name: tensor.half() for name, tensor in conf["state_dict"].items()}
    serialization.save(conf, tmp_path)
    for name in FILES:
        loaded = WaveUNet.from_pretrained(tmp_path / name)
        assert loaded.bottleneck.weight.dtype == torch.float32, name


def test_file_of_asteroids_own_serialize_loads(tmp_path):
    """It stores a TorchVersion, which Asteroid's own from_pretrained then rejects."""
    model = tiny()
    conf = {**model.serialize(), "infos": {"software_versions": {"torch": torch.__version__}}}
    torch.save(conf, tmp_path / "model.pth")
    assert_same_model(WaveUNet.from_pretrained(tmp_path / "model.pth"), model, MIXTURE)


def test_serialized_infos_are_plain_python():
    conf = tiny().serialize(scores={"SDR": np.float64(1.0)}, path=Path("a"), none=None)
    metadata = {key: value for key, value in conf.items() if key != "state_dict"}
    assert json.loads(json.dumps(metadata)) == metadata
    with pytest.raises(ValueError, match="set cannot be stored"):
        tiny().serialize(targets={1})


# Overridden arguments.


def test_arguments_that_keep_the_weights_shapes_can_be_overridden():
    for overrides in (
        {"sample_rate": 8000},
        {"sources": ("x", "y")},
        {"output_activation": "linear"},
        {"context": False},
        {"levels": 2, "filter_growth": 4},
    ):
        with case(overrides):
            conf = tiny().serialize()
            before = dict(conf["model_args"])
            arguments = WaveUNet.from_pretrained(conf, **overrides).get_model_args()
            plain = {k: list(v) if isinstance(v, tuple) else v for k, v in overrides.items()}
            assert arguments == {**before, **plain}
            assert conf["model_args"] == before, "the caller's dictionary is not changed"


def test_other_overrides_are_rejected_by_name():
    conf = tiny().serialize()
    for overrides, message in (
        ({"levels": 3}, "levels=3.*trained with levels=2"),
        ({"down_kernel_size": 7}, "trained with down_kernel_size=5"),
        ({"in_channels": 2}, "override in_channels=2"),
        ({"upsampling": "learned"}, "override upsampling='learned'"),
        ({"output": "direct"}, "overridden: .*sample_rate, output_activation, context"),
        ({"filter_growth": 10**9}, "override filter_growth=1000000000"),
        ({"sources": ["a"]}, r"sources=\['a'\]: .* with 2 sources"),
        ({"sources": ["a", "../b"]}, "'../b' cannot name a file"),
        ({"sample_rate": "fast"}, "sample_rate is 'fast'"),
        ({"lvels": 3}, "WaveUNet: .*'lvels'"),
    ):
        with case(overrides), pytest.raises(ValueError, match=message):
            WaveUNet.from_pretrained(conf, **overrides)


# Invalid arguments in a file.


def check_rejected(folder: Path, cases) -> None:
    """Check the message for each change of the model's arguments, in both formats."""
    for changes, message in cases:
        for name in FILES:
            conf = tiny().serialize()
            conf["model_args"] |= changes
            with case((name, changes)):
                serialization.write(conf, folder / name)
                with pytest.raises(ValueError, match=message) as caught:
                    WaveUNet.from_pretrained(folder / name)
                assert len(str(caught.value)) < 1000


@pytest.mark.timeout(120)
def test_absurd_model_sizes_are_rejected_before_the_model_is_built(tmp_path):
    cases = (
        ({"levels": 40}, "levels is 40; expected a whole number, 1 to 24"),
        ({"levels": 10**30}, "levels is 1000000000000000000000000000000; expected"),
        ({"levels": 10**300}, "levels is a whole number of 997 bits"),
        ({"initial_filters": 10**9}, "initial_filters is 1000000000; expected .* 1 to"),
        ({"initial_filters": 10**6}, "make a model of .* weights .* maximum is 5.4e[+]08"),
        ({"down_kernel_size": 10**8}, "Lower its levels, filters or kernel"),
        ({"filter_growth": 10**5, "levels": 24}, "make a model of"),
        ({"initial_filters": 4000}, r"tensors differ .* expected \(4004,\)"),
        ({"sources": ["a"] * 10**5}, "sources is .*; expected distinct names"),
    )
    check_rejected(tmp_path, cases)


def test_invalid_argument_values_are_rejected(tmp_path):
    cases = (
        ({"levels": "2"}, "levels is '2'"),
        ({"levels": [2]}, r"levels is \[2\]"),
        ({"sample_rate": 1e300}, "sample_rate is 1e[+]300; expected a whole number of Hz, 1 to"),
        ({"sample_rate": float("nan")}, "sample_rate is nan"),
        ({"sources": ["/etc/passwd", "b"]}, "'/etc/passwd' cannot name a file"),
        ({"sources": ["..", "b"]}, "'..' cannot name a file"),
        ({"sources": ["a" * 10**6, "b"]}, "'aaaa.*aaa... cannot name a file"),
        ({"sources": "ab"}, "sources is 'ab'; expected distinct names"),
        ({"sources": {"a": 1}}, "sources is {'a': 1}"),
        ({"upsampling": ["linear"]}, r"upsampling is \['linear'\]; expected 'linear' or"),
        ({"self": 1}, "arguments for WaveUNet"),
        ({"rm -rf": 1}, "arguments for WaveUNet"),
    )
    check_rejected(tmp_path, cases)


def test_rejecting_absurd_sizes_takes_little_memory(tmp_path):
    """The process may allocate 500 MB beyond its imports."""
    conf = tiny().serialize()
    for index, changes in enumerate(({"initial_filters": 4000}, {"down_kernel_size": 3 * 10**6})):
        torch.save({**conf, "model_args": conf["model_args"] | changes}, tmp_path / f"{index}.bin")
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
    assert "declares 40000000" in expanded and "exhaust the memory" in expanded


def test_weights_of_another_configuration_are_rejected_by_tensor_name():
    conf = tiny().serialize()
    conf["model_args"]["down_kernel_size"] = 7
    with pytest.raises(ValueError, match=r"bottleneck.weight: \(12, 8, 5\), expected \(12, 8, 7\)"):
        WaveUNet.from_pretrained(conf)


def test_invalid_or_foreign_config_json_is_rejected(tmp_path):
    """A config.json of other weights can fit the shapes."""
    save(tmp_path)
    path = tmp_path / serialization.CONFIG
    config = json.loads(path.read_text())
    other = json.dumps(config | {"model_args": config["model_args"] | {"context": False}})
    for text, message in {
        other: "config.json has other model_args than model.safetensors",
        "{": "config.json is corrupt",
        "[1]": "config.json is a list",
        "[" * 100000: "config.json is corrupt",
        " " * (safe_load.MAX_CONFIG_BYTES + 1): "config.json has 16777217 bytes",
        json.dumps({"model_type": "bert"}): "config.json has other model_args",
    }.items():
        path.write_text(text)
        with case(text), pytest.raises(ValueError, match=message):
            WaveUNet.from_pretrained(tmp_path)


# Corrupt and harmful files.


def test_corrupt_files_are_rejected(tmp_path):
    save(tmp_path)
    whole = (tmp_path / serialization.BIN).read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello",
        "pickle": pickle.dumps({"a": 1}),
    }.items():
        path = tmp_path / f"{name}.bin"
        path.write_bytes(content)
        with case(name), pytest.raises(ValueError, match=f"{name}.bin cannot be read.*truncated"):
            WaveUNet.from_pretrained(path)
    path = tmp_path / serialization.SAFETENSORS
    whole = path.read_bytes()
    huge_header = (2**62).to_bytes(8, "little") + whole[8:]
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"hello", huge_header):
        path.write_bytes(content)
        with case(content), pytest.raises(ValueError, match="model.safetensors is corrupt"):
            WaveUNet.from_pretrained(tmp_path)


class Harmful:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, exec, open])
def test_file_that_would_run_code_is_rejected_with_the_function(tmp_path, function):
    for key in ("model_name", "model_args", "state_dict", "infos"):
        target, folder = tmp_path / f"written_{key}", tmp_path / key
        arguments, name = {
            os.system: ((f"touch {target}",), r"(posix|nt)\.system"),
            exec: ((f"open({str(target)!r}, 'w')",), r"(builtins\.)?exec"),
            open: ((str(target), "w"), r"io\.open"),
        }[function]
        path = folder / serialization.BIN
        folder.mkdir()
        torch.save({**tiny().serialize(), key: Harmful(function, *arguments)}, path)
        for source in (path, folder):
            with case(key), pytest.raises(ValueError, match=f"refers to {name};.*never run"):
                WaveUNet.from_pretrained(source)
        assert not target.exists(), key
        torch.load(path, weights_only=False)
        assert target.exists(), f"{key}: the file is not harmful"


def rewrite_archive(
    path: Path, target: Path, compression: int = zipfile.ZIP_STORED, added: tuple[str, ...] = ()
) -> Path:
    """Copy an archive's entries to another archive, and add entries of these names."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w", compression) as copy:
        for entry in archive.infolist():
            copy.writestr(entry.filename, archive.read(entry))
        for name in added:
            copy.writestr(name, b"evil")
    return target


def test_compressed_archive_is_rejected(tmp_path):
    save(tmp_path)
    path = tmp_path / "compressed.bin"
    rewrite_archive(tmp_path / serialization.BIN, path, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"compressed \(\d+ bytes in \d+\).*never compresses"):
        WaveUNet.from_pretrained(path)


def test_archive_that_declares_more_than_it_contains_is_rejected(tmp_path):
    save(tmp_path)
    path = rewrite_archive(tmp_path / serialization.BIN, tmp_path / "bomb.bin")
    with zipfile.ZipFile(path, "a") as archive:
        archive.infolist()[-1].file_size = 2**40
        archive.writestr("archive/more", b"")  # rewrites the table of contents
    with pytest.raises(ValueError, match=r"\(1099511\d+ bytes in \d+\)"):
        WaveUNet.from_pretrained(path)


def test_archive_entries_are_never_extracted(tmp_path):
    save(tmp_path)
    path = tmp_path / "a" / "b" / "model.bin"
    path.parent.mkdir(parents=True)
    rewrite_archive(tmp_path / serialization.BIN, path, added=("archive/../../../evil",))
    before = sorted(tmp_path.rglob("*"))
    assert WaveUNet.from_pretrained(path).sources == ("a", "b", "c")
    rewrite_archive(tmp_path / serialization.BIN, path, added=("../evil", f"{tmp_path}/evil"))
    with pytest.raises(ValueError, match="cannot be read"):
        WaveUNet.from_pretrained(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_tensors_that_share_memory_count_separately(tmp_path):
    """A file of 40 kB would become a model of 40 MB."""
    conf = tiny().serialize()
    memory = torch.zeros(10000)
    conf["state_dict"] = {f"{index}": memory for index in range(1000)}
    torch.save(conf, tmp_path / serialization.BIN)
    with pytest.raises(ValueError, match="declares 40000000 bytes of weights"):
        WaveUNet.from_pretrained(tmp_path)


def test_weights_other_than_finite_dense_floats_are_rejected(tmp_path):
    for index, (tensor, message) in enumerate(
        (
            (torch.zeros(12, dtype=torch.int64), "torch.int64"),
            (torch.zeros(12, dtype=torch.complex64), "torch.complex64"),
            (torch.zeros(12).to_sparse(), "torch.sparse_coo"),
            (torch.zeros(12, device="meta"), "meta"),
            (torch.zeros(12).to(torch.float8_e4m3fn), "float8"),
            (3, "int"),
            (torch.full((12,), float("nan")), "NaN or infinity"),
        )
    ):
        conf = tiny().serialize()
        conf["state_dict"]["bottleneck.bias"] = tensor
        path = tmp_path / f"{index}.bin"
        torch.save(conf, path)
        with case(message), pytest.raises(ValueError, match="bottleneck.bias") as caught:
            WaveUNet.from_pretrained(path)
        assert message in str(caught.value)


# Other objects and files of other projects.


def test_dictionary_of_another_form_is_rejected_by_key():
    conf = tiny().serialize()
    for source, message in (
        ({**conf, "model_name": "ConvTasNet"}, "weights of a ConvTasNet; expected a WaveUNet"),
        ({"model_name": "WaveUNet", "model_args": []}, "model_args, state_dict missing or of"),
        ({**conf, "infos": [1]}, "infos missing or of"),
        (None, "from a NoneType"),
    ):
        with case(message), pytest.raises(ValueError, match=message):
            WaveUNet.from_pretrained(source)


# Tensor names in checkpoints of these projects.
OTHER_PROJECTS = {
    "Wave-U-Net-Pytorch": [
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


@pytest.mark.parametrize("project", OTHER_PROJECTS)
def test_weights_of_another_project_are_rejected_with_its_name(tmp_path, project):
    state = {name: torch.zeros(2) for name in OTHER_PROJECTS[project]}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "state_dict.pth")
    torch.save(state, tmp_path / "before_1.6.pth", _use_new_zipfile_serialization=False)
    checkpoint = {"model_state_dict": state, "optimizer_state_dict": {}}
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    torch.save({"model": state, "args": Harmful(print, "harm")}, tmp_path / "pickle.pth")
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 5
    for path in paths:
        with case(path.name), pytest.raises(ValueError, match=f"{project}.*another architecture"):
            WaveUNet.from_pretrained(path)
    with pytest.raises(ValueError, match=f"The dictionary .*{project}"):
        WaveUNet.from_pretrained(state)


def test_state_dict_without_arguments_is_rejected_with_the_remedy(tmp_path):
    torch.save(tiny().state_dict(), tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"WaveUNet without its arguments.*serialize\(\)"):
        WaveUNet.from_pretrained(tmp_path / "model.pth")
    safetensors.torch.save_file(tiny().state_dict(), tmp_path / serialization.SAFETENSORS)
    with pytest.raises(ValueError, match=r"in the config.json"):
        WaveUNet.from_pretrained(tmp_path)


def test_exported_torchscript_is_rejected(tmp_path):
    export.export_step(tiny(), tmp_path / "step.pt", "torchscript", hop=8)
    with pytest.raises(ValueError, match=r"step.pt cannot be read.*TorchScript.*torch.jit.load"):
        WaveUNet.from_pretrained(tmp_path / "step.pt")


def test_missing_file_or_folder_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    for name in ("", "exp/best_model", "nowhere/best_model.pth", "a/b/c", "ftp://a/b.bin"):
        with case(name), pytest.raises(FileNotFoundError, match=f"'{name}'.*'user/model'"):
            WaveUNet.from_pretrained(name)
    with pytest.raises(FileNotFoundError, match="no file or folder .*nowhere.bin"):
        WaveUNet.from_pretrained(str(tmp_path / "nowhere.bin"))
    neither = "neither model.safetensors nor pytorch_model.bin"
    with pytest.raises(FileNotFoundError, match=neither):
        WaveUNet.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x"}}')
    with pytest.raises(FileNotFoundError, match=neither):
        WaveUNet.from_pretrained(tmp_path)
