"""How far components rise above noise: the spiked model of a sparse signal in a matrix of noise.

The eigenvalues of A A' of a matrix of noise (n rows, many columns) fill an interval around their mean, whose upper end is
(1 + sqrt(ratio))² means. A component of size θ (in means) in that noise appears at (1 + θ)(ratio + θ) / θ means, once θ > sqrt(ratio),
and its scores then correlate with the true ones: the square of the correlation is 1 - ratio (1 + θ) / (θ (θ + ratio)). Below,
nothing of it can be seen. The end of the interval is read off the eigenvalues next to it, which approach it as k^(2/3).

Source: Benaych-Georges & Nadakuditi 2012, doi 10.1016/j.jmva.2012.04.019; the interval: Marchenko & Pastur 1967.
"""

from __future__ import annotations

import numpy as np


def spiked(
    eigenvalues: np.ndarray, total: float, n_rows: int, n_signal: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute strength and reliability of components.

    Parameters
    ----------
    eigenvalues
        The largest ones of A A', descending.
    total
        Sum of all eigenvalues: the squared Frobenius norm of A.
    n_rows
        Number of rows of A, one score each.
    n_signal
        Components from here on are taken for noise; three at least are needed.

    Returns
    -------
    Strength: singular value over that at which noise ends. Reliability: share of the variance of a component's scores that is
    signal, 0 for what is not above noise.
    """
    edge = edge_of_noise(eigenvalues, n_signal)
    signal = np.maximum(eigenvalues[:n_signal] - edge, 0).sum()
    mean = max((total - signal) / n_rows, 1e-12)
    ratio = (np.sqrt(max(edge / mean, 1.0)) - 1) ** 2
    # θ of λ = (1 + θ)(ratio + θ) / θ
    b = eigenvalues / mean - 1 - ratio
    size = (b + np.sqrt(np.maximum(b**2 - 4 * ratio, 0))) / 2
    lost = ratio * (1 + size) / np.maximum(size * (size + ratio), 1e-12)
    above = (eigenvalues > edge) & (size > np.sqrt(ratio))
    strength: np.ndarray = np.sqrt(eigenvalues / max(edge, 1e-12))
    return strength, np.where(above, np.clip(1 - lost, 0, 0.99), 0.0)


def edge_of_noise(eigenvalues: np.ndarray, n_signal: int) -> float:
    """Extrapolate the eigenvalues of noise to the end of their interval: linear in (k + 1/2)^(2/3), down to k = 0."""
    rank = np.arange(len(eigenvalues))[n_signal:]
    if len(rank) < 3:
        return float(eigenvalues.max(initial=0.0))
    return float(np.polyfit((rank + 0.5) ** (2 / 3), eigenvalues[n_signal:], 1)[1])
