"""Groups of cells alike in RNA: Leiden communities of the graph of nearest neighbours in the RNA reference."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from sailerx.joint.nearest import nearest, without_own

if TYPE_CHECKING:
    import igraph

#: neighbours of each cell in the graph
_NEIGHBORS = 15
#: low, so that groups are broad types: the more cells a group has, the weaker the differences of ATAC that are seen within it
_RESOLUTION = 0.4


def groups_of(g: np.ndarray, seed: int) -> np.ndarray:
    """Divide cells into groups alike in RNA.

    Parameters
    ----------
    g
        RNA reference, cells × dimensions, rows of unit length.
    seed
        Of igraph's random numbers.

    Returns
    -------
    Group of each cell, counted from 0, the largest first.
    """
    k = min(_NEIGHBORS, len(g) - 1)
    if k < 1:
        return np.zeros(len(g), int)
    near = without_own(nearest(g, g, k + 1)[1], np.arange(len(g)))
    graph = sp.csr_matrix((np.ones(near.size), near.ravel(), np.arange(len(g) + 1) * k), shape=(len(g),) * 2)
    return communities(network_of(sp.csr_matrix(graph + graph.T)), _RESOLUTION, seed)


def network_of(graph: sp.csr_matrix) -> igraph.Graph:
    """Convert symmetric weights, cells × cells, to igraph; that takes longer than to divide it once."""
    import igraph  # takes half a second to import where Matplotlib is installed

    upper = sp.triu(graph, k=1, format="coo")
    edges = np.column_stack([upper.row, upper.col])
    return igraph.Graph(n=graph.shape[0], edges=edges, edge_attrs={"weight": upper.data})


def communities(network: Any, resolution: float, seed: int) -> np.ndarray:
    """Find Leiden communities by modularity, with two iterations, counted from 0, the largest first."""
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    try:
        found = network.community_leiden(
            objective_function="modularity", weights="weight", resolution=resolution, n_iterations=2
        )
    finally:
        igraph.set_random_number_generator(random)
    membership = np.asarray(found.membership)
    rank: np.ndarray = np.argsort(np.argsort(-np.bincount(membership), kind="stable"))
    return rank[membership]
