"""Figures of an embedding and of the run that made it.

Needs matplotlib, and umap-learn for `umap_layout`: ``pip install 'sailerx[plot]'``. Figures are made without a display and
returned; `save` writes them. The functions live in `sailerx.evaluate`; this module is their public name.
"""

from sailerx.evaluate.figures import save, to_svg
from sailerx.evaluate.link_plots import link_arcs, link_panels
from sailerx.evaluate.motif_plots import draw_logo, motif_heatmap, motif_ranks
from sailerx.evaluate.run_plots import (
    agreement_panels,
    atac_weight_panels,
    confidence_panels,
    loss_curves,
    weight_panels,
)
from sailerx.evaluate.umap_plots import umap_layout, umap_panels

__all__ = [
    "agreement_panels",
    "atac_weight_panels",
    "confidence_panels",
    "draw_logo",
    "link_arcs",
    "link_panels",
    "loss_curves",
    "motif_heatmap",
    "motif_ranks",
    "save",
    "to_svg",
    "umap_layout",
    "umap_panels",
    "weight_panels",
]
