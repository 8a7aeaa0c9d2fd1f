"""The report's section on peak-to-gene links."""

from __future__ import annotations

import pandas as pd

from sailerx.evaluate import figures, html
from sailerx.evaluate.link_plots import checked_links, link_arcs, link_panels, share_in_words

#: links in the table, and genes whose links are drawn
_IN_TABLE, _DRAWN = 12, 3


def links_section(links: pd.DataFrame) -> html.Section:
    """Show a table of links, from `sailerx.Model.links`.

    Raises
    ------
    InputError
        If it is no such table.
    """
    links = checked_links(links)
    linked = links[links["linked"]]
    n_genes = linked["gene"].nunique()
    text = (
        f"Of {len(links):,} pairs of a gene and a peak near its start, {len(linked):,} are linked ({share_in_words(links)}): "
        f"{n_genes:,} of {links['gene'].nunique():,} genes have a link. The correlation is that of imputed accessibility with RNA "
        "over groups of like cells, and counts as a link if it is far from those of like peaks on other chromosomes. It says that "
        "both change together, not that one causes the other."
    )
    alt = "Left: share of pairs that are linked by distance from the gene's start. Right: histogram of linked peaks per gene."
    caption = (
        "Linked pairs by distance (dashed: over all distances), and linked peaks of genes that have one."
    )
    parts: list[html.Part] = [
        html.Paragraph(text),
        html.Picture(figures.to_svg(link_panels(links)), alt, caption, wide=True),
    ]
    if len(linked):
        genes = list(linked["gene"].astype(str).drop_duplicates()[:_DRAWN])
        alt = f"Links of {', '.join(genes)} as arcs from the start of the gene to its peaks."
        caption = (
            "The genes with the surest links. Triangle: start of the gene; grey: peaks that were compared with it; the height of an "
            "arc is the correlation."
        )
        parts += [
            html.Picture(figures.to_svg(link_arcs(links, genes)), alt, caption, wide=True),
            html.Folded(
                "The strongest links", html.Table(_surest(linked), "Sorted as given, the surest first.")
            ),
        ]
    return html.Section("links", "Peak-to-gene links", tuple(parts))


def _surest(linked: pd.DataFrame) -> pd.DataFrame:
    top = linked.head(_IN_TABLE)
    table = pd.DataFrame(
        {"peak": top["peak"].astype(str), "distance, kb": (top["distance"] / 1000).map("{:+,.1f}".format)}
    )
    table["correlation"] = top["correlation"].astype(float)
    for name, words in (("z", "{:.1f}"), ("fdr", "{:.1g}")):
        if name in top:
            table[name] = top[name].map(words.format)
    return table.set_axis(top["gene"].astype(str)).rename_axis("gene")
