"""Tests of `tf_checkpoint.conversion`: converted models equal the reference."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings

from asteroid_waveunet import WaveUNet, presets
from asteroid_waveunet.experiment.tf_checkpoint import conversion
from asteroid_waveunet.experiment.tf_checkpoint.architecture import (
    CONFIGURATIONS,
    NOT_STORED,
    Architecture,
)
from asteroid_waveunet.experiment.tf_checkpoint.conversion import convert
from helpers import tf_writer
from helpers.models import configurations, tiny
from helpers.paths import GOLDEN

GOLDEN_CHECKPOINTS = GOLDEN / "checkpoints"
ASSUMED = "ignore:The checkpoint does not determine all arguments"


def variables_of(model: WaveUNet) -> dict[str, np.ndarray]:
    """Convert a model's weights to the reference's variables."""
    convs = [*(down.conv for down in model.down), model.bottleneck, *(up.conv for up in model.up)]
    pairs = [(conv.weight, conv.bias) for conv in convs]
    if model.head.n_predicted:
        parts = (parameter.split(model.in_channels) for parameter in model.head.conv.parameters())
        pairs += zip(*parts, strict=True)
    variables = {}
    for number, (weight, bias) in enumerate(pairs):
        layer = f"separator/conv1d_{number}" if number else "separator/conv1d"
        variables[f"{layer}/kernel"] = weight.detach().numpy().T
        variables[f"{layer}/bias"] = bias.detach().numpy()
    for number, up in enumerate(model.up):
        for weight in up.upsampling.parameters():
            variables[f"separator/interp_{number}"] = weight.detach().numpy()
    return variables


def with_adam(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add Adam's moments and the step counts, which the reference saves too."""
    moments = {
        f"separator_solver/{name}/{moment}": np.full_like(array, 0.5)
        for name, array in variables.items()
        for moment in ("Adam", "Adam_1")
    }
    powers = {f"separator_solver/beta{i}_power": np.float32(0.9) for i in (1, 2)}
    return {**variables, **moments, **powers, "global_step": np.int64(3)}


def assert_same_weights(one, other):
    state, other_state = one.state_dict(), other.state_dict()
    assert state.keys() == other_state.keys()
    assert all(torch.equal(state[name], other_state[name]) for name in state)


def recorded(name):
    """Return the recorded arrays of a checkpoint, and a mixture `(batch, channels, time)`."""
    arrays = np.load(GOLDEN_CHECKPOINTS / name / "golden.npz")
    return arrays, torch.from_numpy(arrays["mix"]).transpose(1, 2)


# Equal to the reference.


@pytest.mark.filterwarnings(ASSUMED)
@pytest.mark.parametrize("name", ["tiny_m4", "tiny_m5"])
def test_converted_model_estimates_equal_the_reference(name):
    arrays, mixture = recorded(name)
    model = convert(GOLDEN_CHECKPOINTS / name, verify=True)
    assert not model.training
    with torch.no_grad():
        estimates = model.forward_context(mixture).transpose(2, 3)
    for i, source in enumerate(model.sources):
        expected = arrays[f"eval_after/{source}"]
        np.testing.assert_allclose(estimates[:, i], expected, atol=3e-6, rtol=0)


