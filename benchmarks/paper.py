"""Run the four experiments of the paper (Cao et al. 2022), and write one page with figures and a verdict on each claim.

    make paper DATA=folder GENOME=mm10.fa            the page paper/paper.html; QUICK=1 ends in minutes, on little data
    python benchmarks/paper.py --data folder --genome mm10.fa hg38.fa --out paper \\
        --peers-python ~/peers/bin/python --imputation-python ~/imputation/bin/python
    python benchmarks/paper.py --table benchmarks/results/paper.csv --into benchmarks/README.md

Without a folder, or for data sets that it does not hold, the page says which files are missing and where they are from. Simulated
cells are always among the data, because their motifs are known. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import paper_clustering
import paper_hybrid
import paper_imputation
import paper_motifs
from pages import markdown, parse
from paper_claims import verdicts
from paper_page import page
from paper_sets import SETS, Case, case_of, pbmc_together, simulated
from paper_steps import NotRunError, Plan, Row

from sailerx.files.atomic import new_file

EXPERIMENTS = {
    "clustering": paper_clustering.experiment,
    "hybrid": paper_hybrid.experiment,
    "motifs": paper_motifs.experiment,
    "imputation": paper_imputation.experiment,
}
COLUMNS = ["experiment", "data", "method", "about", "measure", "value", "not_run"]
#: what a data set that is missing leaves unanswered: experiment → methods
UNANSWERED = {
    "clustering": paper_clustering.TITLES,
    "reference": paper_clustering.REFERENCES,
    "hybrid": paper_hybrid.TITLES,
    "motifs": paper_motifs.TITLES,
    "imputation": paper_imputation.TITLES,
    "imputed motifs": paper_imputation.TITLES,
}


#: experiments, and what they answer
OF = {
    "clustering": ("clustering", "reference"),
    "hybrid": ("hybrid",),
    "motifs": ("motifs",),
    "imputation": ("imputation", "imputed motifs"),
}


def there(folder: Path | None, genomes: list[Path], plan: Plan) -> tuple[dict[str, Case], dict[str, str]]:
    """Find the data sets; return those that are there, and of the others why not."""
    cases, missing = {"simulated": simulated(plan)}, {}
    for one in SETS:
        try:
            cases[one.name] = case_of(one, folder, genomes, plan)
        except NotRunError as why:
            missing[one.name] = str(why)
    try:
        cases["pbmc_hybrid"] = pbmc_together(cases, plan)
    except NotRunError as why:
        missing["pbmc_hybrid"] = str(why)
    return cases, missing


def asked(experiment: str, data: str) -> bool:
    """Whether the paper asks an experiment of a data set."""
    if data == "pbmc3k":
        return False
    if data in ("pbmc_hybrid", "pbmc10k"):
        return (experiment == "hybrid") == (data == "pbmc_hybrid")
    return data != "shareseq_skin" or experiment in ("clustering", "reference")


def unasked(experiment: str, data: str) -> bool:
    """Whether nothing is known in advance of what an experiment asks for."""
    return "motifs" in experiment and data not in ("simulated", "snareseq_cortex")


def run(cases: dict[str, Case], missing: dict[str, str], plan: Plan) -> list[Row]:
    """Run all experiments on all data sets that are there."""
    rows: list[Row] = []
    for data, case in cases.items():
        for name, experiment in EXPERIMENTS.items():
            if asked(name, data) and not unasked(name, data):
                print(f"{data}: {name}", file=sys.stderr, flush=True)
                left_out = {name, f"{name}@{data}"} & set(plan.without)
                rows += not_run(OF[name], data, "left out on request") if left_out else experiment(case, plan)
    for data, why in missing.items():
        parts = [name for name in UNANSWERED if asked(name, data) and not unasked(name, data)]
        rows += not_run(parts, data, why)
    return rows


def not_run(parts: Sequence[str], data: str, why: str) -> list[Row]:
    """Rows of experiments that were not run at all."""
    return [
        {"experiment": part, "data": data, "method": method, "not_run": why}
        for part in parts
        for method in UNANSWERED[part]
    ]


def titles(cases: dict[str, Case]) -> dict[str, str]:
    known = {one.name: one.title for one in SETS} | {"pbmc_hybrid": "PBMC 10k, with the ATAC of 3k"}
    return known | {name: case.title for name, case in cases.items()}


# The tables of truth in README.md


def table(path: Path) -> str:
    """Format the experiments with known motifs as a Markdown table: means over the motifs."""
    rows = pd.read_csv(path, keep_default_na=False)
    kinds = {
        "motifs": ("counts, clusters by", paper_motifs.TITLES),
        "imputed motifs": ("cell types, accessibility", paper_imputation.TITLES),
    }
    lines = [["data", "compared", "method", "difference of z", "AUROC", "motifs"]]
    lines.append(["---", "---", "---", "---:", "---:", "---:"])
    for experiment, (what, names) in kinds.items():
        own = rows[(rows["experiment"] == experiment) & (rows["not_run"] == "")]
        for data in dict.fromkeys(own["data"]):
            for method, title in names.items():
                part = own[(own["data"] == data) & (own["method"] == method)]
                if len(part):
                    mean = part.assign(value=part["value"].astype(float)).groupby("measure")["value"].mean()
                    numbers = [
                        f"{mean['difference']:.2f}",
                        f"{mean['auroc']:.3f}",
                        str(part["about"].nunique()),
                    ]
                    title = f"**{title}**" if method == "sailerx" else title
                    lines.append([data, what, title, *numbers])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="folder of the data sets")
    parser.add_argument("--genome", type=Path, nargs="+", default=[], metavar="FILE", help="mm10.fa, hg38.fa")
    parser.add_argument("--quick", action="store_true", help="little data, few epochs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers-python", default=sys.executable, help="has requirements-peers.txt")
    parser.add_argument("--imputation-python", default=sys.executable, help="has requirements-imputation.txt")
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="NAME[@DATA]", help="methods or experiments to leave out"
    )
    parser.add_argument("--out", type=Path, default=Path("paper"), metavar="FOLDER")
    given = parse(parser, table)
    wrong = [
        str(path) for path in (*given.genome, *([given.data] if given.data else [])) if not path.exists()
    ]
    if wrong:
        parser.error(
            f"there must be {wrong[0]}, but there is not. Give the path of a folder or file that exists."
        )
    warnings.filterwarnings("ignore")
    plan = Plan(
        given.out / "work", given.quick, given.seed, given.threads, given.peers_python, given.imputation_python,
        tuple(given.without),
    )  # fmt: skip
    cases, missing = there(given.data, given.genome, plan)
    rows = pd.DataFrame(run(cases, missing, plan), columns=COLUMNS).fillna("")
    with new_file(given.out / "paper.csv") as part:
        rows.to_csv(part, index=False, float_format="%.5g")
    text = page(rows, cases, titles(cases), plan)
    with new_file(given.out / "paper.html") as part:
        part.write_text(text, encoding="utf-8")
    for row in verdicts(rows, titles(cases)).itertuples():
        print(f"{row.claim}\n  {row.data}, against {row.against}: {row.verdict}  {row.numbers}")
    print(os.path.relpath(given.out / "paper.html"))


if __name__ == "__main__":
    main()
