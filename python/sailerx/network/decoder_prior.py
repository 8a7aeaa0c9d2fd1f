"""The prior of the decoder's last weights: as much variation between cells as the ATAC shows, before a network sees it.

The logit of peak j of chromosome k is h · w_j + b_j. With w_j ~ N(m_k, I / precision), it varies between cells by E|h|² / precision
beyond what all peaks of the chromosome have in common, such as depth, which the mean m_k is free to follow. By how much it varies is
known before training: a score of which a share r is signal, and whose standard deviation by sampling is s, comes from logits that vary
by mean(1 / depth) · r / s², in the mean over open peaks, and the scores' variances add up. Setting the two equal gives the precision
(empirical Bayes). The estimate of highest posterior density adds precision / (2 N) · sum |w_j - m_k|² to the mean loss of N cells.

Without it, the decoder memorises the open peaks of single cells, and in sets of some thousand cells imputes worse than peak frequency.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sailerx.config import Settings, known
from sailerx.data.atac_scores import AtacScores

#: logits are taken to vary by this variance at least: there may be signal where no score is above noise
_LEAST_VARIANCE = 0.01
#: E[PReLU(u)²] of u ~ N(0, 1), with the slope that training starts from: batch normalisation and activation precede the last layer
_SQUARE_OF_FEATURE = (1 + 0.25**2) / 2


def with_decoder_decay(settings: Settings, scores: AtacScores | None, depth: np.ndarray) -> Settings:
    """Replace ``decoder_decay`` = None by what the ATAC scores tell; without scores, by 0.

    Parameters
    ----------
    settings
        Settings of the run, after `Settings.for_data`.
    scores
        ATAC scores of the cells.
    depth
        Open peaks of each cell.
    """
    if settings.decoder_decay is not None:
        return settings
    decay = 0.0
    if scores is not None:
        variance = max(logit_variance(scores, depth), _LEAST_VARIANCE)
        precision = settings.n_hidden * _SQUARE_OF_FEATURE / variance
        decay = known(settings.reconstruction) * precision / len(depth)
    return dataclasses.replace(settings, decoder_decay=decay)


def logit_variance(scores: AtacScores, depth: np.ndarray) -> float:
    """Compute by how much a peak's logit varies between cells, in the mean over open peaks, as far as the scores tell."""
    signal_to_noise = scores.reliability / np.maximum(scores.noise, 1e-6) ** 2
    return float((1 / np.maximum(depth, 1)).mean() * signal_to_noise.sum())
