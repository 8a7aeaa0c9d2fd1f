"""Motifs of transcription factors: where they are in peaks, and how active they are in cells.

Sequences need ``pip install 'sailerx[motifs]'``. The functions live in `sailerx.regulators`; this module is their public name.
"""

from sailerx.regulators.activity import motif_activity as activity
from sailerx.regulators.differential_activity import differential_activity as differential
from sailerx.regulators.enrichment import enrichment
from sailerx.regulators.motif_sets import Motif, jaspar
from sailerx.regulators.motif_sets import read_motifs as read
from sailerx.regulators.scan import scan

__all__ = ["Motif", "activity", "differential", "enrichment", "jaspar", "read", "scan"]
