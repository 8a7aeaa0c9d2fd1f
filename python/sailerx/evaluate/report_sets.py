"""The report's section on sets of cells: both in one picture, how well they mix, and labels carried from one to the other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

from sailerx.errors import InputError
from sailerx.evaluate import figures, html, run_plots, umap_plots
from sailerx.evaluate.cell_sets import APART, MIXED, SHUFFLED, CellSets
from sailerx.evaluate.label_calls import calibration, label_calls
from sailerx.evaluate.report_data import MODALITIES, RESULT, ReportData, choose_cells, texts_of
from sailerx.results.trained import TrainedModel, atac_of
from sailerx.results.transfer_labels import UNKNOWN

#: title of the picture of sets; other columns may be called "set"
SETS = "set of cells"


def sets_section(
    model: TrainedModel,
    mdata: MuData | AnnData,
    new: MuData | AnnData | None,
    content: ReportData,
    *,
    labels: str | None,
    drop: Sequence[str],
    transfer: bool,
    seed: int = 0,
) -> html.Section | None:
    """Make the section; None if there is one set alone. Arguments as of `Model.report`.

    Raises
    ------
    InputError
        If labels are to be transferred, and there are none or no cells to transfer them to.
    """
    if transfer and labels is None:
        raise InputError("labels are transferred from a column of cell types. Name it by `labels`.")
    if new is None and not transfer and MODALITIES not in content.obs:
        return None
    files: list[tuple[MuData | AnnData, np.ndarray]] = [(mdata, content.obs.index.to_numpy())]
    if new is not None:
        files.append((new, choose_cells(atac_of(new, model.record["atac"]).n_obs, seed)))
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        calls = label_calls(model, mdata, new, str(labels), seed) if transfer else None
        sets = CellSets.of(model, files, labels, drop)
    alerts = [html.Alert(text) for text in dict.fromkeys(texts_of(raised)) if text not in content.warnings]
    layout = content.layout if new is None else umap_plots.umap_layout(sets.rows, seed=seed)
    parts: list[html.Part] = [html.Warnings(alerts)] if alerts else []
    parts += [html.Paragraph(_intro(sets)), html.Pictures(_pictures(sets, layout, labels))]
    parts += _mixing(sets, labels, seed)
    if calls is not None:
        parts += _calls(calls, _places(files, calls), sets, layout, str(labels))
    return html.Section("sets", "Sets of cells", tuple(parts))


def _intro(sets: CellSets) -> str:
    names, counts = np.unique(sets.set.astype(str), return_counts=True)
    listed = ", ".join(f"{n:,} cells ({name})" for name, n in zip(names, counts, strict=True))
    return (
        f"Together in one embedding: {listed}. Where all is well, sets are mixed within each cell type that they share. A type that "
        "one set lacks stays alone, as it should."
    )


def _pictures(sets: CellSets, layout: np.ndarray, labels: str | None) -> list[html.Picture]:
    of_sets = pd.Series(sets.set).astype("category")
    pictures = [_picture(layout, of_sets, SETS, "Coloured by set of cells.")]
    if labels is not None and pd.notna(sets.label).any():
        label = pd.Series(sets.label).astype("category")
        grey = " Grey cells have none." if label.isna().any() else ""
        pictures.append(_picture(layout, label, labels, f"Coloured by {labels}.{grey}"))
    return pictures


def _picture(
    layout: np.ndarray, values: pd.Series, name: str, caption: str, missing: str = "missing"
) -> html.Picture:
    figure = umap_plots.umap_panels(
        layout, pd.DataFrame({name: values}), [name], layout=layout, missing=missing
    )
    return html.Picture(
        figures.to_svg(figure), f"UMAP of {len(values):,} cells of all sets. {caption}", caption
    )


def _mixing(sets: CellSets, labels: str | None, seed: int) -> list[html.Part]:
    if len(set(sets.set)) < 2:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of jax
            table = sets.mixing(seed)
    except InputError as error:
        return [html.Paragraph(f"How well sets mix is not shown: {error}")]
    among = "among the cells of each label" if labels else "among all cells"
    text = (
        f"{MIXED}: effective number of sets around a cell (median), from 0 for one set to 1 for all in equal numbers. {SHUFFLED}: "
        f"the same after sets are shuffled {among}, about as high as it can be. "
        + (
            f"{APART}: as much for {labels!r}, reversed: 1 for one label around every cell."
            if APART in table
            else ""
        )
    )
    return [html.Table(table.rename_axis("mixing in"), text.strip(), strong=[RESULT])]


def _places(files: Sequence[tuple[MuData | AnnData, np.ndarray]], calls: pd.DataFrame) -> np.ndarray:
    """Row of the calls for each shown cell, -1 for cells that labels come from."""
    row_of = pd.Series(np.arange(len(calls)), calls["position"])
    found = row_of.reindex(files[-1][1]).fillna(-1).to_numpy(int)
    return found if len(files) == 1 else np.concatenate([np.full(len(files[0][1]), -1), found])


def _calls(
    calls: pd.DataFrame, places: np.ndarray, sets: CellSets, layout: np.ndarray, labels: str
) -> list[html.Part]:
    called = places >= 0
    unknown = float((calls["label"] == UNKNOWN).mean())
    text = (
        f"Labels of {labels!r} were carried to {len(calls):,} cells from the labelled cells most like them; {unknown:.1%} are called "
        f" {UNKNOWN!r}, because their confidence is low or they are not typical of any label. Of calls of confidence 0.8, about "
        "80% are right, as far as these cells are like the labelled ones."
    )
    confidence = np.where(called, calls["confidence"].to_numpy(float)[places], np.nan)
    panels = run_plots.confidence_panels(confidence, layout)
    alt = f"Left: histogram of the confidence of {len(calls):,} transferred labels. Right: the confidence in the UMAP layout."
    parts: list[html.Part] = [
        html.Paragraph(text),
        html.Pictures([_labels_carried(calls, places, sets, layout, labels)]),
        html.Picture(figures.to_svg(panels), alt, "Confidence of transferred labels, per cell.", wide=True),
    ]
    table = calibration(calls)
    if len(table):
        share = (calls["best_label"].astype(str) == calls["own"].astype(str))[calls["own"].notna()].mean()
        caption = f"Most probable labels beside the cells' own, which were not used: {share:.1%} are equal."
        parts.append(html.Table(table.rename_axis("confidence"), caption))
    return parts


def _labels_carried(
    calls: pd.DataFrame, places: np.ndarray, sets: CellSets, layout: np.ndarray, labels: str
) -> html.Picture:
    found = calls["label"].astype(object).where(calls["label"] != UNKNOWN, None).to_numpy(dtype=object)
    shown = np.where(places >= 0, found[places], sets.label)
    caption = f"Coloured by {labels}: transferred labels, and those that they come from. Grey: unknown."
    return _picture(layout, pd.Series(shown).astype("category"), f"{labels}, transferred", caption, UNKNOWN)
