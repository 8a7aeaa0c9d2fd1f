"""The HTML report of a trained model and its data, written by `Model.report` and ``sailerx report``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

import sailerx
from sailerx.config import PRESETS
from sailerx.errors import InputError
from sailerx.evaluate import figures, html, run_plots, umap_plots
from sailerx.evaluate.clustering import N_NEIGHBORS
from sailerx.evaluate.motif_plots import group_means, motif_heatmap
from sailerx.evaluate.report_data import (
    ATAC_ALONE,
    KEPT,
    OPEN_PEAKS,
    REFERENCE,
    RESULT,
    RNA_COUNTS,
    ReportData,
)
from sailerx.files.atomic import new_file
from sailerx.results.trained import TrainedModel
from sailerx.versions import versions


def write_report(
    model: TrainedModel,
    mdata: MuData,
    path: str | os.PathLike[str],
    *,
    labels: str | None = None,
    drop: Sequence[str] = (),
    title: str = "",
    motifs: AnnData | None = None,
) -> None:
    """Write the page; it appears once it is whole. Arguments as of `Model.report`."""
    if motifs is not None and labels is None:
        raise InputError("motif activity is shown by groups of cells. Name their column by `labels`.")
    with new_file(path) as part:
        content = ReportData.of(model, mdata, labels=labels, drop=drop)
        text = html.render(
            f"sailerx report: {title}" if title else "sailerx report",
            f"{content.data.n_cells:,} cells, embedded from RNA and ATAC; RNA reference: {content.data.source}",
            [
                _summary(model, content),
                _warnings(content),
                _embedding(content),
                _neighbours(content),
                _weights(content),
                _quality(content, labels),
                *([] if motifs is None else [_motifs(motifs, str(labels))]),
                _training(model),
                _settings(model),
            ],
            f"Written on {datetime.now():%Y-%m-%d} by sailerx {sailerx.__version__}. The page is whole in itself and loads "
            "nothing from elsewhere.",
        )
        part.write_text(text, encoding="utf-8")


def _summary(model: TrainedModel, content: ReportData) -> html.Section:
    data, record, seconds = content.data, model.record, float(model.history["seconds"].sum())
    hidden = [*record["batch_key"], *record["continuous_key"]]
    facts = {
        "cells": f"{data.n_cells:,}",
        "of which have RNA": f"{int(data.has_rna.sum()):,}",
        "peaks": f"{data.n_peaks:,}",
        "open peaks per cell (median)": f"{np.median(data.depth):,.0f}",
        "RNA reference": f"{data.source}, {data.g.shape[1]} dimensions",
        "what ATAC adds": "as in the paper, z is shown"
        if model.joint is None
        else model.joint.choice.in_words(),
        "hidden, beside ATAC depth": ", ".join(hidden) or "nothing",
        "trained for": f"{len(model.history):,} epochs, {_duration(seconds)}",
        "on": f"{record['device'].upper()}, {record['threads']} thread{'s' if record['threads'] > 1 else ''}",
    }
    parts: list[html.Part] = [html.Facts(facts)]
    if len(content.layout) < data.n_cells:
        parts.append(
            html.Paragraph(
                f"Figures and scores are of {len(content.layout):,} cells drawn at random, to keep the page small."
            )
        )
    return html.Section("summary", "Summary", tuple(parts))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _warnings(content: ReportData) -> html.Section:
    body: html.Part = (
        html.Warnings(content.warnings)
        if content.warnings
        else html.Paragraph("Nothing suspicious was found in the data.")
    )
    return html.Section("warnings", "Warnings", (body,))


def _embedding(content: ReportData) -> html.Section:
    intro = (
        "Each dot is a cell, placed by UMAP of the embedding. Where all is well, cell types lie apart, while batches "
        "and depths are mixed within each of them. Distances between far groups mean little."
    )
    pictures = [_coloured(content, str(column)) for column in content.obs]
    return html.Section("embedding", "Embedding", (html.Paragraph(intro), html.Pictures(pictures)))


def _coloured(content: ReportData, column: str) -> html.Picture:
    log = [column] if column in (OPEN_PEAKS, RNA_COUNTS) else []
    figure = umap_plots.umap_panels(content.layout, content.obs, [column], layout=content.layout, log=log)
    values = content.obs[column]
    if pd.api.types.is_numeric_dtype(values):
        low, middle, high = np.nanquantile(values, [0, 0.5, 1])
        described = f"{column} per cell, from {low:,.0f} to {high:,.0f} with median {middle:,.0f}"
    else:
        described = f"{column} ({values.nunique()} different)"
    return html.Picture(
        figures.to_svg(figure),
        f"UMAP of {len(values):,} cells, coloured by {described}.",
        f"Coloured by {described}.",
    )


def _neighbours(content: ReportData) -> html.Section:
    n_paired = int(np.isfinite(content.agreement).sum())
    k = min(N_NEIGHBORS, n_paired - 1)
    kept, by_atac = content.scores[KEPT][[RESULT, ATAC_ALONE]]
    text = (
        f"Of each cell's {k} nearest neighbours in the RNA reference, the share that is among its {k} nearest in the "
        f"embedding: {kept:.1%} on average. By chance it would be {content.chance:.2%}; a linear embedding of ATAC alone "
        f"(LSI) has {by_atac:.1%}. Where the share is low, ATAC tells another story than RNA, or too little of it."
    )
    figure = run_plots.agreement_panels(content.agreement, content.layout, chance=content.chance)
    alt = (
        f"Left: histogram over {n_paired:,} cells of the share of RNA neighbours kept, mean {kept:.3f}. Right: the "
        "share in the UMAP layout."
    )
    return html.Section(
        "neighbours",
        "Neighbours in RNA and in the embedding",
        (
            html.Paragraph(text),
            html.Picture(figures.to_svg(figure), alt, "RNA neighbours kept, per cell.", wide=True),
        ),
    )


def _weights(content: ReportData) -> html.Section:
    text = (
        "w says how much a cell borrows from its RNA: more where its ATAC is shallow for its RNA. A cell without RNA "
        "borrows nothing and is grey."
    )
    low, middle, high = np.nanquantile(content.weight, [0.05, 0.5, 0.95])
    alt = (
        f"Left: histogram of alignment weights, median {middle:.2f}, nine in ten between {low:.2f} and {high:.2f}. "
        "Right: the weight in the UMAP layout."
    )
    figure = run_plots.weight_panels(content.weight, content.layout)
    picture = html.Picture(figures.to_svg(figure), alt, "Alignment weight w, per cell.", wide=True)
    return html.Section("weights", "Alignment weights", (html.Paragraph(text), picture))


def _quality(content: ReportData, labels: str | None) -> html.Section:
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
        html.Paragraph(beside),
        html.Table(content.scores.rename_axis("embedding"), scored.strip(), strong=[RESULT]),
        html.Table(content.leakage.rename_axis("leakage of"), leaks),
    )
    return html.Section("quality", "Scores", parts)


def _motifs(activity: AnnData, labels: str) -> html.Section:
    text = (
        "A z-score says how much more open than expected the peaks with a motif are in a cell, against peaks of like GC content "
        f"and accessibility (chromVAR). Shown are the motifs that stand out most in each group of {labels!r}. Factors of one family "
        "have like motifs, so that this does not tell which of them is at work."
    )
    n_groups = group_means(activity, labels).shape[0]
    picture = html.Picture(
        figures.to_svg(motif_heatmap(activity, labels)),
        f"Heat map of mean z-scores of motifs in {n_groups} groups of {labels!r}.",
        f"Mean z-scores of {activity.n_vars:,} motifs, of which the most distinctive are shown.",
    )
    return html.Section("motifs", "Motif activity", (html.Paragraph(text), html.Pictures([picture])))


def _training(model: TrainedModel) -> html.Section:
    history = model.history
    seconds = float(history["seconds"].sum())
    speed = float(history["cells_per_second"].median())
    text = (
        f"{len(history):,} epochs in {_duration(seconds)}, {speed:,.0f} cells per second (median over epochs) on "
        f"{model.record['device'].upper()}. The loss is weighted as trained; its terms are not, and are per cell, "
        "that of the alignment per pair of cells."
    )
    alt = f"The loss and its terms by epoch. The loss goes from {history['loss'].iloc[0]:.4g} to {history['loss'].iloc[-1]:.4g}."
    picture = html.Picture(
        figures.to_svg(run_plots.loss_curves(history)), alt, "Loss and its terms by epoch.", wide=True
    )
    return html.Section("training", "Training", (html.Paragraph(text), picture))


def _settings(model: TrainedModel) -> html.Section:
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
        html.Paragraph(
            f"Model options: {what}. With these, the seed and the versions, the run can be repeated."
        ),
        html.Folded(
            "Model options",
            html.Table(table.rename_axis("option"), "Rows set apart differ from the preset.", strong=changed),
        ),
        html.Folded(
            "Run",
            html.Table(
                pd.DataFrame({"value": run}).rename_axis("argument"), "What the run was given and found."
            ),
        ),
        html.Folded(
            "Versions", html.Table(packages.rename_axis("package"), "What computed the model and this html.")
        ),
    )
    return html.Section("settings", "Settings and versions", parts)


def _word(value: Any) -> str:
    """A value as one would type it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
