"""Exported steps, called hop by hop, reproduce the model."""

from __future__ import annotations

import os
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from asteroid_waveunet.streaming import export
from asteroid_waveunet.streaming.export import ExportedStep, export_step
from helpers.models import SYSTEMS, randomize, tiny

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")

CONFIGURATIONS = [
    dict(sources=("a", "b", "c"), in_channels=2, upsampling="learned", output_kernel_size=3),
    dict(levels=3, down_kernel_size=4, up_kernel_size=2, output="direct", filter_growth=0),
    dict(levels=1, down_kernel_size=1, up_kernel_size=1, in_channels=3),
    dict(sources=("a",), output="direct", output_activation="linear", output_kernel_size=2),
    dict(sources=("a",), levels=1, in_channels=2),
]


def run_onnx(path, hops, exported: ExportedStep) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    first, *names = [value.name for value in session.get_inputs()]
    assert first == "mixture" and names == [f"state_{i}" for i in range(len(names))]
    outputs = [value.name for value in session.get_outputs()]
    assert outputs == ["estimates", *(f"next_{name}" for name in names)]
    assert exported.state_shapes == tuple(tuple(v.shape) for v in session.get_inputs()[1:])
    state = [np.zeros(shape, np.float32) for shape in exported.state_shapes]
    found = []
    for hop in hops:
        feed = {"mixture": hop.numpy(), **dict(zip(names, state, strict=True))}
        estimates, *state = session.run(None, feed)
        found.append(estimates)
    return found


def run_torchscript(path, hops, exported: ExportedStep) -> list[np.ndarray]:
    step = torch.jit.load(path)
    state = step.initial_state()
    assert exported.state_shapes == tuple(tuple(tensor.shape) for tensor in state)
    assert not any(tensor.any() for tensor in state)
    found = []
    for hop in hops:
        estimates, state = step(hop, state)
        found.append(estimates.numpy())
    return found


RUN = {"onnx": run_onnx, "torchscript": run_torchscript}


@pytest.mark.filterwarnings("ignore:The only source")
@pytest.mark.parametrize(
    ("index", "format", "any_length"),
    [
        (0, "onnx", False),
        (1, "onnx", True),
        (2, "torchscript", False),
        (0, "torchscript", False),
        (3, "torchscript", False),
        (4, "onnx", True),
    ],
)
def test_joined_calls_equal_the_delayed_track(index, format, any_length, tmp_path):
    model = randomize(tiny(**CONFIGURATIONS[index]))
    hop = (1 + index) * model.geometry.step
    batch_size = 1 + index % 2
    exported = export_step(model, tmp_path / "step", format, hop, batch_size, any_length)
    track = 0.3 * torch.randn(exported.batch_size, model.in_channels, 300)
    whole = model(track).detach().reshape(len(track), model.n_src, model.in_channels, -1)
    silence = torch.zeros(*track.shape[:-1], exported.delay + hop)
    padded = torch.cat((track, silence), dim=-1)
    n_hops = padded.shape[-1] // hop
    lengths = [hop] * n_hops
    if any_length:  # the shortest, a hop, all others at once
        lengths = [model.geometry.step, hop, (n_hops - 1) * hop - model.geometry.step]
    hops = padded[..., : n_hops * hop].split(lengths, dim=-1)
    found = RUN[format](tmp_path / "step", hops, exported)
    assert [part.shape for part in found] == [(*whole.shape[:-1], n) for n in lengths]
    joined = torch.from_numpy(np.concatenate(found, axis=-1))[..., exported.delay :]
    torch.testing.assert_close(joined[..., :300], whole, atol=1e-6, rtol=0)
    assert os.listdir(tmp_path) == ["step"]
    assert b".py" not in (tmp_path / "step").read_bytes() or format != "onnx", "no source paths"


def test_file_is_repeatable_and_its_metadata_describes_the_step(tmp_path):
    model = tiny(levels=1, sources=("drums", "bass & co"), in_channels=2, sample_rate=8000)
    for format in ("onnx", "torchscript"):
        path = tmp_path / "folder" / format
        exported = export_step(model, path, format, hop=8)
        assert 0 <= exported.delay - model.geometry.lookahead < model.geometry.step
        if format == "onnx":
            found = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
            export_step(model, tmp_path / "again", format, hop=8)
            assert path.read_bytes() == (tmp_path / "again").read_bytes(), "publishing compares"
        else:
            extra = dict.fromkeys(exported.metadata, "")
            torch.jit.load(path, _extra_files=extra)
            found = {name: text.decode() for name, text in extra.items()}
        assert found == {
            "sources": "drums\nbass & co",
            "channels": "2",
            "sample_rate": "8000",
            "batch_size": "1",
            "hop": "8",
            "delay": str(exported.delay),
            "latency": str(exported.delay + 7),
        }, format


