"""The Numba loops of the CPU kernels, compiled for this processor when they are first called.

One pass over the data replaces several PyTorch operations that would each read it again, or sort it. The loops release the
GIL, so that threads run in parallel.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic, overload

from sailerx.compiled import compiled
from sailerx.kernels.random_bits import LOW_32_BITS, MIX_1, MIX_2, SPREAD

#: factors (each 1 to 2) multiplied before taking one logarithm: few enough that the float32 product stays finite
_RUN = 64


@intrinsic
def _as_float(context: Any, bits: Any) -> Any:
    """Reinterpret the bits of an int32 as a float32."""
    return numba.float32(numba.int32), lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic
def _as_bits(context: Any, number: Any) -> Any:
    """Reinterpret the bits of a float32 as an int32."""
    return numba.int32(numba.float32), lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(32))


_0: Any = np.float32(0)
_1: Any = np.float32(1)
_HALF = np.float32(0.5)
_LOG2_E = np.float32(math.log2(math.e))
# log 2 = _LN2 + _LN2_REST; _LN2 has few enough digits that n · _LN2 is exact for the integers n that occur
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
#: smallest x whose exp(x) is a normal (not denormal) float32
_LOWEST = np.float32(-87)


# without `reassoc`: reordered sums would undo the two-step subtraction of n · log 2
@numba.njit(nogil=True, fastmath={"contract", "nsz", "arcp"})
def _exp_in_single_precision(x: float) -> float:
    """Compute exp(x) for -87 <= x <= 0 in float32, to its last digit or two."""
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN2 - n * _LN2_REST
    p = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
    power_of_2 = _as_float(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))
    return (p * r * r + r + _1) * power_of_2


def _exp(x: float) -> float:
    """Compute exp(x) for -87 <= x <= 0, in the precision of x."""
    return math.exp(x)


@overload(_exp)
def _exp_of(x):
    return (lambda x: _exp_in_single_precision(x)) if x == numba.float32 else (lambda x: math.exp(x))


@compiled
def _softplus_and_sigmoid(numbers: np.ndarray) -> float:
    """Sum softplus(l) = log(1 + exp(l)) over a row of logits, and replace each l by sigmoid(l)."""
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


@compiled
def _end_of(peak: np.ndarray, at: int, end: int, stop: int) -> int:
    """Find the first position from ``at`` on whose peak is ``stop`` or later; ``end`` if there is none."""
    while at < end and peak[at] < stop:
        at += 1
    return at


@compiled
def _cell_nll(row: np.ndarray, is_open: np.ndarray, first: int, positive_weight: float) -> float:
    """Sum -log p(x | logits) over a row of logits, whose first peak is ``first``, and replace them by its gradient."""
    # -log p = softplus(l) - x · l, and with weight p on open peaks + (p - 1) · x · softplus(-l)
    more = positive_weight - 1
    total = 0.0
    for j in is_open:
        number = row[j - first]
        total -= number
        if more != 0:
            total += more * (max(-number, 0) + math.log1p(math.exp(-abs(number))))
    total += _softplus_and_sigmoid(row)
    # d/dl = sigmoid(l) - x · (1 + (p - 1) · sigmoid(-l))
    for j in is_open:
        row[j - first] -= 1 + more * (1 - row[j - first])
    return total


@compiled
def logits_nll(
    logits: np.ndarray,
    peak: np.ndarray,
    at: np.ndarray,
    ends: np.ndarray,
    first: int,
    positive_weight: float,
    grad_bias: np.ndarray,
) -> float:
    """Sum -log p(x | logits) over cells and consecutive peaks, and replace the logits by its gradient.

    Parameters
    ----------
    logits
        Cells × these peaks; overwritten.
    peak, at, ends
        ``peak[at[i]]`` is the first open peak of cell i from ``first`` on; the cell ends at position ``ends[i]``. ``at`` is moved to
        the first one after these peaks.
    first
        The peak of the first column of ``logits``.
    positive_weight
        Factor on the terms of open peaks.
    grad_bias
        Per column; the gradient summed over cells is added to it.
    """
    total = 0.0
    for cell in range(len(logits)):
        row = logits[cell]
        end = _end_of(peak, at[cell], ends[cell], first + len(row))
        total += _cell_nll(row, peak[at[cell] : end], first, positive_weight)
        at[cell] = end
        for i in range(len(row)):
            grad_bias[i] += row[i]
    return total


@compiled
def logits_nll_bfloat16(
    products: np.ndarray,
    bias: np.ndarray,
    peak: np.ndarray,
    at: np.ndarray,
    ends: np.ndarray,
    first: int,
    positive_weight: float,
    grad_bias: np.ndarray,
) -> float:
    """Do what `logits_nll` does for ``products`` + ``bias``, where products are bfloat16, given as int16 of equal bits.

    The gradient that replaces them is rounded to bfloat16; that of the bias sums it before it is rounded.
    """
    total = 0.0
    row = np.empty(len(bias), np.float32)
    for cell in range(len(products)):
        bits = products[cell]
        for i in range(len(row)):
            row[i] = _as_float(np.int32(np.int32(bits[i]) << np.int32(16))) + bias[i]
        end = _end_of(peak, at[cell], ends[cell], first + len(row))
        total += _cell_nll(row, peak[at[cell] : end], first, positive_weight)
        at[cell] = end
        for i in range(len(row)):
            grad_bias[i] += row[i]
            # half to even: up from the middle, if the last bit that is kept is odd
            exact = _as_bits(row[i])
            is_odd = (exact >> np.int32(16)) & np.int32(1)
            bits[i] = np.int16((exact + np.int32(0x7FFF) + is_odd) >> np.int32(16))
    return total


@compiled
def copy_rows(indices: np.ndarray, start: np.ndarray, begin: np.ndarray, copied: np.ndarray) -> None:
    """Copy runs of ``indices`` that start at ``start`` to ``copied[begin[i]:begin[i + 1]]``."""
    for i in range(len(start)):
        n = begin[i + 1] - begin[i]
        copied[begin[i] : begin[i + 1]] = indices[start[i] : start[i] + n]


@compiled
def keep_columns(
    peak: np.ndarray, begin: np.ndarray, new: np.ndarray, kept: np.ndarray, n_kept: np.ndarray
) -> None:
    """Renumber the columns of consecutive rows of a CSR matrix without values, and drop those whose new number is negative.

    Parameters
    ----------
    peak, begin
        ``peak[begin[i]:begin[i + 1]]`` are the open peaks of cell i.
    new
        New number of each column.
    kept
        As long as ``peak``; takes what is left of the first cell from ``begin[0]`` on, and of the others after it.
    n_kept
        Takes the number of ones left of each cell.
    """
    n = begin[0]
    for cell in range(len(begin) - 1):
        first = n
        for one in range(begin[cell], begin[cell + 1]):
            column = new[peak[one]]
            kept[n] = column
            n += column >= 0
        n_kept[cell] = n - first


@compiled
def thin_rows(
    peak: np.ndarray,
    begin: np.ndarray,
    is_thinned: np.ndarray,
    key: np.ndarray,
    limit: int,
    kept: np.ndarray,
    kept_begin: np.ndarray,
) -> int:
    """Drop ones of thinned cells whose random bits are ``limit`` or more; return how many ones are left.

    Parameters
    ----------
    peak, begin
        ``peak[begin[i]:begin[i + 1]]`` are the open peaks of cell i.
    is_thinned, key
        Of each cell. The bits are those of `sailerx.kernels.random_bits.random_bits`.
    kept, kept_begin
        Take the result; as long as ``peak`` and ``begin``.
    """
    n = 0
    for cell in range(len(begin) - 1):
        kept_begin[cell] = n
        first, last = begin[cell], begin[cell + 1]
        if is_thinned[cell]:
            for one in range(first, last):
                kept[n] = peak[one]
                n += _random_bits(key[cell], peak[one]) < limit
        else:
            kept[n : n + last - first] = peak[first:last]
            n += last - first
    kept_begin[len(begin) - 1] = n
    return n


@numba.njit(nogil=True)
def _random_bits(key: Any, number: Any) -> Any:
    """Compute 32 bits from a key and a number."""
    h = (key ^ (np.int64(number) * SPREAD)) & LOW_32_BITS
    h = ((h ^ h >> 16) * MIX_1) & LOW_32_BITS
    h = ((h ^ h >> 15) * MIX_2) & LOW_32_BITS
    return h ^ h >> 16


@compiled
def first_from(peak: np.ndarray, begin: np.ndarray, first: int) -> np.ndarray:
    """Find for each cell the position in ``peak`` of its first open peak from ``first`` on.

    ``peak[begin[i]:begin[i + 1]]`` are the open peaks of cell i, ascending.
    """
    found = np.empty(len(begin) - 1, np.int64)
    for cell in range(len(begin) - 1):
        found[cell] = begin[cell] + np.searchsorted(peak[begin[cell] : begin[cell + 1]], first)
    return found


@compiled
def add_rows(
    rows: np.ndarray,
    peak: np.ndarray,
    at: np.ndarray,
    ends: np.ndarray,
    stop: int,
    sums: np.ndarray,
    chrom: int,
) -> None:
    """Add to ``sums[i, chrom]`` of each cell i the rows of its open peaks from ``peak[at[i]]`` on, up to peak ``stop`` (exclusive).

    The open peaks of cell i end at position ``ends[i]`` of ``peak``; ``at`` is moved to the first one that is left.
    """
    for cell in range(len(sums)):
        total = sums[cell, chrom]
        one = at[cell]
        while one < ends[cell] and peak[one] < stop:
            row = rows[peak[one]]
            for i in range(len(total)):
                total[i] += row[i]
            one += 1
        at[cell] = one


@compiled
def add_to_rows(
    rows: np.ndarray,
    peak: np.ndarray,
    at: np.ndarray,
    ends: np.ndarray,
    stop: int,
    sums: np.ndarray,
    chrom: int,
) -> None:
    """Backward of `add_rows`: add ``sums[i, chrom]`` to the rows of these open peaks of each cell i."""
    for cell in range(len(sums)):
        total = sums[cell, chrom]
        one = at[cell]
        while one < ends[cell] and peak[one] < stop:
            row = rows[peak[one]]
            for i in range(len(total)):
                row[i] += total[i]
            one += 1
        at[cell] = one


@compiled
def prelu_gradient(
    h: np.ndarray, slope: np.ndarray, grad: np.ndarray, grad_h: np.ndarray, grad_slope: np.ndarray
) -> None:
    """Backward of PReLU for h of cells × groups × features, with one slope per group or one for all.

    ``grad_h`` is overwritten; the gradient of the slopes is added to ``grad_slope``.
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
