"""Make figures with matplotlib without a display, and write them: ``pip install 'sailerx[plot]'``."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from sailerx.errors import InputError
from sailerx.files.atomic import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's eight colours without black, which colour-blind readers tell apart, for few categories
FEW = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
#: 26 for more of them, after Green-Armytage 2010 without the palest; names stand on the clusters too
MANY = (
    "#0075DC", "#F0A0FF", "#993F00", "#4C005C", "#005C31", "#2BCE48", "#FFA405", "#808080", "#94FFB5", "#8F7C00",
    "#9DCC00", "#C20088", "#003380", "#FFA8BB", "#426600", "#FF0010", "#5EF1F2", "#00998F", "#E0D000", "#740AFF",
    "#990000", "#FF5005", "#191919", "#B8860B", "#7B68EE", "#A0522D",
)  # fmt: skip
MISSING = "#D0D0D0"
OTHERS = "#A0A0A0"
#: colour of single curves and histograms, and of the lines that mark a value in them
PLAIN, MARK = FEW[0], FEW[5]
_PER_ROW = 3


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn without a display."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("Figures need matplotlib: pip install 'sailerx[plot]'.") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(n_panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with ``n_panels`` panels of this size (inches), three in a row."""
    n_columns = min(n_panels, _PER_ROW)
    n_rows = -(-n_panels // n_columns)
    figure = new_figure(width * n_columns, height * n_rows)
    all_axes = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for axes in all_axes[n_panels:]:
        axes.remove()
    return figure, all_axes[:n_panels]


def tidy(axes: Axes) -> None:
    """Leave out the upper and right spine, and use small tick labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG at 150 dots per inch; the file appears once it is complete."""
    with new_file(path) as part:
        figure.savefig(part, format="png", dpi=150)


def to_svg(figure: Figure) -> str:
    """A figure as SVG text, cells as pixels at 200 dots per inch; the same figure gives the same text."""
    from matplotlib import rc_context

    with io.StringIO() as text, rc_context({"svg.hashsalt": "sailerx"}):
        figure.savefig(text, format="svg", dpi=200, metadata={"Date": None})
        return text.getvalue()
