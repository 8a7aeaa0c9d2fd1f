"""One page of a run of the paper's experiments: verdicts, tables, figures, and where the data sets come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import paper_clustering
import paper_figures as figures
import paper_hybrid
import paper_imputation
import paper_motifs
from matplotlib import rc_context
from paper_claims import FAILS, HOLDS, NOT_RUN, verdicts
from paper_sets import SETS, Case
from paper_steps import Plan, save_array

from sailerx.evaluate import html
from sailerx.evaluate.figures import to_svg
from sailerx.evaluate.umap_plots import umap_layout
from sailerx.versions import versions

NAMES = {
    "ari": "ARI",
    "nmi": "NMI",
    "silhouette": "silhouette",
    "knn": "kNN accuracy",
    "transfer": "label transfer",
    "ilisi": "iLISI",
    "clisi": "cLISI",
}
#: dots per inch of drawn cells, so that the page stays light
DPI = 80
#: embeddings that are drawn, where they were run
DRAWN = ("sailerx", "rna_pca", "lsi_49")


def page(rows: pd.DataFrame, cases: Mapping[str, Case], found: Mapping[str, str], plan: Plan) -> str:
    """Write the page.

    Parameters
    ----------
    rows
        Of all experiments.
    cases
        The data sets that were there.
    found
        Title of each data set of the run, and of those that are missing.
    plan
        How it was run.
    """
    sections = [
        _summary(verdicts(rows, found)),
        _data(rows),
        html.Section(
            "clustering", "1. Clusters of paired cells", list(_clustering(rows, cases, found, plan))
        ),
        html.Section("references", "1. Any RNA reference", list(_references(rows, found))),
        html.Section("hybrid", "2. Cells without RNA", list(_hybrid(rows, cases, found, plan))),
        html.Section("motifs", "3. Motifs between clusters", list(_motifs(rows, found))),
        html.Section("imputation", "4. Imputed accessibility", list(_imputation(rows, found))),
    ]
    subtitle = (
        "Cao et al., Nucleic Acids Research 50(21):e121, 2022 (doi:10.1093/nar/gkac781), on the data sets that were at hand. "
        + (
            "QUICK: small data and few epochs, to see that everything runs; not results."
            if plan.quick
            else ""
        )
    )
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    return html.render(
        "The paper's experiments, run again", subtitle, sections, f"Seed {plan.seed}. {known}."
    )


def _summary(table: pd.DataFrame) -> html.Section:
    verdict = table["verdict"]
    counts = {
        "comparisons that hold": str(int((verdict == HOLDS).sum())),
        "do not hold": str(int((verdict == FAILS).sum())),
        "not run": str(int(verdict.str.startswith(NOT_RUN).sum())),
    }
    parts: list[html.Part] = [html.Facts(counts)]
    for claim, own in table.groupby("claim", sort=False):
        parts.append(html.Paragraph(f"{claim}."))
        parts.append(html.Table(own.drop(columns="claim").set_index("data"), "Numbers: sailerx's first."))
    parts.append(
        html.Paragraph(
            "A claim holds against another method if sailerx is above it in each of the numbers shown, by however little: they are "
            "of one seed, and differences of about 0.01 in NMI and 0.03 in ARI occur between seeds."
        )
    )
    return html.Section("verdicts", "What holds", parts)


def _data(rows: pd.DataFrame) -> html.Section:
    ran = set(rows.loc[rows["not_run"] == "", "data"])
    frame = pd.DataFrame(
        [
            {
                "data": one.title,
                "accession": one.accession,
                "in the folder as": f"{one.name}.h5mu, or from {one.source}: {', '.join(one.files)}",
                "here": "used" if one.name in ran else "file missing",
            }
            for one in SETS
        ]
    ).set_index("data")
    text = (
        "DATA names a folder with any of these files. Cell types are the obs column cell_type, or a table NAME.labels.csv "
        "(barcode, cell type) beside the file, such as pbmc10k.labels.csv: the public files of 10x and of SNARE-seq have none. "
        "GENOME names the genome of the peaks, mm10.fa or hg38.fa (.fa.gz by bgzip or .2bit as well). Simulated cells have known "
        "types, and motifs planted in their peaks."
    )
    return html.Section("data", "Data", [html.Paragraph(text), html.Table(frame, "Data sets of the paper.")])


def _values(rows: pd.DataFrame, experiment: str, data: str) -> pd.DataFrame:
    own = rows[(rows["experiment"] == experiment) & (rows["data"] == data) & (rows["not_run"] == "")]
    return own.assign(value=own["value"].astype(float))


def _wide(values: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Methods × measures, in the order of the titles."""
    table = values.pivot_table(index="method", columns="measure", values="value")
    table = table.reindex([name for name in titles if name in table.index])
    table = table[[name for name in NAMES if name in table]].rename(columns=NAMES)
    return table.rename(index=titles).rename_axis(index="method", columns=None)


