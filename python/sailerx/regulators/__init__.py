"""Motifs in peaks, their activity in cells, and links between peaks and genes."""
