"""Optimizers by name: the paper's Adam, and Muon, which learns more in each step."""

from __future__ import annotations

from torch import nn
from torch.optim import Adam, Optimizer

from asteroid_waveunet.models.base import SourceModel

__all__ = ["RELATIVE_LR", "make_optimizer"]

RELATIVE_LR = "relative_lr"
"""Key of a parameter group: its learning rate relative to the training's."""

MUON_ADAM_LR = 1 / 40  # 5e-4 for Adam's share at Muon's usual 0.02


def make_optimizer(name: str, model: SourceModel, lr: float) -> Optimizer:
    """Return an optimizer of a model's weights.

    Args:
        name: `adam`; or `muon`, which orthogonalises the momentum of each hidden layer's weight,
            as a matrix of its outputs by its inputs, so that all directions are learnt at the same
            speed [1]. Biases, interpolations, and the layers next to the audio are left to AdamW,
            at a fortieth of the learning rate.
        model: its weights.
        lr: maximum learning rate: about 1e-4 to 1e-3 for `adam`, 0.02 for `muon`.

    [1] Jordan et al. Muon: An optimizer for hidden layers in neural networks. 2024.
    """
    if name == "adam":
        return Adam(model.parameters(), lr=lr)
    from pytorch_optimizer import Muon

    signals = model.in_channels * model.n_src  # of audio: layers with more are hidden
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for weight in model.parameters():
        wide = weight.ndim >= 2 and min(weight.shape[:2]) > signals
        (hidden if wide else others).append(weight)
    groups = [
        {"params": hidden, "use_muon": True, "lr": lr, RELATIVE_LR: 1.0},
        {
            "params": others,
            "use_muon": False,
            "lr": lr * MUON_ADAM_LR,
            "betas": (0.9, 0.999),
            RELATIVE_LR: MUON_ADAM_LR,
        },
    ]
    return Muon([group for group in groups if group["params"]])
