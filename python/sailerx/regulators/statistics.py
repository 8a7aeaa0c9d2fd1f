"""False-discovery rates of p-values."""

from __future__ import annotations

import numpy as np


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """Adjust p-values for their number; NaN stays NaN and is not counted.

    Source: Benjamini & Hochberg 1995, J R Stat Soc B 57:289.
    """
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested])]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1)
    return adjusted