@pytest.mark.filterwarnings(ASSUMED)
@pytest.mark.parametrize("name", ["tiny_m4", "tiny_m5"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_weights_and_loss_equal_the_reference_before_and_after_a_step(name, moment):
    arrays, mixture = recorded(name)
    model = convert(GOLDEN_CHECKPOINTS / name)
    variables = {
        key.removeprefix(f"{moment}/").removesuffix(":0"): arrays[key]
        for key in arrays
        if key.startswith(f"{moment}/separator/")
    }
    if moment == "before":
        state_dict = conversion.state_dict_from_variables(variables, model)
        model.load_state_dict(state_dict)
    ours = variables_of(model)
    assert ours.keys() == variables.keys()
    assert all(np.array_equal(ours[key], variables[key]) for key in variables)
    targets = [torch.from_numpy(arrays[f"target/{source}"]) for source in model.sources]
    with torch.no_grad():
        estimates = model.train().forward_context(mixture).transpose(2, 3)
    losses = [(estimates[:, i] - target).square().mean() for i, target in enumerate(targets)]
    np.testing.assert_allclose(sum(losses) / len(losses), arrays[f"loss_{moment}"], rtol=1e-5)


# Inference of the architecture.


@settings(max_examples=40, deadline=None)
@given(arguments=configurations.filter(lambda given: given["upsampling"] != "transposed"))
@pytest.mark.filterwarnings("ignore:The only source 'a' of a model with difference output")
def test_architecture_of_any_model_is_inferred(tmp_path_factory, arguments):
    model = WaveUNet(**arguments)
    variables = variables_of(model)
    if not model.head.n_predicted:  # then the checkpoint has no output convolution
        arguments = {**arguments, "output_kernel_size": 1}
    prefix = tf_writer.write(tmp_path_factory.mktemp("c") / "model-3", with_adam(variables))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "The only source 'a' of a model with difference output")
        converted = convert(prefix, **{name: arguments.get(name, 22050) for name in NOT_STORED})
    expected = {**model.get_model_args(), "output_kernel_size": arguments["output_kernel_size"]}
    assert converted.get_model_args() == expected
    assert_same_weights(converted, model)


def test_assumed_arguments_are_named_in_a_warning(tmp_path):
    two, four = ["accompaniment", "vocals"], ["bass", "drums", "other", "vocals"]
    for n_predicted, sources, output in (
        (1, two, "difference"),
        (2, two, "direct"),
        (3, four, "difference"),
        (4, four, "direct"),
        (5, [f"source_{i}" for i in range(1, 7)], "difference"),
    ):
        model = tiny(sources=[f"s{i}" for i in range(n_predicted)], output="direct", in_channels=2)
        prefix = tf_writer.write(tmp_path / "492-3", variables_of(model))
        with pytest.warns(UserWarning, match=f"assuming .*{sources[-1]}.*sample_rate=22050"):
            assumed = convert(prefix).get_model_args()
        assert (assumed["sources"], assumed["output"]) == (sources, output)
        assert assumed["context"] == (output == "difference")
        assert assumed["output_activation"] == "tanh"


@pytest.mark.filterwarnings(ASSUMED)
def test_overrides_replace_assumptions(tmp_path):
    model = tiny(sources=("a", "b"), output="direct", in_channels=2)
    prefix = tf_writer.write(tmp_path / "492-3", variables_of(model))
    assert convert(prefix, sources=("a", "b")).get_model_args()["output"] == "direct"
    assert convert(prefix, sources=("a", "b", "c")).get_model_args()["output"] == "difference"
    with pytest.raises(ValueError, match="number of predicted sources is 2, expected 3"):
        convert(prefix, sources=("a", "b", "c", "d"))
    assert convert(prefix, output="difference").sources == ("source_1", "source_2", "source_3")
    assert convert(prefix, sample_rate=8000, context=True).get_model_args()["context"] is True
    with pytest.warns(UserWarning, match="does not determine all") as caught:
        convert(prefix, sources=("a", "b"), output_activation="linear")
    assert "assuming context=False, sample_rate=22050 (the paper" in str(caught[0].message)


def full_size(prefix, name):
    """Write a checkpoint of a preset in full size, all zeros."""
    with torch.device("meta"):
        model = presets.make(name)
    empty = model.to_empty(device="cpu").requires_grad_(False)
    for parameter in empty.parameters():
        parameter.zero_()
    return tf_writer.write(prefix, variables_of(empty), checksums=False)


def test_authors_checkpoints_are_identified_by_name(tmp_path):
    assert sorted(CONFIGURATIONS.values()) == sorted(presets.names())
    assert CONFIGURATIONS["baseline_stereo"] == "M4"
    for name, file in (
        ("M5-HighSR", "full_44KHz-20000"),
        ("M6", "full_multi_instrument-134067"),
    ):
        prefix = full_size(tmp_path / file, name)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            assert convert(prefix).get_model_args() == presets.make(name).get_model_args()


def test_unique_sizes_of_a_paper_model_are_recognised(tmp_path):
    """M7 has unique filters; its sample rate is not stored in a checkpoint."""
    prefix = full_size(tmp_path / "81327-2000", "M7")
    with pytest.warns(UserWarning, match="as M7, the paper's only model of its sizes"):
        assert convert(prefix).sample_rate == 8192


@pytest.mark.filterwarnings(ASSUMED)
def test_authors_file_name_is_ignored_for_other_sizes(tmp_path):
    prefix = tf_writer.write(tmp_path / "full_44KHz-3", variables_of(tiny(in_channels=2)))
    assert convert(prefix).sample_rate == 22050


# Rejected checkpoints.


def test_preset_of_other_sizes_is_rejected_with_the_differences():
    folder = GOLDEN_CHECKPOINTS / "tiny_m5"
    sizes = dict(levels=2, initial_filters=4, down_kernel_size=5, up_kernel_size=3)
    assert convert(folder, preset="M5", **sizes).sample_rate == 22050
    with pytest.raises(ValueError, match="tiny_m5-1.*preset M5: levels is 2, expected 12"):
        convert(folder, preset="M5")
    with pytest.raises(ValueError, match="M4: upsampling is 'learned', expected 'linear'"):
        convert(folder, preset="M4", **sizes)
    with pytest.raises(ValueError, match="M6: .*number of predicted sources is 1, expected 3"):
        convert(folder, preset="M6", **sizes)
    with pytest.raises(ValueError, match="these arguments: .*filter_growth is 4, expected 0"):
        convert(folder, filter_growth=0)
    with pytest.raises(ValueError, match="preset 'M8'"):
        convert(folder, preset="M8")


def test_pytorch_weights_are_rejected(tmp_path):
    path, state_dict = tmp_path / "waveunet_121000", {"waveunets.bass.output_conv": torch.ones(3)}
    for save in ("zip", "pickle", "safetensors"):
        if save == "safetensors":
            safetensors.torch.save_file(state_dict, path)
        else:
            torch.save(state_dict, path, _use_new_zipfile_serialization=save == "zip")
        with pytest.raises(ValueError, match="PyTorch weights.* Wave-U-Net-Pytorch"):
            convert(path)


def test_other_networks_are_rejected(tmp_path):
    kernel = np.ones((5, 1, 4), np.float32)
    for variables, reason in (
        (["model/conv1d/kernel"], "variables model/conv1d/kernel ...; expected separator/"),
        ([], "is not a Wave-U-Net of the reference"),
        (["separator/conv2d_3/kernel"], r"a U-Net on spectrograms \(U7 or U7a"),
        (["separator/conv1d/kernel", "separator/gate/kernel"], "variables separator/gate/kernel"),
        (["separator/conv1d_1/kernel"], "separator/conv1d/kernel is missing"),
        (["separator/conv1d/bias"], "separator/conv1d/kernel is missing"),
        (["separator/conv1d/kernel"], "1 convolutions are not a Wave-U-Net"),
    ):
        prefix = tf_writer.write(tmp_path / "model-3", dict.fromkeys(variables, kernel))
        with pytest.raises(ValueError, match=reason):
            convert(prefix)


@pytest.mark.filterwarnings(ASSUMED)
def test_inconsistent_variables_are_rejected(tmp_path):
    variables = variables_of(tiny())

    def rejected(reason, **changes):
        changed = {f"separator/{name}": array for name, array in changes.items()}
        prefix = tf_writer.write(tmp_path / "model-3", {**variables, **changed})
        with pytest.raises(ValueError, match=reason):
            convert(prefix)

    rejected(r"conv1d_4/bias is \(7,\), expected", **{"conv1d_4/bias": np.ones(7, np.float32)})
    rejected("interp_3 is unexpected", interp_3=np.ones(4, np.float32))
    rejected(r"conv1d_1/kernel is \(5, 4\), exp", **{"conv1d_1/kernel": np.ones((5, 4), "f4")})
    rejected("NaN or infinity", **{"conv1d_2/bias": np.full(12, np.nan, np.float32)})
    rejected("filter_growth is -3", **{"conv1d_1/kernel": np.ones((5, 4, 1), np.float32)})
    huge = {"conv1d_3/kernel": np.ones((60000, 3, 1), np.float32)}
    rejected("variables do not fit", **huge)


def test_optimizer_variables_are_ignored_wherever_they_are(tmp_path):
    model = tiny()
    variables = variables_of(model)
    slots = {f"{name}/Momentum": array for name, array in variables.items()}
    prefix = tf_writer.write(tmp_path / "model-3", {**variables, **slots})
    not_stored = {name: model.get_model_args()[name] for name in NOT_STORED}
    assert_same_weights(convert(prefix, **not_stored), model)


def test_verify_detects_damaged_variables(tmp_path):
    prefix = tf_writer.write(tmp_path / "model-3", variables_of(tiny()), checksums=False)
    with pytest.raises(ValueError, match=r"00000-of-00001: .* checksum of separator"):
        convert(prefix, verify=True)


def test_architecture_of_a_model_equals_that_of_its_variables():
    for model in (tiny(), tiny(in_channels=3, upsampling="learned", output_kernel_size=3)):
        assert Architecture.of_model(model) == Architecture.of_variables(variables_of(model))


def test_conversion_needs_neither_tensorflow_nor_training_packages():
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'pytorch_lightning', 'musdb', 'museval', 'stempeg',\n"
        "             'tensorboard', 'jinja2', 'google.protobuf'):\n"
        "    sys.modules[name] = None\n"
        "from asteroid_waveunet.experiment import tf_checkpoint\n"
        "tf_checkpoint.convert(sys.argv[1])\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(GOLDEN_CHECKPOINTS / "tiny_m4")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
