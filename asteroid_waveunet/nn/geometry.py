"""Valid input and output lengths of a Wave-U-Net; integers only, no tensors.

Without padding, decimation keeps n of 2n - 1 samples, upsampling turns n into 2n - 1, and a
convolution of kernel k removes k - 1. With x samples at the bottleneck:

    up the right side      x -> 2x - 1 - (up - 1) = 2x - up, at each level, and the output kernel:
        output = step * x - (step - 1) * up - (out - 1)               where step = 2 ** levels

    down the left side, bottom to top   x -> x + (down - 1), then n -> 2n - 1 + (down - 1):
        input = step * (x + down - 1) + (step - 1) * (down - 2)

Their difference does not depend on x: the context is constant. The network commutes with
shifts by `step`, and no smaller ones: blocks whose hop is a multiple of the step join without a
seam. With such hops, each level gets and returns a constant number of new samples; `Delays` holds
the lag of each level behind the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Delays", "Geometry", "LengthRule", "Lengths", "segment_starts"]


@dataclass(frozen=True)
class Lengths:
    """Length of a mixture and of the estimates it yields, in samples."""

    input: int
    output: int


@dataclass(frozen=True)
class Delays:
    """Lag of each layer in hop-by-hop processing, in samples at its level's rate.

    Attributes:
        skips: of each level's features before decimation, from the top level down.
        phases: sample of each pair that a decimation keeps, 0 or 1.
        bottleneck: of the features at the bottom.
        upsampled: of each up block's upsampled input; the skip is delayed to match.
        outputs: of each up block's output; the mixture is delayed to match the first.

    With same padding, a feature has the index of the sample at its centre: a convolution of
    kernel k waits for k // 2 later samples, and upsampling for one more neighbour. Without
    padding, the newest feature includes the newest sample and has no delay; delays come from
    the samples that the centre crop drops at the end of the longer signal.
    """

    skips: tuple[int, ...]
    phases: tuple[int, ...]
    bottleneck: int
    upsampled: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def with_context(cls, levels: int, down_kernel: int, up_kernel: int) -> Delays:
        """Delays of valid convolutions; lengths are relative to those of 0 bottleneck outputs."""
        crops = []
        right, left = 0, down_kernel - 1
        for _ in range(levels):
            right, left = 2 * right - 1, 2 * left - 1
            crops.append(left - right)
            right, left = right - (up_kernel - 1), left + (down_kernel - 1)
        crops.append(left - right)
        # The centre crop drops the extra sample of an odd number at the end.
        *waits, mixture = [-(-crop // 2) for crop in crops]
        waits.reverse()
        zeros = (0,) * levels
        outputs = (mixture, *zeros[1:])
        return cls(zeros, (1,) * levels, 0, tuple(waits), outputs)

    @classmethod
    def with_same_padding(cls, levels: int, down_kernel: int, up_kernel: int) -> Delays:
        """Delays of convolutions with same padding."""
        skips, upsampled, outputs = [], [], []
        delay = 0
        for _ in range(levels):
            skips.append(delay + down_kernel // 2)
            delay = skips[-1] // 2
        delay = bottleneck = delay + down_kernel // 2
        for _ in range(levels):
            upsampled.append(2 * delay + 1)
            delay = upsampled[-1] + up_kernel // 2
            outputs.append(delay)
        phases = tuple(delay % 2 for delay in skips)
        return cls(tuple(skips), phases, bottleneck, tuple(upsampled[::-1]), tuple(outputs[::-1]))


@dataclass(frozen=True)
class LengthRule:
    """Valid lengths of a network: `output = step * k + remainder`, `input = output + context`.

    Attributes:
        step: in samples; the network commutes with shifts by it.
        remainder: the shortest output, in samples (1 to step).
        left_context: samples of mixture required before the first estimate.
        right_context: samples of mixture required after the last estimate.

    [1] Stoller, Ewert, Dixon. Wave-U-Net. ISMIR 2018, section 3.2.2 (proper input context).
    """

    step: int
    remainder: int
    left_context: int
    right_context: int

    @classmethod
    def of_frames(cls, window: int, hop: int, multiple: int = 1) -> LengthRule:
        """Return the lengths of a network on the overlapping frames of a filterbank.

        F frames span hop * (F - 1) + window samples. In the first and last window - hop of these,
        some overlapping frames are missing and reconstruction is not exact: they are context.

        Args:
            window: frame length in samples, >= hop.
            hop: samples between the starts of frames.
            multiple: the network takes a multiple of this number of frames.

        >>> LengthRule.of_frames(window=1024, hop=768, multiple=64).fit(98048)
        Lengths(input=98560, output=98048)
        """
        step = hop * multiple
        remainder = (hop - window - 1) % step + 1
        return cls(step, remainder, window - hop, window - hop)

    @property
    def context(self) -> int:
        """Samples of left context; `right_context` may differ with even kernels."""
        return self.left_context

    def fit(self, min_output: int) -> Lengths:
        """Return the shortest lengths that yield at least `min_output` samples per source.

        Raises:
            ValueError: if `min_output` is below 1.

        >>> Geometry.of(2, 5, 3, 1).fit(32)
        Lengths(input=69, output=35)
        """
        if min_output < 1:
            raise ValueError(f"min_output is {min_output}; expected at least 1 sample.")
        steps = max(0, -((self.remainder - min_output) // self.step))
        output = self.step * steps + self.remainder
        return Lengths(output + self.left_context + self.right_context, output)

    def output_of(self, n_input: int) -> int:
        """Return the output length per source for an input of exactly `n_input` samples.

        Raises:
            ValueError: if `n_input` is not a valid length; names the nearest valid ones.
        """
        output = n_input - self.left_context - self.right_context
        if output >= self.remainder and (output - self.remainder) % self.step == 0:
            return output
        above = self.fit(max(1, output)).input
        below = above - self.step
        shortest = self.fit(1).input
        nearest = f"{below} and {above}" if below >= shortest else f"{shortest} (the shortest)"
        raise ValueError(
            f"An input of {n_input} samples is not valid for this model; the nearest valid lengths "
            f"are {nearest}. geometry.fit(n) returns the lengths for n samples of output; "
            "forward() and separate() pad any length."
        )


@dataclass(frozen=True)
class Geometry(LengthRule):
    """Lengths and delays of a Wave-U-Net; the step is 2 ** levels.

    With even kernels, `right_context` may be one sample more than `left_context`.

    Attributes:
        lookahead: future samples that an estimate depends on: `right_context`, or with same
            padding the reach of the convolutions.
        delays: of each level in hop-by-hop processing.
        margins: samples that the centre crop drops at each end of the skips, from the top level
            down.

    >>> Geometry.of(levels=12, down_kernel=15, up_kernel=5, out_kernel=1).fit(16384)
    Lengths(input=147443, output=16389)
    """

    lookahead: int
    delays: Delays
    margins: tuple[int, ...]

    @classmethod
    def of(
        cls, levels: int, down_kernel: int, up_kernel: int, out_kernel: int, context: bool = True
    ) -> Geometry:
        """Compute the geometry of a network.

        Args:
            levels: number of down (and up) blocks, >= 1.
            down_kernel, up_kernel, out_kernel: kernel sizes in samples, >= 1.
            context: valid convolutions (True) or same padding (False).
        Raises:
            ValueError: if a size is below 1.
        """
        sizes = dict(
            levels=levels, down_kernel=down_kernel, up_kernel=up_kernel, out_kernel=out_kernel
        )
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; expected at least 1.")
        step = 2**levels
        if not context:
            delays = Delays.with_same_padding(levels, down_kernel, up_kernel)
            lookahead = delays.outputs[0] + out_kernel // 2
            return cls(step, step, 0, 0, lookahead, delays, margins=(0,) * levels)
        lost_below = (step - 1) * up_kernel
        features_context = step * (down_kernel - 1) + (step - 1) * (down_kernel - 2) + lost_below
        # The reference centre-crops twice: the mixture to the features, then both to the output of
        # the last convolution; each crop drops the extra sample of an odd difference at the end.
        left = features_context // 2 + (out_kernel - 1) // 2
        right = features_context + out_kernel - 1 - left
        remainder = (-lost_below - out_kernel) % step + 1
        delays = Delays.with_context(levels, down_kernel, up_kernel)
        # A skip waits for as many samples as the crop drops at its end; skip and upsampled features
        # both have odd length, so the crop drops equally many at the beginning.
        return cls(step, remainder, left, right, right, delays, margins=delays.upsampled)

    @property
    def latency(self) -> int:
        """Maximum delay of a stream's estimates behind its input, in samples.

        Estimates are returned `step` at a time, once all of their lookahead has arrived.

        >>> Geometry.of(levels=12, down_kernel=15, up_kernel=5, out_kernel=1).latency
        69622
        """
        return self.lookahead + self.step - 1


def segment_starts(n_samples: int, output: int) -> list[int]:
    """Return the starts of segments in the reference's whole-track prediction.

    There is one segment every `output` samples; the last is moved back to end with the track and
    overwrites part of its predecessor (Evaluate.py:125-139 of the paper's code).

    >>> segment_starts(10, 4)
    [0, 4, 6]
    """
    return [min(start, n_samples - output) for start in range(0, n_samples, output)]
