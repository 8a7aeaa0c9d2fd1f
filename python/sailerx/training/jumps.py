"""Find jumps of loss terms: a term that grows many times over in one epoch is a fault of the run, not noise."""

from __future__ import annotations

import pandas as pd

from sailerx.config import Settings, known

#: a term jumps if it exceeds this multiple of its median over all epochs before
FACTOR = 10.0
#: share of the run, from its start, in which terms may move freely
_FREE = 0.1


def jumps(history: pd.DataFrame, settings: Settings) -> list[str]:
    """Describe the first jump of each term that is part of the loss.

    Parameters
    ----------
    history
        One row per epoch, with the terms.
    settings
        Which terms have a weight.

    Returns
    -------
    One sentence per term that has jumped.
    """
    weighted = {
        "reconstruction": known(settings.reconstruction) > 0,
        "kl_prior": True,
        "kl_marginal": settings.lambda_ > 0,
        "alignment": known(settings.gamma) > 0,
    }
    main = history.iloc[settings.warmup_epochs :]
    start = max(1, round(_FREE * len(main)))
    found = []
    for term in (name for name, counts in weighted.items() if counts and name in main):
        values = main[term].reset_index(drop=True)
        before = values.expanding().median().shift()
        jumped = values.index[(values > FACTOR * before.clip(lower=1e-9)) & (values.index >= start)]
        if len(jumped):
            epoch = int(jumped[0])
            found.append(
                f"{term} jumped to {values[epoch]:.3g} in epoch {epoch + settings.warmup_epochs + 1}, from {before[epoch]:.3g} "
                "before: imputed values of this run are not to be trusted. Train again with another seed or a lower `learning_rate`."
            )
    return found
