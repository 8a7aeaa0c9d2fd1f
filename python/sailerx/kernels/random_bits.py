"""Random bits that are a function of a key and a number, so that any device or process computes those it needs, in any order."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

#: odd factor near 2³² / golden ratio, by which consecutive numbers become distant ones (Knuth, TAOCP 3, 6.4)
SPREAD = 0x9E3779B1
#: factors between the shifts of the mixing function, by which every bit of its input changes about half of those of its output
#: (Wellons, "Prospecting for hash functions", 2018)
MIX_1, MIX_2 = 0x7FEB352D, 0x846CA68B
LOW_32_BITS = 0xFFFFFFFF


def random_bits(key: Int[Tensor, " n"], number: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Compute 32 bits from each key (0 to 2³² - 1) and number, as int64; `sailerx.kernels.numba_loops.thin_rows` computes the same."""
    h = key ^ (number.long() * SPREAD & LOW_32_BITS)
    h = (h ^ h >> 16) * MIX_1 & LOW_32_BITS
    h = (h ^ h >> 15) * MIX_2 & LOW_32_BITS
    return h ^ h >> 16
