"""Loops that are compiled for the processor at hand (by Numba) when they are first called.

They take the place of operations of which each passes over the same numbers again, or that sort what need not be sorted.
Python's lock is released in them, so that threads run side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic, overload

#: sums may be reordered, so that several numbers are worked on at once; NaN and infinity keep their meaning
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
#: numbers that are worked on in a row: few enough that a product of as many, each 1 to 2, stays finite
_RUN = 64


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled and kept on disk for the next process where a folder for that can be written."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": _FASTMATH}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        return numba.njit(function, **options)


@intrinsic
def _as_float(context: Any, bits: Any) -> Any:
    """The number of single precision that these 32 bits are."""
    return numba.float32(numba.int32), lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


_0: Any = np.float32(0)
_1: Any = np.float32(1)
_HALF = np.float32(0.5)
_LOG2_E = np.float32(math.log2(math.e))
# log 2 = _LN2 + _LN2_REST, the first with few enough digits that its products with whole numbers are exact
_LN2, _LN2_REST = np.float32(0.693359375), np.float32(-2.12194440e-4)
#: exp(r) = 1 + r + r² (...), |r| < log(2) / 2: coefficients of the bracket from r⁵ down (Cephes, `expf`)
_E5, _E4, _E3, _E2, _E1, _E0 = (
    np.float32(c)
    for c in (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
)
#: the least x whose exp(x) is a normal number
_LOWEST = np.float32(-87)


# not by `_compiled`: reordered sums would undo the two-step subtraction of n · log 2
@numba.njit(nogil=True, fastmath={"contract", "nsz", "arcp"})
def _exp_in_single_precision(x: float) -> float:
    """exp(x) for -87 <= x <= 0, to the last digit or two of single precision."""
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN2 - n * _LN2_REST
    p = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
    power_of_2 = _as_float(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))
    return (p * r * r + r + _1) * power_of_2


def _exp(x: float) -> float:
    """exp(x) for -87 <= x <= 0, in the precision of x."""
    return math.exp(x)


@overload(_exp)
def _exp_of(x):
    return (lambda x: _exp_in_single_precision(x)) if x == numba.float32 else (lambda x: math.exp(x))


@_compiled
def _softplus_and_sigmoid(numbers: np.ndarray) -> float:
    """Sum of log(1 + exp(l)) over these numbers, each of which becomes 1 / (1 + exp(-l))."""
    total = 0.0
    for begin in range(0, len(numbers), _RUN):
        run = numbers[begin : begin + _RUN]
        product, positive = _1, _0
        for i in range(len(run)):
            number = run[i]
            # log(1 + exp(l)) = max(l, 0) + log(1 + exp(-|l|))
            e = _exp(max(-abs(number), _LOWEST))
            product *= _1 + e
            positive += max(number, _0)
            run[i] = (_1 if number >= 0 else e) / (_1 + e)
        total += positive + math.log(product)
    return total


@_compiled
def logits_nll(
    logits: np.ndarray,
    peak: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    first: int,
    positive_weight: float,
    grad_bias: np.ndarray,
) -> float:
    """Sum over cells and peaks of -log p(x | logits); the logits become its gradient.

    Parameters
    ----------
    logits
        Cells × some neighbouring peaks.
    peak, begin, end
        The open ones among these peaks of cell i are ``peak[begin[i]:end[i]]``.
    first
        The first of the neighbouring peaks.
    positive_weight
        Factor on the part of open peaks.
    grad_bias
        The sum of the gradient over cells is added to it.
    """
    # -log p = softplus(l) - x · l, and with weight p on open peaks + (p - 1) · x · softplus(-l)
    more = positive_weight - 1
    total = 0.0
    for cell in range(len(logits)):
        row = logits[cell]
        for one in range(begin[cell], end[cell]):
            number = row[peak[one] - first]
            total -= number
            if more != 0:
                total += more * (max(-number, 0) + math.log1p(math.exp(-abs(number))))
        total += _softplus_and_sigmoid(row)
        # d/dl = sigmoid(l) - x · (1 + (p - 1) · sigmoid(-l))
        for one in range(begin[cell], end[cell]):
            at = peak[one] - first
            row[at] -= 1 + more * (1 - row[at])
        for i in range(len(row)):
            grad_bias[i] += row[i]
    return total


@_compiled
def first_open(peak: np.ndarray, begin: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """For each of these peaks and each cell, where the cell's open peaks from that one on begin.

    Those of cell i are ``peak[begin[i]:begin[i + 1]]``, ascending.
    """
    found = np.empty((len(firsts), len(begin) - 1), np.int64)
    for cell in range(len(begin) - 1):
        own = peak[begin[cell] : begin[cell + 1]]
        for i in range(len(firsts)):
            found[i, cell] = begin[cell] + np.searchsorted(own, firsts[i])
    return found


@_compiled
def add_rows(
    rows: np.ndarray, peak: np.ndarray, begin: np.ndarray, end: np.ndarray, sums: np.ndarray, chrom: int
) -> None:
    """Add to the sum of each cell and this chromosome the rows of its open peaks, ``peak[begin[i]:end[i]]``."""
    for cell in range(len(sums)):
        total = sums[cell, chrom]
        for one in range(begin[cell], end[cell]):
            row = rows[peak[one]]
            for i in range(len(total)):
                total[i] += row[i]


@_compiled
def add_to_rows(
    rows: np.ndarray, peak: np.ndarray, begin: np.ndarray, end: np.ndarray, sums: np.ndarray, chrom: int
) -> None:
    """The gradient of `add_rows`: add that of each cell's sum to the rows of its open peaks."""
    for cell in range(len(sums)):
        total = sums[cell, chrom]
        for one in range(begin[cell], end[cell]):
            row = rows[peak[one]]
            for i in range(len(total)):
                row[i] += total[i]


@_compiled
def prelu_gradient(
    h: np.ndarray, slope: np.ndarray, grad: np.ndarray, grad_h: np.ndarray, grad_slope: np.ndarray
) -> None:
    """Gradients of h where it is positive, else slope × h, for h of cells × groups × features; with a slope for each group, or one.

    ``grad_h`` is overwritten, ``grad_slope`` is added to.
    """
    for cell in range(len(h)):
        for group in range(h.shape[1]):
            k = group if len(slope) > 1 else 0
            own, upstream, out = h[cell, group], grad[cell, group], grad_h[cell, group]
            a, total = slope[k], slope[k] * 0
            for i in range(len(own)):
                total += min(own[i], 0) * upstream[i]
                out[i] = upstream[i] if own[i] > 0 else a * upstream[i]
            grad_slope[k] += total
