"""Least-squares filters of BSS Eval: what of an error do filtered references explain?

A track of R reference channels x_r gives R * TAPS delayed signals x_r[n - k]. Their inner
products are the Gram matrix G, block Toeplitz because the sums run over all n: the entry of
(r, k) and (s, l) is the cross-correlation of x_r and x_s at the lag k - l. The filters c that
bring the sum of filtered references closest to a signal y solve G c = d, where d holds the
cross-correlations of the x_r and y at the lags 0 ... TAPS - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

__all__ = ["TAPS", "Block", "correlations", "filters_of_all", "filters_of_each"]

TAPS = 512  # museval's, at any sample rate
EPS = float(np.finfo(np.float64).eps)
REFINEMENTS = 3
COLUMNS = 256  # factorised at a time
N_FFT = 8000  # spectra of a block stay in the processor's cache
BLOCKS_AT_ONCE = 6  # more are no faster and take more memory

Block = Callable[[int, int], Tensor]
"""Return R references and R errors `(2 R, stop - start)` float64, zeros outside the track."""


def correlations(block: Block, length: int) -> Tensor:
    """Correlate references with references and errors: `(R, 2 R, TAPS)`.

    The entry [r, q, k] is the sum of x_r[n] y_q[n + k] over the track. A block of x_r meets the
    same samples of y_q and TAPS - 1 more; their cross-spectra are added up, and transformed once.
    """
    step = min(N_FFT - TAPS + 1, length)
    n_fft = N_FFT if step < length else 2 ** (step + TAPS - 2).bit_length()

    def cross_spectra(start: int) -> Tensor:
        n_blocks = min(BLOCKS_AT_ONCE, -(-(length - start) // step))
        y = block(start, start + n_blocks * step + TAPS - 1).unfold(-1, step + TAPS - 1, step)
        spectra = torch.fft.rfft(y, n_fft).permute(2, 1, 0).contiguous()
        heads = torch.fft.rfft(y[: len(y) // 2, :, :step], n_fft).permute(2, 0, 1)
        return heads.conj().resolve_conj().contiguous() @ spectra

    total = _exact_sum(cross_spectra(i) for i in range(0, length, step * BLOCKS_AT_ONCE))
    return torch.fft.irfft(total.permute(1, 2, 0), n_fft)[..., :TAPS].contiguous()


def _exact_sum(terms: Iterator[Tensor]) -> Tensor:
    """Sum tensors without growing rounding (Knuth's TwoSum), in place of the terms."""
    total = next(terms)
    lost = torch.zeros_like(total)
    for term in terms:
        before, total = total, total + term
        part = total - before
        lost += term.sub_(part)
        lost += before.sub_(torch.sub(total, part, out=part))
    return total.add_(lost)


def filters_of_all(lags: Tensor) -> Tensor:
    """Return the filters of all references for each error: `(R, R, TAPS)`, [error, reference]."""
    n = len(lags)
    return _filters(lags[:, :n], lags[:, n:], list(range(n)))


def filters_of_each(lags: Tensor, channels: int) -> Tensor:
    """Return the filters of a source's own reference: `(R, channels, TAPS)`."""
    n = len(lags)
    each = []
    for first in range(0, n, channels):
        own = slice(first, first + channels)
        errors = lags[own, n + first : n + first + channels]
        each.append(_filters(lags[own, own], errors, list(range(channels))))
    return torch.cat(each)


def _filters(of_references: Tensor, of_errors: Tensor, own: list[int]) -> Tensor:
    """Solve the normal equations: `(n_errors, n_references, TAPS)`.

    museval adds EPS to the diagonal and projects the estimate. Its filter less the unit impulse
    of the own reference is what projects the error, if EPS is subtracted at that impulse, too.
    Tracks of ordinary level do not notice, very quiet ones do.
    """
    n_references, n_errors = of_errors.shape[:2]
    right = of_errors.permute(0, 2, 1).clone()
    audible = of_errors.abs().amax((0, 2)) > 0  # a perfect estimate stays perfect
    for error, reference in enumerate(own):
        right[reference, 0, error] -= EPS * audible[error]
    solution = _solve(of_references, right.reshape(-1, n_errors))
    return solution.reshape(n_references, -1, n_errors).permute(2, 0, 1).contiguous()


def _gram(lags: Tensor) -> Tensor:
    """Return the Gram matrix `(R * taps, R * taps)` plus EPS, from lags `(R, R, taps)`."""
    n, taps = len(lags), lags.shape[-1]
    both = torch.cat([lags.transpose(0, 1)[..., 1:].flip(-1), lags], -1).flip(-1)
    gram = lags.new_empty(n, taps, n, taps)
    for rows, of_row in zip(gram, both.unfold(-1, taps, 1), strict=True):
        rows.copy_(of_row.flip(-2).transpose(0, 1))
    gram = gram.view(n * taps, n * taps)
    gram.diagonal().add_(EPS)
    return gram


def _solve(lags: Tensor, right: Tensor) -> Tensor:
    """Solve the normal equations of references with these lags, singular ones too.

    References such as the two channels of a mono recording depend on each other: G is singular,
    and its rounding decides which of many filters museval finds. All of them give the same
    projections, and so does Tikhonov regularisation, by as little as Cholesky's method can do
    with and then refined, which takes the regularisation's effect back where G has any energy.
    """
    ridge = 0.0
    while True:
        factor = _gram(lags)  # again after a failure: a copy kept for it would take as much memory
        factor.diagonal().add_(ridge * factor.diagonal().max())
        if _factorise(factor):
            break
        ridge = 10 * ridge or EPS
    solution = _substitute(factor, right)
    gram = _gram(lags) if ridge else factor
    for _ in range(REFINEMENTS if ridge else 0):
        solution += _substitute(factor, right - gram @ solution)
    return solution


def _substitute(factor: Tensor, right: Tensor) -> Tensor:
    """Solve by Cholesky's factor; torch.cholesky_solve would copy it."""
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)


def _factorise(matrix: Tensor) -> bool:
    """Write Cholesky's factor to the lower triangle; return False if it does not exist.

    In place and by blocks of columns, whose work is matrix products: half the memory of torch's,
    and somewhat faster.
    """
    for start in range(0, len(matrix), COLUMNS):
        stop = start + COLUMNS
        own = slice(start, stop)
        corner, failed = torch.linalg.cholesky_ex(matrix[own, own])
        if failed:
            return False
        matrix[own, own] = corner
        below = torch.linalg.solve_triangular(corner.mT, matrix[stop:, own], upper=True, left=False)
        matrix[stop:, own] = below
        for first in range(stop, len(matrix), COLUMNS):
            rows = below[first - stop :]
            matrix[first:, first : first + COLUMNS].addmm_(rows, rows[:COLUMNS].mT, alpha=-1)
    return True
