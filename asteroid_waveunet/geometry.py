"""Which lengths a Wave-U-Net can take and give: integers only, no tensors.

Without padding, a level's decimation keeps n of 2n - 1 samples, its upsampling makes
2n - 1 of n, and a convolution of kernel k costs k - 1. So with x samples at the bottom:

    up the right side      x -> 2x - 1 - (up - 1) = 2x - up, at each level, and the output kernel:
        output = step * x - (step - 1) * up - (out - 1)               where step = 2 ** levels

    down the left side, read upwards   x -> x + (down - 1), then n -> 2n - 1 + (down - 1):
        input = step * (x + down - 1) + (step - 1) * (down - 2)

Their difference does not depend on x: every input loses the same context. And the network
commutes with shifts by `step`, and by no smaller shift: blocks whose hop is a multiple of
the step join without a seam.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Chunk", "Geometry", "Lengths", "segment_starts"]


@dataclass(frozen=True)
class Lengths:
    """A mixture length and the length of the estimates that it yields, in samples."""

    input: int
    output: int


@dataclass(frozen=True)
class Chunk:
    """Run the network on `[start, stop)` of the padded track, drop `skip` outputs, keep `keep`."""

    start: int
    stop: int
    skip: int
    keep: int


@dataclass(frozen=True)
class Geometry:
    """All lengths of one network: `output = step * k + remainder`, `input = output + context`.

    Attributes:
        step: 2 ** levels, in samples; the network commutes with shifts by it.
        remainder: the shortest output, in samples (1 to step).
        left_context: samples of mixture that are needed before the first estimate.
        right_context: samples that are needed after the last one; more than `left_context`
            by one where even kernels make the sum odd.
        halo: samples around a block of a track that must be fed with it, so that the zeros of
            same padding stay out of reach of its estimates (a multiple of the step). 0 with
            context, where nothing is padded.

    >>> Geometry.of(levels=12, down_kernel=15, up_kernel=5, out_kernel=1).fit(16384)
    Lengths(input=147443, output=16389)

    [1] Stoller, Ewert, Dixon. Wave-U-Net. ISMIR 2018, section 3.2.2 (proper input context).
    """

    step: int
    remainder: int
    left_context: int
    right_context: int
    halo: int

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
            # A convolution reaches kernel // 2 samples of its level, an upsampling one.
            reach = (2 * step - 1) * (down_kernel // 2)
            reach += (step - 1) * (up_kernel // 2 + 1) + out_kernel // 2
            return cls(step, step, 0, 0, halo=-(-reach // step) * step)
        lost_below = (step - 1) * up_kernel
        features_context = step * (down_kernel - 1) + (step - 1) * (down_kernel - 2) + lost_below
        # The reference crops in the middle twice: the mixture to the features, then both to the
        # output kernel's result; each crop takes the extra sample of an odd difference at the end.
        left = features_context // 2 + (out_kernel - 1) // 2
        right = features_context + out_kernel - 1 - left
        remainder = (-lost_below - out_kernel) % step + 1
        return cls(step, remainder, left, right, halo=0)

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

    def chunks(self, output_length: int, hop: int) -> Iterator[Chunk]:
        """Cuts one pass over a padded track into shorter ones that give the same samples.

        Args:
            output_length: what the whole pass yields; a length that `fit` returned.
            hop: estimates per chunk, in samples, rounded up to a multiple of the step.

        >>> list(Geometry.of(2, 5, 3, 1).chunks(35, hop=20))  # doctest: +NORMALIZE_WHITESPACE
        [Chunk(start=0, stop=57, skip=0, keep=20), Chunk(start=20, stop=69, skip=0, keep=15)]
        """
        hop = -(-hop // self.step) * self.step
        for start in range(0, output_length, hop):
            keep = min(hop, output_length - start)
            first = max(0, start - self.halo)
            last = min(output_length, start + keep + self.halo)
            yield Chunk(first, first + self.fit(last - first).input, start - first, keep)


def segment_starts(n_samples: int, output: int) -> list[int]:
    """Where the reference's whole-track prediction starts its segments.

    One every `output` samples; the last is moved back so that it ends with the track, and
    overwrites what the one before it wrote there (Evaluate.py:125-139 of the paper's code).

    >>> segment_starts(10, 4)
    [0, 4, 6]
    """
    return [min(start, n_samples - output) for start in range(0, n_samples, output)]