def _picture(figure: object, alt: str, caption: str) -> html.Picture:
    with rc_context({"svg.fonttype": "none"}):  # text stays text, which is lighter than its outlines
        return html.Picture(to_svg(figure, dpi=DPI), alt, caption, wide=True)  # type: ignore[arg-type]


def _missing(
    rows: pd.DataFrame, experiment: str, data: str, titles: Mapping[str, str]
) -> Iterator[html.Part]:
    """What was not run, by reason."""
    own = rows[(rows["experiment"] == experiment) & (rows["data"] == data) & (rows["not_run"] != "")]
    for why, some in own.groupby("not_run", sort=False):
        yield html.Paragraph(f"Not run ({why}): {', '.join(titles[name] for name in some['method'])}.")


def _of_each(rows: pd.DataFrame, experiment: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Data sets with values of an experiment."""
    for data in dict.fromkeys(rows.loc[rows["experiment"] == experiment, "data"]):
        values = _values(rows, experiment, data)
        if len(values):
            yield data, values


def _clustering(
    rows: pd.DataFrame, cases: Mapping[str, Case], found: Mapping[str, str], plan: Plan
) -> Iterator[html.Part]:
    titles = paper_clustering.TITLES
    for data, values in _of_each(rows, "clustering"):
        table = _wide(values, titles)
        ours = [titles["sailerx"], titles["paper"]]
        yield html.Table(
            table, f"{found[data]}: Leiden clusters at the best of 12 resolutions, and neighbours.", ours
        )
        yield from _missing(rows, "clustering", data, titles)
        yield _picture(
            figures.bars(table, ours), f"Bars of scores on {found[data]}", f"{found[data]}. Higher is better."
        )
        case = cases[data]
        drawn = {
            m: np.load(paper_clustering.embedding(case, plan, m)) for m in DRAWN if m in set(values["method"])
        }
        known = case.known(case.read())
        yield _layouts(case, plan, drawn, known, titles, f"{found[data]}, UMAP, by label.")


def _layouts(
    case: Case,
    plan: Plan,
    drawn: Mapping[str, np.ndarray],
    cells: np.ndarray,
    titles: Mapping[str, str],
    caption: str,
) -> html.Picture:
    """UMAP layouts of embeddings of all cells, some of which are drawn; layouts are kept."""
    chosen = np.flatnonzero(cells)[figures.drawn_cells(int(cells.sum()), plan.seed)]
    places = {}
    for name, z in drawn.items():
        file = case.folder / f"umap-{name}-{plan.seed}.npy"
        if not file.exists():
            save_array(umap_layout(z[chosen], seed=plan.seed), file)
        places[titles[name]] = np.load(file)
    picture = figures.layouts(places, case.groups(case.read())[chosen])
    return _picture(picture, f"UMAP layouts: {', '.join(places)}", caption)


def _references(rows: pd.DataFrame, found: Mapping[str, str]) -> Iterator[html.Part]:
    titles = paper_clustering.REFERENCES
    for data, values in _of_each(rows, "reference"):
        alone, teacher = (_wide(values[values["about"] == about], titles) for about in ("alone", "teacher"))
        both = pd.concat({"alone": alone, "as the teacher of sailerx": teacher}, names=["what"]).swaplevel()
        both.index = [f"{name}, {what}" for name, what in both.index]
        order = [f"{name}, {what}" for name in alone.index for what in ("alone", "as the teacher of sailerx")]
        strong = [name for name in order if name.endswith("sailerx")]
        yield html.Table(both.loc[order], f"{found[data]}: RNA embeddings, alone and as teachers.", strong)
        yield from _missing(rows, "reference", data, titles)
        if len(alone) < 2:  # a figure of one reference would only stretch its differences
            continue
        measures = ["ARI", "NMI", "kNN accuracy"]
        figure = figures.dumbbells(
            alone[measures], teacher[measures], ("the reference alone", "sailerx taught by it")
        )
        yield _picture(figure, f"Scores of each reference on {found[data]}", f"{found[data]}.")


def _hybrid(
    rows: pd.DataFrame, cases: Mapping[str, Case], found: Mapping[str, str], plan: Plan
) -> Iterator[html.Part]:
    titles = paper_hybrid.TITLES
    for data, values in _of_each(rows, "hybrid"):
        table = _wide(values, titles)
        yield html.Table(
            table,
            f"{found[data]}: cells whose RNA was taken away. iLISI: how well both sets mix; cLISI: how well types stay apart.",
            [titles["hybrid"]],
        )
        yield from _missing(rows, "hybrid", data, titles)
        case = cases[data]
        drawn = {m: paper_hybrid.embedded(case, plan, m) for m in ("hybrid", "alone")}
        cells = paper_hybrid.without_rna(case) & case.known(case.read())
        yield _layouts(
            case, plan, drawn, cells, titles, f"{found[data]}: the cells without RNA, UMAP, by label."
        )


def _motifs(rows: pd.DataFrame, found: Mapping[str, str]) -> Iterator[html.Part]:
    yield html.Paragraph(
        "Motifs known in advance, in the groups that they belong to. Each clustering's cluster that is most like a group stands for "
        "it; where one cluster stands for both groups, the difference is 0. z-scores are of counts. Clusters of LSI were found in the "
        "same counts, which favours it. 'The labels themselves' shows what perfect clusters would give."
    )
    yield from _by_motif(
        rows, found, "motifs", paper_motifs.TITLES, "difference", "difference of mean z-scores"
    )


def _by_motif(
    rows: pd.DataFrame,
    found: Mapping[str, str],
    experiment: str,
    titles: Mapping[str, str],
    measure: str,
    label: str,
    *,
    told: bool = True,
) -> Iterator[html.Part]:
    """Table and figure of one measure, motifs × methods; ``told``: and what was not run."""
    for data in dict.fromkeys(rows.loc[rows["experiment"] == experiment, "data"]):
        values = _values(rows, experiment, data)
        if len(values):
            own = values[values["measure"] == measure]
            table = own.pivot_table(index="about", columns="method", values="value", sort=False)
            table = table[[name for name in titles if name in table]].rename(columns=titles)
            table = table.rename_axis(index="motif", columns=None)
            with_mean = pd.concat([table, table.mean().to_frame("mean").T]).rename_axis("motif")
            yield html.Table(with_mean, f"{found[data]}: {label} of each motif.", ["mean"])
            figure = figures.dots(table, titles["sailerx"], label)
            yield _picture(figure, f"{label} of each motif, {found[data]}", f"{found[data]}: {label}.")
            if told:
                yield from _missing(rows, experiment, data, titles)


def _imputation(rows: pd.DataFrame, found: Mapping[str, str]) -> Iterator[html.Part]:
    titles = paper_imputation.TITLES
    yield html.Paragraph(
        "Types in 30 principal components of the imputed accessibility of the 5,000 most frequent peaks. RNA taught sailerx, and "
        "the labels of real data come from RNA: these scores show that imputation keeps what the embedding knows."
    )
    for data, values in _of_each(rows, "imputation"):
        table = _wide(values, titles)
        yield html.Table(table, f"{found[data]}: imputed accessibility against labels.", [titles["sailerx"]])
        yield from _missing(rows, "imputation", data, titles)
        figure = figures.bars(table, [titles["sailerx"]])
        yield _picture(figure, f"Bars of scores on {found[data]}", f"{found[data]}. Higher is better.")
    yield html.Paragraph(
        "Motifs in imputed accessibility: cells of a type against all others, by labels. Imputation averages over like cells, so "
        "that z-scores vary less within a type and their differences grow; AUROC, which does not depend on their scale, is fairer."
    )
    for measure, label in (("auroc", "AUROC"), ("difference", "difference of mean z-scores")):
        yield from _by_motif(rows, found, "imputed motifs", titles, measure, label, told=measure == "auroc")
