"""The paper's claims, and what a run says of each: it holds, it does not hold, or it was not run and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import paper_clustering
import paper_imputation
import paper_motifs

HOLDS, FAILS, NOT_RUN = "holds", "does not hold", "not run"
#: measure → (name, digits)
MEASURES = {
    "ari": ("ARI", 3),
    "nmi": ("NMI", 3),
    "difference": ("difference of z", 2),
    "auroc": ("AUROC", 3),
}


@dataclass(frozen=True)
class Claim:
    """A claim: one method is above others in each of some measures.

    Attributes
    ----------
    text
        The claim, in words.
    experiment
        Whose rows tell.
    ours
        The method that should be above.
    others
        The methods that it should be above, and their names.
    measures
        In which it should be above.
    """

    text: str
    experiment: str
    ours: str
    others: Mapping[str, str]
    measures: Sequence[str]


def _others(titles: Mapping[str, str], *without: str) -> dict[str, str]:
    return {name: title for name, title in titles.items() if name not in without}


CLAIMS = (
    Claim(
        "1. Clusters of paired cells agree with the labels better than those of other tools",
        "clustering",
        "sailerx",
        _others(paper_clustering.TITLES, "sailerx", "paper"),
        ("nmi", "ari"),
    ),
    Claim(
        "1. Whatever embedding is the reference, the result is better than the reference alone",
        "reference",
        "teacher",
        paper_clustering.REFERENCES,
        ("nmi", "ari"),
    ),
    Claim(
        "2. Cells without RNA cluster better if they are trained together with paired cells",
        "hybrid",
        "hybrid",
        {"alone": "alone"},
        ("nmi", "ari"),
    ),
    Claim(
        "3. Known motifs differ more between its clusters",
        "motifs",
        "sailerx",
        _others(paper_motifs.TITLES, "sailerx", "labels"),
        ("difference",),
    ),
    Claim(
        "4. Imputed accessibility keeps cell types apart better than that of other tools",
        "imputation",
        "sailerx",
        _others(paper_imputation.TITLES, "sailerx", "raw"),
        ("nmi", "ari"),
    ),
    Claim(
        "4. Motifs of cell types stand out more in imputed than in raw accessibility",
        "imputed motifs",
        "sailerx",
        {"raw": "raw"},
        ("difference", "auroc"),
    ),
)


def verdicts(rows: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Judge every claim on every data set.

    Parameters
    ----------
    rows
        Of all experiments, as of `paper_steps.rows_of`.
    titles
        Name of each data set.

    Returns
    -------
    One row per claim, data set and other method: ``claim``, ``data``, ``against``, ``verdict`` and ``numbers``, sailerx's first.
    """
    found = []
    for claim in CLAIMS:
        own = rows[rows["experiment"] == claim.experiment]
        for data in dict.fromkeys(own["data"]):
            part = own[own["data"] == data]
            found += [
                {"claim": claim.text, "data": titles[data], "against": title} | _judged(claim, part, name)
                for name, title in claim.others.items()
            ]
    return _merged(pd.DataFrame(found))


def _judged(claim: Claim, rows: pd.DataFrame, other: str) -> dict[str, str]:
    """Compare in one data set."""
    for method in (claim.ours, other):
        why = rows.loc[(rows["method"] == method) & (rows["not_run"] != ""), "not_run"]
        if len(why):
            return {"verdict": f"{NOT_RUN}: {why.iloc[0]}", "numbers": ""}
    pairs = {measure: _pair(claim, rows, other, measure) for measure in claim.measures}
    numbers = "; ".join(
        f"{name} {ours:.{digits}f} against {theirs:.{digits}f}"
        for (ours, theirs), (name, digits) in ((pairs[m], MEASURES[m]) for m in claim.measures)
    )
    above = all(ours > theirs for ours, theirs in pairs.values())
    return {"verdict": HOLDS if above else FAILS, "numbers": numbers}


def _pair(claim: Claim, rows: pd.DataFrame, other: str, measure: str) -> tuple[float, float]:
    """The means of a measure over what was measured: of sailerx, and of the other method."""
    own = rows[rows["measure"] == measure].astype({"value": float})
    if claim.experiment == "reference":
        of_both = own[own["method"] == other].groupby("about")["value"].mean()
        return float(of_both["teacher"]), float(of_both["alone"])
    mean = own.groupby("method")["value"].mean()
    return float(mean[claim.ours]), float(mean[other])


def _merged(found: pd.DataFrame) -> pd.DataFrame:
    """Tell once what was not run of a data set for one reason."""
    same = ["claim", "data", "verdict", "numbers"]
    joined = found.groupby(same, sort=False)["against"].agg(", ".join).reset_index()
    return joined[["claim", "data", "against", "verdict", "numbers"]]
