"""Parity with the paper's TensorFlow code, recorded in golden/ (see golden/README.md)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.tf_checkpoint.conversion import state_dict_from_variables
from helpers.models import tiny
from helpers.paths import GOLDEN

VARIANTS = {
    "m1": dict(output="direct", context=False),
    "m1_linear": dict(output="direct", context=False, output_activation="linear"),
    "m3": dict(),
    "m4": dict(in_channels=2),
    "m4_linear": dict(in_channels=2, output_activation="linear"),
    "m5": dict(in_channels=2, upsampling="learned"),
    "same_learned": dict(output="direct", context=False, upsampling="learned"),
}


def load(variant):
    """Return the recorded arrays of a variant, and a model with its weights."""
    recorded = np.load(GOLDEN / f"{variant}.npz")
    variables = {k.removeprefix("var/"): recorded[k] for k in recorded if k.startswith("var/")}
    model = tiny(**VARIANTS[variant])
    model.load_state_dict(state_dict_from_variables(variables, model))
    return model, recorded, variables


def channels_last(estimates):
    """Move the channels of estimates to the last axis, as in the reference."""
    return estimates.transpose(-1, -2).numpy() if estimates.ndim == 4 else estimates[..., None]


@pytest.mark.parametrize("variant", VARIANTS)
def test_estimates_equal_the_reference(variant):
    model, recorded, _ = load(variant)
    mixture = torch.from_numpy(recorded["mix"]).transpose(1, 2)
    for mode in ("train", "eval"):
        check_estimates(model, recorded, mixture, mode)


def check_estimates(model, recorded, mixture, mode):
    with torch.no_grad():
        estimates = channels_last(model.train(mode == "train").forward_context(mixture))
    for i, source in enumerate(model.sources):
        expected = recorded[f"{mode}/{source}"]
        assert expected.shape == estimates[:, i].shape
        np.testing.assert_allclose(estimates[:, i], expected, atol=3e-6, rtol=0)


@pytest.mark.parametrize("variant", ["m1", "m4"])
def test_predict_track_equals_the_reference(variant):
    """Including tracks shorter than an input or an output, which the reference pads."""
    for case in (
        "long_stereo",
        "exact_multiple",
        "long_mono",
        "shorter_than_input",
        "shorter_than_output",
        "just_input",
    ):
        check_track(variant, case)


def check_track(variant, case):
    model, _, _ = load(variant)
    recorded = np.load(GOLDEN / f"predict_track_{variant}.npz")
    track = torch.from_numpy(recorded[f"audio/{case}"].T)
    estimates = model.train().predict_track(track, output_length=32)
    assert model.training, "predict_track restores the mode"
    for source, estimate in zip(model.sources, estimates, strict=True):
        expected = recorded[f"pred/{case}/{source}"].T
        np.testing.assert_allclose(
            torch.atleast_2d(estimate), expected, atol=3e-6, rtol=0, err_msg=case
        )


def test_variables_of_another_configuration_are_rejected_by_name():
    _, _, variables = load("m5")
    with pytest.raises(ValueError, match="interp_0 is unexpected"):
        state_dict_from_variables(variables, tiny(in_channels=2))
    with pytest.raises(ValueError, match=r"conv1d_1/kernel is \(5, 4, 8\), expected \(5, 5, 10\)"):
        wider = tiny(in_channels=2, upsampling="learned", initial_filters=5)
        state_dict_from_variables(variables, wider)
    del variables["separator/conv1d_3/bias:0"]
    with pytest.raises(ValueError, match="conv1d_3/bias is missing"):
        state_dict_from_variables(variables, tiny(in_channels=2, upsampling="learned"))


def test_optimizer_variables_are_skipped():
    model, _, variables = load("m4")
    slots = {f"separator_solver/{k}/Adam": v for k, v in variables.items()}
    state = state_dict_from_variables({**variables, **slots, "global_step": np.int64(7)}, model)
    assert state.keys() == model.state_dict().keys()


def test_convolutions_are_ordered_by_number():
    """With more than ten, conv1d_10 sorts before conv1d_2 in the file."""
    model = tiny(levels=6)
    layers = [*(d.conv for d in model.down), model.bottleneck, *(u.conv for u in model.up)]
    layers.append(model.head.conv)
    names = ["conv1d", *(f"conv1d_{i}" for i in range(1, len(layers)))]
    variables = {}
    for name, layer in sorted(zip(names, layers, strict=True)):
        variables[f"separator/{name}/kernel"] = layer.weight.detach().numpy().T
        variables[f"separator/{name}/bias"] = layer.bias.detach().numpy()
    state = state_dict_from_variables(variables, model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor), name
