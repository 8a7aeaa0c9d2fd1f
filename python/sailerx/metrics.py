"""How good an embedding is by labels, what it still tells of depth and batch, and a score without labels.

The functions live in `sailerx.evaluate`; this module is their public name.
"""

from sailerx.evaluate.clustering import best_clustering, leiden, leiden_clusters, neighbor_graph
from sailerx.evaluate.leakage import batch_leakage, depth_leakage
from sailerx.evaluate.mixing import clisi, graph_connectivity, ilisi
from sailerx.evaluate.neighbors import chance_agreement, knn_accuracy, neighbor_agreement
from sailerx.evaluate.prediction import predictive_gain, split_counts
from sailerx.evaluate.scores import best_score, score, score_table

__all__ = [
    "batch_leakage",
    "best_clustering",
    "best_score",
    "chance_agreement",
    "clisi",
    "depth_leakage",
    "graph_connectivity",
    "ilisi",
    "knn_accuracy",
    "leiden",
    "leiden_clusters",
    "neighbor_agreement",
    "neighbor_graph",
    "predictive_gain",
    "score",
    "score_table",
    "split_counts",
]
