"""Find jumps of loss terms: a term that grows many times over in one epoch is a fault of the run, not noise."""

from __future__ import annotations

import pandas as pd

from sailerx.config import Settings, known
from sailerx.network.objective import terms_of

#: a term jumps if it exceeds this multiple of its median over all epochs before
FACTOR = 10.0
#: share of the run, from its start, in which terms may move freely
_FREE = 0.1


def rises(history: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Divide each term that is part of the loss by its median over all epochs before.

    Parameters
    ----------
    history
        One row per epoch, with the terms.
    settings
        Which terms have a weight.

    Returns
    -------
    Epochs after the first tenth of the run (index: epoch, from 1) × terms.
    """
    weight = {"reconstruction": known(settings.reconstruction), "alignment": known(settings.gamma)}
    main = history.iloc[settings.warmup_epochs :]
    terms = main[[term for term in terms_of(settings) if weight.get(term, 1) > 0 and term in main]]
    found = terms / terms.expanding().median().shift().clip(lower=1e-9)
    found.index = pd.RangeIndex(settings.warmup_epochs + 1, settings.warmup_epochs + 1 + len(found))
    return found.iloc[max(1, round(_FREE * len(main))) :]


def jumps(history: pd.DataFrame, settings: Settings) -> list[str]:
    """Describe the first jump of each term that is part of the loss: one sentence per term that has jumped, from `rises`."""
    found = []
    for term, rise in rises(history, settings).items():
        jumped = rise.index[rise > FACTOR]
        if len(jumped):
            epoch, value = int(jumped[0]), float(history[str(term)].iloc[int(jumped[0]) - 1])
            found.append(
                f"{term} jumped to {value:.3g} in epoch {epoch}, from {value / rise[epoch]:.3g} "
                "before: imputed values of this run are not to be trusted. Train again with another seed or a lower `learning_rate`."
            )
    return found
