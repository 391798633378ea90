"""Which lengths a Wave-U-Net can take and give: integers only, no tensors.

Without padding, a level's decimation keeps n of 2n - 1 samples, its upsampling makes
2n - 1 of n, and a convolution of kernel k costs k - 1. So with x samples at the bottom:

    up the right side      x -> 2x - 1 - (up - 1) = 2x - up, at each level, and the output kernel:
        output = step * x - (step - 1) * up - (out - 1)               where step = 2 ** levels

    down the left side, read upwards   x -> x + (down - 1), then n -> 2n - 1 + (down - 1):
        input = step * (x + down - 1) + (step - 1) * (down - 2)

Their difference does not depend on x: every input loses the same context. And the network
commutes with shifts by `step`, and by no smaller shift: blocks whose hop is a multiple of
the step join without a seam. Fed in such hops, each level always sees the same number of new
samples and gives as many; `Delays` says how far behind the mixture each of them is.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Delays", "Geometry", "LengthRule", "Lengths", "segment_starts"]


@dataclass(frozen=True)
class Lengths:
    """A mixture length and the length of the estimates that it yields, in samples."""

    input: int
    output: int


@dataclass(frozen=True)
class Delays:
    """How far a network that is fed hop by hop lags behind, in samples of each level's rate.

    Attributes:
        skips: of each level's features before the decimation, from the mixture's level down.
        phases: which of two such samples each decimation keeps: 0 or 1.
        bottleneck: of the features at the bottom.
        upsampled: of each up block's input, for which the skip waits.
        outputs: of each up block's output; the first is what the mixture waits for.

    With same padding a feature has the index of the sample it is centred on, and a convolution
    of kernel k waits for k // 2 later ones; an upsampling waits for one more neighbour. Without,
    the newest feature is the one that saw the newest sample, delayed by nothing; what waits is
    what the centre crop drops at the end of the longer of two.
    """

    skips: tuple[int, ...]
    phases: tuple[int, ...]
    bottleneck: int
    upsampled: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def with_context(cls, levels: int, down_kernel: int, up_kernel: int) -> Delays:
        """Of valid convolutions; all lengths are relative to those of 0 bottleneck outputs."""
        crops = []
        right, left = 0, down_kernel - 1
        for _ in range(levels):
            right, left = 2 * right - 1, 2 * left - 1
            crops.append(left - right)
            right, left = right - (up_kernel - 1), left + (down_kernel - 1)
        crops.append(left - right)
        # Of an odd number to drop, the centre crop drops the extra sample at the end.
        *waits, mixture = [-(-crop // 2) for crop in crops]
        waits.reverse()
        nothing = (0,) * levels
        outputs = (mixture, *nothing[1:])
        return cls(nothing, (1,) * levels, 0, tuple(waits), outputs)

    @classmethod
    def with_same_padding(cls, levels: int, down_kernel: int, up_kernel: int) -> Delays:
        """Of convolutions that give as many samples as they take."""
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
    """Which lengths a network has: `output = step * k + remainder`, `input = output + context`.

    Attributes:
        step: in samples; the network commutes with shifts by it.
        remainder: the shortest output, in samples (1 to step).
        left_context: samples of mixture that are needed before the first estimate.
        right_context: samples that are needed after the last one.

    [1] Stoller, Ewert, Dixon. Wave-U-Net. ISMIR 2018, section 3.2.2 (proper input context).
    """

    step: int
    remainder: int
    left_context: int
    right_context: int

    @classmethod
    def of_frames(cls, window: int, hop: int, multiple: int = 1) -> LengthRule:
        """Of a network on the frames of a filterbank, which overlap by less than a window.

        F frames span hop * (F - 1) + window samples. The first and the last window - hop of
        these lack a frame of all that cover them, so that only those between come back as they
        were: the others are context.

        Args:
            window: samples of a frame, >= hop.
            hop: samples between the beginnings of frames.
            multiple: of frames that the network takes.

        >>> LengthRule.of_frames(window=1024, hop=768, multiple=64).fit(98048)
        Lengths(input=98560, output=98048)
        """
        step = hop * multiple
        remainder = (hop - window - 1) % step + 1
        return cls(step, remainder, window - hop, window - hop)

    @property
    def context(self) -> int:
        """Samples of context per side (the left one; see `right_context` for even kernels)."""
        return self.left_context

    def fit(self, min_output: int) -> Lengths:
        """The shortest lengths that yield at least `min_output` samples per source.

        Raises:
            ValueError: if `min_output` is below 1.

        >>> Geometry.of(2, 5, 3, 1).fit(32)
        Lengths(input=69, output=35)
        """
        if min_output < 1:
            raise ValueError(f"{min_output} samples asked for; the shortest output is 1 sample.")
        steps = max(0, -((self.remainder - min_output) // self.step))
        output = self.step * steps + self.remainder
        return Lengths(output + self.left_context + self.right_context, output)

    def output_of(self, n_input: int) -> int:
        """How many samples per source an input of exactly `n_input` samples yields.

        Raises:
            ValueError: if no output has this input; names the nearest lengths that fit.
        """
        output = n_input - self.left_context - self.right_context
        if output >= self.remainder and (output - self.remainder) % self.step == 0:
            return output
        above = self.fit(max(1, output)).input
        below = above - self.step
        shortest = self.fit(1).input
        nearest = f"{below} and {above}" if below >= shortest else f"{shortest} (the shortest)"
        raise ValueError(
            f"An input of {n_input} samples fits no output of this model; the nearest that do are "
            f"{nearest}. geometry.fit(n) gives the lengths for n samples of output; forward() and "
            "separate() take any length and pad it for you."
        )


@dataclass(frozen=True)
class Geometry(LengthRule):
    """All lengths of one Wave-U-Net, whose step is 2 ** levels.

    With even kernels, `right_context` may be one sample more than `left_context`.

    Attributes:
        lookahead: samples that an estimate waits for: `right_context`, and with same padding
            as far ahead as the convolutions reach.
        delays: of each level, when fed hop by hop.
        margins: of each level's skip, from the mixture's level down: samples that the centre
            crop drops at each end.

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
        """The geometry of a network.

        Args:
            levels: number of down (and up) blocks, >= 1.
            down_kernel, up_kernel, out_kernel: kernel sizes in samples, >= 1.
            context: valid convolutions (True) or same padding (False).
        Raises:
            ValueError: if any of them is below 1.
        """
        sizes = dict(
            levels=levels, down_kernel=down_kernel, up_kernel=up_kernel, out_kernel=out_kernel
        )
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; a Wave-U-Net needs at least 1.")
        step = 2**levels
        if not context:
            delays = Delays.with_same_padding(levels, down_kernel, up_kernel)
            lookahead = delays.outputs[0] + out_kernel // 2
            return cls(step, step, 0, 0, lookahead, delays, margins=(0,) * levels)
        lost_below = (step - 1) * up_kernel
        features_context = step * (down_kernel - 1) + (step - 1) * (down_kernel - 2) + lost_below
        # The reference crops in the middle twice: the mixture to the features, then both to the
        # output kernel's result; each crop takes the extra sample of an odd difference at the end.
        left = features_context // 2 + (out_kernel - 1) // 2
        right = features_context + out_kernel - 1 - left
        remainder = (-lost_below - out_kernel) % step + 1
        delays = Delays.with_context(levels, down_kernel, up_kernel)
        # What waits for the newest feature below is what the crop drops at its end; the skip and
        # the upsampled features are both of odd length, so it drops as much at the beginning.
        return cls(step, remainder, left, right, right, delays, margins=delays.upsampled)

    @property
    def latency(self) -> int:
        """Samples by which a stream's estimates are behind what it was fed, at the most.

        Estimates come `step` at a time, when the last sample that they look ahead to is there.

        >>> Geometry.of(levels=12, down_kernel=15, up_kernel=5, out_kernel=1).latency
        69622
        """
        return self.lookahead + self.step - 1


def segment_starts(n_samples: int, output: int) -> list[int]:
    """Where the reference's whole-track prediction starts its segments.

    One every `output` samples; the last is moved back so that it ends with the track, and
    overwrites what the one before it wrote there (Evaluate.py:125-139 of the paper's code).

    >>> segment_starts(10, 4)
    [0, 4, 6]
    """
    return [min(start, n_samples - output) for start in range(0, n_samples, output)]
