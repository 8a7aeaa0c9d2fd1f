"""Measure what each piece of the joint embedding buys: leave out one at a time.

    python benchmarks/ablation.py DATA.h5mu --out benchmarks/results/ablation.csv
    python benchmarks/ablation.py --table benchmarks/results/ablation.csv --into benchmarks/README.md

On simulated pairs: halves that only ATAC tells apart (as in splits.py), cells without RNA (as in hybrid.py), and how well the
embedding predicts depth and batch within a type (as in settings.py). On DATA, by neighbours' prediction of held-out molecules.
README.md describes the columns.
"""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mudata
import numpy as np
import pandas as pd
from hybrid import score as score_hybrid
from hybrid import together
from pages import markdown, parse
from settings import leakage, split_molecules
from splits import CASES, SIZE, accuracies

import sailerx
from sailerx.config import Settings
from sailerx.data.atac_scores import AtacScores
from sailerx.data.multiome import Multiome
from sailerx.joint import choice, coordinates, embedding
from sailerx.joint.coordinates import Coordinates
from sailerx.joint.embedding import JointEmbedding

#: a piece that is left out: names in the package and what they are replaced by
Replaced = list[tuple[Any, str, Any]]


def _seeing(scores: AtacScores, *_: Any) -> AtacScores:
    return scores


def _all_of_whole(self: Coordinates, z: np.ndarray) -> np.ndarray:
    """Take all scores of the whole data in units of noise, whether or not they rise above it."""
    found: np.ndarray = z[:, : len(self.whole.strength)] / np.maximum(self.whole.noise, 1e-12)
    return found.astype(np.float32)


def _undamped(rows: np.ndarray, _: float) -> np.ndarray:
    return rows


#: title → what is replaced, and options of the fit
VARIANTS: dict[str, tuple[Replaced, dict[str, Any]]] = {
    "**sailerx**": ([], {}),
    "no scores of groups": ([(coordinates, "_LEAST_CELLS", 10**9)], {}),
    "scores of groups, also what those of all cells say": ([(coordinates, "_beyond", _seeing)], {}),
    "all scores, not only those above noise": ([(Coordinates, "of_whole", _all_of_whole)], {}),
    "not blind to confounders": ([(AtacScores, "blind_to", _seeing)], {}),
    "rows of shallow cells not shortened": ([(coordinates, "damped", _undamped)], {}),
    "of weights that predict as well, the best": ([(choice, "_TIE", 1e-9)], {}),
    "weight not chosen: 0.18": ([], {"atac_weight": 0.18}),
    "weight not chosen: 0.045": ([], {"atac_weight": 0.045}),
    "RNA reference, not denoised": ([], {"denoise_reference": False}),
    "10 anchors for a cell without RNA": ([(embedding, "_ANCHORS", 10)], {}),
    "RNA reference alone": ([], {"atac_weight": 0.0}),
}


@contextlib.contextmanager
def without(pieces: Replaced) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for where, name, other in pieces:
            stack.enter_context(patch.object(where, name, other))
        yield


def rows_of(mdata: mudata.MuData, seed: int, batch: str | None = None, **options: Any) -> np.ndarray:
    """Learn the joint embedding of a MuData and embed its cells."""
    settings = Settings(**options)
    data = Multiome.from_mudata(mdata, settings, batch_key=[batch] if batch else [], seed=seed)
    hybrid = bool(data.has_rna.any() and not data.has_rna.all())
    joint = JointEmbedding.learn(data, settings.for_data(4, hybrid=hybrid), seed)
    return joint.rows(data.x, data.g[data.has_rna], data.has_rna)


def halves(case: str, seed: int, **options: Any) -> dict[str, float]:
    mdata = sailerx.simulate(**SIZE, seed=seed, **CASES[case])
    kind, subtype = (mdata.obs[name].astype(str).to_numpy() for name in ("cell_type", "subtype"))
    split = sorted({name[:-1] for name in subtype if name[-1] in "ab"})
    found = accuracies(rows_of(mdata, seed, **options), kind, subtype, split)
    return {f"halves, {case.split(', ')[-1]}": found["halves"], f"all, {case.split(', ')[-1]}": found["all"]}


def leaks(seed: int, **options: Any) -> dict[str, float]:
    mdata = sailerx.simulate(seed=seed)
    depth, batch = leakage(rows_of(mdata, seed, "batch", **options), mdata)
    kind = mdata.obs["cell_type"].astype(str).to_numpy()
    alone = (mdata.obs["batch"] == "batch1").to_numpy()
    shown = together(mdata["rna"][~alone].copy(), mdata["atac"])
    hybrid = score_hybrid(rows_of(shown, seed, **options), kind, alone, [], seed)
    return {
        "depth leakage": depth,
        "batch leakage": batch,
        "label transfer": hybrid["transfer"],
        "iLISI": hybrid["ilisi"],
    }


def gains(path: Path, seed: int, **options: Any) -> dict[str, float]:
    from sailerx.metrics import predictive_gain

    train, molecules = split_molecules(str(path))
    rows = rows_of(train, seed, **options)
    return {f"gain {name.upper()}": predictive_gain(rows, *molecules[name]) for name in ("rna", "atac")}


MEASURES: dict[str, Callable[..., dict[str, float]]] = {
    "deep": lambda seed, **options: halves("ATAC splits, deep", seed, **options),
    "shallow": lambda seed, **options: halves("ATAC splits, shallow", seed, **options),
    "leaks": leaks,
}
DIGITS = dict.fromkeys(["halves, deep", "all, deep", "halves, shallow", "all, shallow"], 3)
DIGITS |= dict.fromkeys(["label transfer", "iLISI", "depth leakage", "batch leakage"], 2)
DIGITS |= dict.fromkeys(["gain RNA", "gain ATAC"], 4)


def table(rows: pd.DataFrame) -> str:
    """Format means over seeds."""
    lines = [["left out or changed", *DIGITS], ["---", *["---:"] * len(DIGITS)]]
    for name, of in rows.groupby("variant", sort=False):
        found = [of[column].dropna() for column in DIGITS]
        cells = [f"{v.mean():.{d}f}" if len(v) else "" for v, d in zip(found, DIGITS.values(), strict=True)]
        lines.append([str(name), *cells])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    if not given.out:
        parser.error("--out is needed, or --table")
    warnings.filterwarnings("ignore")
    mudata.set_options(pull_on_update=False)
    measures = dict(MEASURES)
    if given.data:
        measures["data"] = lambda seed, **options: gains(given.data, seed, **options)
    rows: list[dict[str, Any]] = []
    for seed in given.seeds:
        for name, (pieces, options) in VARIANTS.items():
            row: dict[str, Any] = {"variant": name, "seed": seed}
            with without(pieces):
                for measure in measures.values():
                    row |= measure(seed, **options)
            rows.append(row)
            pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
