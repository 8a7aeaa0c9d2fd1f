"""One HTML page that shows what a model made of its data. `Model.report` and `sailerx report` write it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mudata import MuData

import sailerx
from sailerx import metrics, page, plot
from sailerx.config import PRESETS
from sailerx.overview import ATAC_ALONE, KEPT, OPEN_PEAKS, REFERENCE, RESULT, RNA_COUNTS, Overview
from sailerx.store import new_file
from sailerx.versions import versions

if TYPE_CHECKING:
    from sailerx.api import Model


def write_report(
    model: Model,
    mdata: MuData,
    path: str | os.PathLike[str],
    *,
    labels: str | None = None,
    drop: Sequence[str] = (),
    title: str = "",
) -> None:
    """Write the page; it appears once it is whole. Arguments as of `Model.report`."""
    with new_file(path) as part:
        seen = Overview.of(model, mdata, labels=labels, drop=drop)
        text = page.page(
            f"sailerx report: {title}" if title else "sailerx report",
            f"{seen.data.n_cells:,} cells, embedded from their ATAC; taught by {seen.data.reference}",
            [
                _summary(model, seen),
                _warnings(seen),
                _embedding(seen),
                _neighbours(seen),
                _weights(seen),
                _quality(seen, labels),
                _training(model),
                _settings(model),
            ],
            f"Written on {datetime.now():%Y-%m-%d} by sailerx {sailerx.__version__}. The page is whole in itself and loads "
            "nothing from elsewhere.",
        )
        part.write_text(text, encoding="utf-8")


def _summary(model: Model, seen: Overview) -> page.Section:
    data, record, seconds = seen.data, model.record, float(model.history["seconds"].sum())
    hidden = [*record["batch_key"], *record["continuous_key"]]
    facts = {
        "cells": f"{data.n_cells:,}",
        "of which have RNA": f"{int(data.has_rna.sum()):,}",
        "peaks": f"{data.n_peaks:,}",
        "open peaks per cell (median)": f"{np.median(data.depth):,.0f}",
        "RNA reference": f"{data.reference}, {data.g.shape[1]} dimensions",
        "hidden, beside ATAC depth": ", ".join(hidden) or "nothing",
        "trained for": f"{len(model.history):,} epochs, {_duration(seconds)}",
        "on": f"{record['device'].upper()}, {record['threads']} thread{'s' if record['threads'] > 1 else ''}",
    }
    parts = [page.facts(facts)]
    if len(seen.layout) < data.n_cells:
        parts.append(
            page.paragraph(
                f"Figures and scores are of {len(seen.layout):,} cells drawn at random, to keep the page small."
            )
        )
    return page.Section("summary", "Summary", tuple(parts))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _warnings(seen: Overview) -> page.Section:
    body = (
        page.warning_list(seen.warnings)
        if seen.warnings
        else page.paragraph("Nothing suspicious was found in the data.")
    )
    return page.Section("warnings", "Warnings", (body,))


def _embedding(seen: Overview) -> page.Section:
    intro = (
        "Each dot is a cell, placed by UMAP of the embedding. Where all is well, cell types lie apart, while batches "
        "and depths are mixed within each of them. Distances between far groups mean little."
    )
    figures = [_coloured(seen, str(column)) for column in seen.obs]
    return page.Section("embedding", "Embedding", (page.paragraph(intro), page.side_by_side(*figures)))


def _coloured(seen: Overview, column: str) -> str:
    log = [column] if column in (OPEN_PEAKS, RNA_COUNTS) else []
    figure = plot.umap_panels(seen.layout, seen.obs, [column], layout=seen.layout, log=log)
    values = seen.obs[column]
    if pd.api.types.is_numeric_dtype(values):
        low, middle, high = np.nanquantile(values, [0, 0.5, 1])
        shown = f"{column} per cell, from {low:,.0f} to {high:,.0f} with median {middle:,.0f}"
    else:
        shown = f"{column} ({values.nunique()} different)"
    return page.picture(
        plot.to_svg(figure), f"UMAP of {len(values):,} cells, coloured by {shown}.", f"Coloured by {shown}."
    )


def _neighbours(seen: Overview) -> page.Section:
    n_paired = int(np.isfinite(seen.agreement).sum())
    k = min(metrics.N_NEIGHBORS, n_paired - 1)
    kept, by_atac = seen.scores[KEPT][[RESULT, ATAC_ALONE]]
    text = (
        f"Of each cell's {k} nearest neighbours in the RNA reference, the share that is among its {k} nearest in the "
        f"embedding: {kept:.1%} on average. By chance it would be {seen.chance:.2%}; a linear embedding of ATAC alone "
        f"(LSI) has {by_atac:.1%}. Where the share is low, ATAC tells another story than RNA, or too little of it."
    )
    figure = plot.agreement_panels(seen.agreement, seen.layout, chance=seen.chance)
    alt = (
        f"Left: histogram over {n_paired:,} cells of the share of RNA neighbours kept, mean {kept:.3f}. Right: the "
        "share in the UMAP layout."
    )
    return page.Section(
        "neighbours",
        "Neighbours in RNA and in the embedding",
        (
            page.paragraph(text),
            page.picture(plot.to_svg(figure), alt, "RNA neighbours kept, per cell.", wide=True),
        ),
    )


def _weights(seen: Overview) -> page.Section:
    text = (
        "w says how much a cell borrows from its RNA: more where its ATAC is shallow for its RNA. A cell without RNA "
        "borrows nothing and is grey."
    )
    low, middle, high = np.nanquantile(seen.weight, [0.05, 0.5, 0.95])
    alt = (
        f"Left: histogram of alignment weights, median {middle:.2f}, nine in ten between {low:.2f} and {high:.2f}. "
        "Right: the weight in the UMAP layout."
    )
    figure = plot.weight_panels(seen.weight, seen.layout)
    picture = page.picture(plot.to_svg(figure), alt, "Alignment weight w, per cell.", wide=True)
    return page.Section("weights", "Alignment weights", (page.paragraph(text), picture))


def _quality(seen: Overview, labels: str | None) -> page.Section:
    beside = f"{REFERENCE}: what taught the model. {ATAC_ALONE}: a linear embedding of the ATAC alone."
    scored = (
        f"Agreement with {labels!r}: ARI and NMI of Leiden clusters at the resolution with the best NMI, balanced accuracy of 15 "
        "nearest neighbours, silhouette. Higher is better. Labels drawn from RNA favour the reference. "
        if labels
        else "Without labels no clustering can be scored: name a column of cell types to see scores. "
    )
    within = f"label of {labels!r}" if labels else "cluster of the RNA reference"
    leaks = (
        f"What an embedding still tells of depth and batch among cells of one {within}: 0 or below for nothing, 1 for "
        "all. Lower is better. A dash: too few cells to tell."
    )
    parts = (
        page.paragraph(beside),
        page.table(seen.scores.rename_axis("embedding"), scored.strip(), strong=[RESULT]),
        page.table(seen.leakage.rename_axis("leakage of"), leaks),
    )
    return page.Section("quality", "Scores", parts)


def _training(model: Model) -> page.Section:
    history = model.history
    seconds = float(history["seconds"].sum())
    speed = float(history["cells_per_second"].median())
    text = (
        f"{len(history):,} epochs in {_duration(seconds)}, {speed:,.0f} cells per second (median over epochs) on "
        f"{model.record['device'].upper()}. The loss is weighted as trained; its terms are not, and are per cell, "
        "that of the alignment per pair of cells."
    )
    alt = f"The loss and its terms by epoch. The loss goes from {history['loss'].iloc[0]:.4g} to {history['loss'].iloc[-1]:.4g}."
    picture = page.picture(
        plot.to_svg(plot.loss_curves(history)), alt, "Loss and its terms by epoch.", wide=True
    )
    return page.Section("training", "Training", (page.paragraph(text), picture))


def _settings(model: Model) -> page.Section:
    preset = model.record["preset"]
    used, usual = asdict(model.settings), asdict(PRESETS[preset])
    # what a preset leaves open, such as the number of epochs, follows from the size of the data
    changed = [name for name in used if usual[name] is not None and used[name] != usual[name]]
    table = pd.DataFrame({"value": used, f"preset {preset!r}": usual}, dtype=object).map(_word)
    what = f"{', '.join(changed)} changed" if changed else f"all as in the preset {preset!r}"
    run = {name: _word(value) for name, value in model.record.items() if name != "versions"}
    trained, now = model.record["versions"], versions()
    packages = pd.DataFrame({"when trained": trained, "for this page": now}).fillna("–")
    parts = (
        page.paragraph(
            f"Model options: {what}. With these, the seed and the versions, the run can be repeated."
        ),
        page.folded(
            "Model options",
            page.table(table.rename_axis("option"), "Rows set apart differ from the preset.", strong=changed),
        ),
        page.folded(
            "Run",
            page.table(
                pd.DataFrame({"value": run}).rename_axis("argument"), "What the run was given and found."
            ),
        ),
        page.folded(
            "Versions", page.table(packages.rename_axis("package"), "What computed the model and this page.")
        ),
    )
    return page.Section("settings", "Settings and versions", parts)


def _word(value: Any) -> str:
    """A value as one would type it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
