"""Matplotlib figures without a display: layout, colours, saving. Needs ``pip install 'sailerx[plot]'``."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from sailerx.errors import InputError
from sailerx.files.atomic import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: up to 7 categories: the colour-blind safe palette of Okabe and Ito, without black
FEW = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
#: up to 26 categories: after Green-Armytage 2010, without the palest; names are written onto the clusters too
MANY = (
    "#0075DC", "#F0A0FF", "#993F00", "#4C005C", "#005C31", "#2BCE48", "#FFA405", "#808080", "#94FFB5", "#8F7C00",
    "#9DCC00", "#C20088", "#003380", "#FFA8BB", "#426600", "#FF0010", "#5EF1F2", "#00998F", "#E0D000", "#740AFF",
    "#990000", "#FF5005", "#191919", "#B8860B", "#7B68EE", "#A0522D",
)  # fmt: skip
#: colour of cells without a value
MISSING = "#D0D0D0"
#: colour of the pooled rarest categories
OTHERS = "#A0A0A0"
#: colour of single curves and histograms, and of vertical lines that mark a value
PLAIN, MARK = FEW[0], FEW[5]
_PER_ROW = 3


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of this size (inches) that needs no display."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("Figures need matplotlib. Install it: pip install 'sailerx[plot]'.") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(n_panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure with ``n_panels`` panels of this size (inches), three per row."""
    n_columns = min(n_panels, _PER_ROW)
    n_rows = -(-n_panels // n_columns)
    figure = new_figure(width * n_columns, height * n_rows)
    all_axes = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for axes in all_axes[n_panels:]:
        axes.remove()
    return figure, all_axes[:n_panels]


def tidy(axes: Axes) -> None:
    """Remove the top and right spine, and make tick labels small."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG at 150 dots per inch; the file appears when it is complete."""
    with new_file(path) as part:
        figure.savefig(part, format="png", dpi=150)


def to_svg(figure: Figure, *, dpi: int = 200) -> str:
    """Render a figure as SVG text, with cells rasterised at ``dpi`` dots per inch; equal figures give equal text."""
    from matplotlib import rc_context

    with io.StringIO() as text, rc_context({"svg.hashsalt": "sailerx"}):
        figure.savefig(text, format="svg", dpi=dpi, metadata={"Date": None})
        return text.getvalue()
