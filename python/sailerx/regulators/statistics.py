"""False-discovery rates of p-values."""

from __future__ import annotations

import numpy as np


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """Adjust p-values for their number by Benjamini and Hochberg; NaN stays NaN and is not counted."""
    from scipy.stats import false_discovery_control  # takes a moment to import

    adjusted = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    adjusted[tested] = false_discovery_control(p[tested])
    return adjusted
