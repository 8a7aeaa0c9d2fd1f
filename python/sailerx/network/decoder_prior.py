"""The prior of the decoder's last weights: as much variation between cells as the ATAC shows, before a network sees it.

The logit of peak j of chromosome k is h · w_j + b_j. With w_j ~ N(m_k, I / precision), it varies between cells by E|h|² / precision
beyond what all peaks of the chromosome have in common, such as depth, which the mean m_k is free to follow. How much it varies is
known before training, from the ATAC scores (`sailerx.data.atac_scores.AtacScores.variance_of_logits`); setting the two equal gives the
precision (empirical Bayes). The estimate of highest posterior density adds precision / (2 N) · sum |w_j - m_k|² to the mean loss of N
cells.

Without it, the decoder memorises the open peaks of single cells, and in sets of some thousand cells imputes worse than peak frequency.
"""

from __future__ import annotations

import dataclasses

from sailerx.config import Settings, known
from sailerx.data.atac_scores import AtacScores

#: logits are taken to vary by this variance at least: there may be signal where no score is above noise
_LEAST_VARIANCE = 0.01
#: E[PReLU(u)²] of u ~ N(0, 1), with the slope that training starts from: batch normalisation and activation precede the last layer
_SQUARE_OF_FEATURE = (1 + 0.25**2) / 2


def with_decoder_decay(settings: Settings, scores: AtacScores | None, n_cells: int) -> Settings:
    """Replace ``decoder_decay`` = None by what the ATAC scores tell; without scores, by 0.

    Parameters
    ----------
    settings
        Settings of the run, after `Settings.for_data`.
    scores
        ATAC scores of the cells.
    n_cells
        N, number of cells.
    """
    if settings.decoder_decay is not None:
        return settings
    decay = 0.0
    if scores is not None:
        variance = max(scores.variance_of_logits, _LEAST_VARIANCE)
        precision = settings.n_hidden * _SQUARE_OF_FEATURE / variance
        decay = known(settings.reconstruction) * precision / n_cells
    return dataclasses.replace(settings, decoder_decay=decay)