def test_torchscript_moves_to_a_device_completely(tmp_path):
    """No weight stays behind as a constant; every machine has the device "meta"."""
    export_step(randomize(tiny(upsampling="learned")), tmp_path / "step.pt", "torchscript", hop=4)
    step = torch.jit.load(tmp_path / "step.pt").to("meta")
    state = [tensor.to("meta") for tensor in step.initial_state()]
    estimates, state = step(torch.zeros(1, 1, 4, device="meta"), state)
    assert {tensor.device.type for tensor in (estimates, *state)} == {"meta"}


def test_export_is_float32_and_clips_in_evaluation_mode(tmp_path):
    for training in (True, False):
        model = randomize(tiny(output_activation="linear")).double().train(training)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        export_step(model, tmp_path / "step.pt", "torchscript", hop=64)
        step = torch.jit.load(tmp_path / "step.pt")
        estimates, _ = step(100 * torch.randn(1, 1, 64), step.initial_state())
        assert estimates.dtype == torch.float32
        assert (estimates.abs().max() > 1) == training
        assert model.training == training
        assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_default_hop_is_rounded_up_to_a_multiple_of_the_step(tmp_path, monkeypatch):
    assert export_step(tiny(), tmp_path / "step.pt", "torchscript").hop == export.DEFAULT_HOP
    monkeypatch.setattr(export, "DEFAULT_HOP", 10)
    assert export_step(tiny(), tmp_path / "step.pt", "torchscript").hop == 12


def test_unsupported_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"same padding.*M1 and M2.*M3 to M7.*Stream"):
        export_step(tiny(context=False), tmp_path / "step.onnx")
    with pytest.raises(ValueError, match=r"'transposed'.*linear or learned.*Stream"):
        export_step(tiny(upsampling="transposed"), tmp_path / "step.pt", "torchscript")
    for build in SYSTEMS.values():
        model = build()
        with pytest.raises(ValueError, match=f"{type(model).__name__}.*expected a WaveUNet"):
            export_step(model, tmp_path / "step.onnx")
    assert os.listdir(tmp_path) == []


def test_arguments_out_of_range_are_refused(tmp_path):
    for arguments, facts in (
        (dict(hop=10), "hop is 10.*multiple.* 4 samples.* 8 and 12"),
        (dict(hop=3), r"hop is 3.* 4 \(the shortest\)"),
        (dict(hop=-4), r"hop is -4.* 4 \(the shortest\)"),
        (dict(batch_size=0), "batch_size is 0.*at least 1"),
        (dict(format="tflite"), "'tflite'.*'onnx' or 'torchscript'"),
        (dict(format="torchscript", any_length=True), "any length.*'onnx'.*'torchscript'"),
    ):
        with pytest.raises(ValueError, match=facts):
            export_step(tiny(), tmp_path / "step.onnx", **arguments)
        assert os.listdir(tmp_path) == []


def test_missing_packages_are_reported_with_their_install_command(tmp_path, monkeypatch):
    for package in ("onnxruntime", "onnxscript"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(ModuleNotFoundError, match=rf"{package}.*waveunet\[export\]"):
                export_step(tiny(), tmp_path / "step.onnx")
            assert os.listdir(tmp_path) == []
    export_step(tiny(), tmp_path / "step.pt", "torchscript", hop=4)


def test_file_that_differs_from_the_model_is_not_kept(tmp_path, monkeypatch):
    (tmp_path / "step").write_text("previous")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"step was not written.*differ"):
        export_step(tiny(), tmp_path / "step", "torchscript", hop=4)
    assert os.listdir(tmp_path) == ["step"]
    assert (tmp_path / "step").read_text() == "previous"


def test_nan_weights_are_refused(tmp_path):
    model = tiny()
    model.bottleneck.weight.data[0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="by nan"):
        export_step(model, tmp_path / "step.pt", "torchscript", hop=4)
    assert os.listdir(tmp_path) == []
