"""An independent Wave-U-Net in NumPy and float64, written from the reference.

Slow and simple: loops over taps, no torch, no geometry. The package must compute the same.
"""

from __future__ import annotations

import numpy as np


def leaky_relu(x):
    return np.maximum(0.2 * x, x)


def convolve(x, kernel, bias, context):
    """Convolve `(time, in)` with `(taps, in, out)`; same padding has the extra zero last."""
    taps = len(kernel)
    if not context:
        x = np.pad(x, (((taps - 1) // 2, taps // 2), (0, 0)))
    n = len(x) - taps + 1
    return bias + sum(x[tap : tap + n] @ kernel[tap] for tap in range(taps))


def upsample(x, weight, context):
    """Upsample n -> 2n - 1 with context, else 2n.

    `weight` is None for linear, which repeats the last sample; `(channels,)` for learned;
    `(in, out, 3)` for transposed convolution, where each sample is added to three outputs.
    """
    if weight is not None and weight.ndim == 3:
        added = np.zeros((2 * len(x) + 1, weight.shape[1]))
        for k in range(len(x)):
            added[2 * k : 2 * k + 3] += np.einsum("i,iot->to", x[k], weight)
        return added[1:-1] if context else added[1:]
    w = 0.5 if weight is None else 1 / (1 + np.exp(-weight))
    rows = []
    for k in range(len(x)):
        rows.append(x[k])
        if k + 1 < len(x):
            rows.append(w * x[k] + (1 - w) * x[k + 1])
        elif not context:
            rows.append(x[k] if weight is None else w * x[k])
    return np.stack(rows)


def crop(x, length):
    start = (len(x) - length) // 2
    return x[start : start + length]


def separate(mixture, model, training):
    """Separate `(time, channels)` of a valid length; return `(time, channels)` per source."""
    arguments = model.get_model_args()
    context = arguments["context"]
    weights = {name: t.detach().double().numpy() for name, t in model.state_dict().items()}

    def conv(x, layer):
        return convolve(x, weights[f"{layer}.weight"].T, weights[f"{layer}.bias"], context)

    x, skips = mixture, []
    for level in range(arguments["levels"]):
        x = leaky_relu(conv(x, f"down.{level}.conv"))
        skips.append(x)
        x = x[::2]
    x = leaky_relu(conv(x, "bottleneck"))
    for block in range(arguments["levels"]):
        x = upsample(x, weights.get(f"up.{block}.upsampling.weight"), context)
        x = np.concatenate([crop(skips.pop(), len(x)), x], axis=1)
        x = leaky_relu(conv(x, f"up.{block}.conv"))

    def clip(audio):
        return audio if training else np.clip(audio, -1, 1)

    activation = np.tanh if arguments["output_activation"] == "tanh" else clip
    n_predicted = model.n_src - (arguments["output"] == "difference")
    aligned = crop(mixture, len(x))
    estimates = []
    if n_predicted:
        outputs = activation(conv(np.concatenate([aligned, x], axis=1), "head.conv"))
        estimates = np.split(outputs, n_predicted, axis=1)
    if n_predicted < model.n_src:
        length = len(x) - (arguments["output_kernel_size"] - 1 if context else 0)
        estimates.append(clip(crop(aligned, length) - sum(estimates)))
    return estimates
