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
    MODALITIES,
    OPEN_PEAKS,
    REFERENCE,
    RESULT,
    RNA_COUNTS,
    ReportData,
)
from sailerx.evaluate.report_links import links_section
from sailerx.evaluate.report_sets import sets_section
from sailerx.evaluate.warning_plots import warning_figure
from sailerx.files.atomic import new_file
from sailerx.network.decoder_prior import first_epoch_of_prior
from sailerx.results.trained import TrainedModel
from sailerx.training.progress import counted
from sailerx.versions import versions


def write_report(
    model: TrainedModel,
    mdata: MuData | AnnData,
    path: str | os.PathLike[str],
    *,
    labels: str | None = None,
    drop: Sequence[str] = (),
    title: str = "",
    motifs: AnnData | None = None,
    links: pd.DataFrame | None = None,
    new: MuData | AnnData | None = None,
    transfer: bool = False,
) -> None:
    """Write the page; it appears once it is whole. Arguments as of `Model.report`."""
    if motifs is not None and labels is None:
        raise InputError("motif activity is shown by groups of cells. Name their column by `labels`.")
    with new_file(path) as part:
        content = ReportData.of(model, mdata, labels=labels, drop=drop)
        has_rna = bool(content.data.has_rna.any())
        sections = [
            _summary(model, content),
            _warnings(content),
            _embedding(content),
            sets_section(model, mdata, new, content, labels=labels, drop=drop, transfer=transfer),
            _neighbours(content) if has_rna else None,
            _weights(content) if has_rna else None,
            _quality(content, labels),
            None if motifs is None else _motifs(motifs, str(labels)),
            None if links is None else links_section(links),
            _training(model),
            _settings(model),
        ]
        embedded = "embedded from RNA and ATAC" if has_rna else "embedded from ATAC alone"
        text = html.render(
            f"sailerx report: {title}" if title else "sailerx report",
            f"{content.data.n_cells:,} cells, {embedded}; RNA reference: {content.data.source}",
            [section for section in sections if section is not None],
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
        "RNA reference": f"{data.source}, {data.g.shape[1]} dimensions" if data.reference else data.source,
        "hidden, beside ATAC depth": ", ".join(hidden) or "nothing",
        "trained for": f"{counted(len(model.history), 'epoch')}, {_duration(seconds)}",
        "on": f"{record['device'].upper()}, {record['threads']} thread{'s' if record['threads'] > 1 else ''}",
    }
    parts: list[html.Part] = [html.Facts(facts)]
    if model.joint is None:
        parts.append(html.Paragraph("The embedding is z, as in the paper."))
    else:
        parts.append(html.Paragraph(f"What ATAC adds: {model.joint.in_words()}."))
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
    alerts = [html.Alert(text) for text in content.warnings]
    for finding in content.findings:
        drawn = warning_figure(finding, content.data, content.batches)
        picture = None if drawn is None else html.Picture(figures.to_svg(drawn[0]), drawn[1], drawn[1])
        alerts.append(html.Alert(finding.text, picture))
    body = html.Warnings(alerts) if alerts else html.Paragraph("Nothing suspicious was found in the data.")
    return html.Section("warnings", "Warnings", (body,))


def _embedding(content: ReportData) -> html.Section:
    intro = (
        "Each dot is a cell, placed by UMAP of the embedding. Where all is well, cell types lie apart, while batches "
        "and depths are mixed within each of them. Distances between far groups mean little."
    )
    # the section on sets shows the modalities
    pictures = [_coloured(content, str(column)) for column in content.obs if column != MODALITIES]
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
        f"(LSI) has {by_atac:.1%}. Where the share is low, ATAC brings other cells near than RNA does."
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
    parts: list[html.Part] = []
    if content.atac_weight.any():
        text = (
            "ATAC weight: the share of ATAC in the squared length of a cell's row of the embedding; the rest is RNA's. It is large "
            "where ATAC tells a cell from others that are alike in RNA."
        )
        alt = f"Left: histogram of ATAC weights, {_spread_of(content.atac_weight)}. Right: the weight in the UMAP layout."
        figure = run_plots.atac_weight_panels(content.atac_weight, content.layout)
        picture = html.Picture(figures.to_svg(figure), alt, "ATAC weight, per cell.", wide=True)
        parts += [html.Paragraph(text), picture]
    text = (
        "Alignment weight w: how strongly training aligned a cell's z, from which accessibility is imputed, to its RNA: more where "
        "its ATAC is shallow for its RNA. A cell without RNA is not aligned, and grey."
    )
    alt = f"Left: histogram of alignment weights, {_spread_of(content.weight)}. Right: the weight in the UMAP layout."
    figure = run_plots.weight_panels(content.weight, content.layout)
    picture = html.Picture(figures.to_svg(figure), alt, "Alignment weight w, per cell.", wide=True)
    parts += [html.Paragraph(text), picture]
    return html.Section("weights", "Weights of ATAC and of RNA", tuple(parts))


def _spread_of(weight: np.ndarray) -> str:
    low, middle, high = np.nanquantile(weight, [0.05, 0.5, 0.95])
    return f"median {middle:.2f}, nine in ten between {low:.2f} and {high:.2f}"


def _quality(content: ReportData, labels: str | None) -> html.Section:
    taught = f"{REFERENCE}: what taught the model. " if REFERENCE in content.scores.index else ""
    beside = f"{taught}{ATAC_ALONE}: a linear embedding of the ATAC alone."
    scored = (
        f"Agreement with {labels!r}: ARI and NMI of Leiden clusters at the resolution with the best NMI, balanced accuracy of 15 "
        "nearest neighbours, silhouette. Higher is better. Labels drawn from RNA favour the reference. "
        if labels
        else "Without labels no clustering can be scored: name a column of cell types to see scores. "
    )
    clustered = "RNA reference" if taught else "embedding"
    within = f"label of {labels!r}" if labels else f"cluster of the {clustered}"
    leaks = (
        f"What an embedding still tells of depth and batch among cells of one {within}: 0 or below for nothing, 1 for "
        "all. Lower is better. A dash: too few cells of several batches to tell."
    )
    scores = html.Table(content.scores.rename_axis("embedding"), scored.strip(), strong=[RESULT])
    parts = (
        html.Paragraph(beside),
        scores if len(content.scores.columns) else html.Paragraph(scored.strip()),
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
        f"{counted(len(history), 'epoch')} in {_duration(seconds)}, {speed:,.0f} cells per second (median over epochs) on "
        f"{model.record['device'].upper()}. The loss is weighted as trained; its terms are not, and are per cell, "
        "that of the alignment per pair of cells."
    )
    if model.settings.decoder_decay and first_epoch_of_prior(model.settings):
        text += " The reconstruction can rise a little in the middle, where the decoder's last weights are drawn to their prior."
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
